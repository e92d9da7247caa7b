"""What the rows of a log hold, and the reading of a log file into starts of the trainer (segments)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analysis.readers.log_bytes import in_threads, pieces
from analysis.readers.log_columns import Block, Wanted, read_piece
from configs.script import UserError

Row = dict[str, Any]

COMMON = ("step", "tokens_seen", "time_utc", "wall_s")
VALIDATION = ("domain", "loss_nats", "perplexity", "bits_per_byte", "n_tokens", "n_bytes")
# Columns that a frame always has, whether or not the log holds such rows; a log may hold more.
COLUMNS = {
    "train": (*COMMON, "loss_nats", "lr", "grad_norm", "clipped", "skipped", "span_hash"),
    "perf": (
        *(*COMMON, "tokens_per_s", "step_s", "data_wait_s", "exchange_s", "checkpoint_s"),
        *("mfu", "mem_peak_gib", "read_mib", "watts"),
    ),
    "val": (*COMMON, *VALIDATION),
    "val_own": (*COMMON, *VALIDATION),
    "val_document": (*COMMON, "domain", "document", "loss_nats", "n_tokens", "n_bytes"),
    # by measure: cosine, noise_scale, loss, norm (docs/instruments.md)
    "instrument": (
        *(*COMMON, "measure", "by", "part", "group", "other", "domain", "layer"),
        *("n_sequences", "dot", "cosine"),
        *("small_tokens", "big_tokens", "small_square", "big_square", "signal_square", "noise_trace"),
        *("loss_nats", "n_tokens", "weight_norm", "update_norm", "activation_rms"),
    ),
    "event": (*COMMON, "event"),
}
TEXT = {
    *("kind", "time_utc", "domain", "document", "span_hash", "event"),
    *("measure", "by", "part", "group", "other"),
}


@dataclass
class Segment:
    """What one start of the trainer logged: its header and its rows in the order of writing."""

    header: Row
    rows: list[Row] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)  # rows read as arrays, until frames are made of them
    first_step: int | None = None  # None if it logged nothing

    def began_after(self) -> int | None:
        """The step that this start continued from, 0 or less for a fresh one; None if it logged nothing."""
        for row in self.rows:
            if row["kind"] == "event" and row["event"] == "resume":
                return int(row["step"])
        return None if self.first_step is None else self.first_step - 1

    def forget_beyond(self, step: int) -> None:
        """Drop the rows beyond `step`: a later start continued from there."""
        self.rows = [row for row in self.rows if row["step"] <= step]
        self.blocks = [block.rows(block.columns["step"] <= step) for block in self.blocks]


def read_segments(path: Path, notes: list[str], wanted: Wanted | None) -> list[Segment]:
    """The starts that a file tells of. What the reader could live with is added to `notes`.

    Raises UserError naming a damaged line.
    """
    segments: list[Segment] = []
    for blocks, rows in _read_pieces(path, notes, wanted):
        header_lines = [line for line, row in rows if row["kind"] == "header"]
        n_before = len(segments)
        for line, row in rows:
            if row["kind"] == "header":
                segments.append(Segment(row))
            elif not segments:
                raise _headless(path, line, row["kind"])
            else:
                segments[-1].rows.append(row)
        firsts = [(line, row["step"]) for line, row in rows if row["kind"] != "header"]
        for block in blocks:
            owners = n_before - 1 + np.searchsorted(header_lines, block.lines)
            for owner in np.unique(owners):
                if owner < 0:
                    raise _headless(path, int(block.lines[0]), block.kind)
                part = block.rows(owners == owner)
                segments[owner].blocks.append(part)
                firsts.append((int(part.lines[0]), int(part.columns["step"][0])))
        for line, step in sorted(firsts):
            owner = n_before - 1 + int(np.searchsorted(header_lines, line))
            if segments[owner].first_step is None:
                segments[owner].first_step = step
    return segments


def _headless(path: Path, line: int, kind: str) -> UserError:
    return UserError(f"{path}:{line}: a {kind} row before any header: the beginning of the log is lost")


Piece = tuple[list[Block], list[tuple[int, Row]]]


def _read_pieces(path: Path, notes: list[str], wanted: Wanted | None) -> Iterator[Piece]:
    """Blocks, and the other rows with their line numbers, of one piece of the file after the other."""
    last = b""

    def whole_lines() -> Iterator[bytes]:
        nonlocal last
        for piece in pieces(path):
            if piece.endswith(b"\n"):
                yield piece
            else:
                last = piece

    n_lines = 0
    for piece, (blocks, others) in in_threads(partial(read_piece, wanted=wanted), whole_lines()):
        rows = [
            (n_lines + number + 1, _read_row(path, n_lines + number + 1, line))
            for number, line in others
            if line
        ]
        yield [replace(block, lines=block.lines + n_lines + 1) for block in blocks], rows
        n_lines += piece.count(b"\n")
    if last:  # no newline behind it
        try:
            json.loads(last)
        except ValueError:  # the process was killed while it wrote
            notes.append(f"{path}:{n_lines + 1}: the last line is torn and left out")
            return
        yield [], [(n_lines + 1, _read_row(path, n_lines + 1, last))]


def _read_row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
        problem = _problem(row)
    except ValueError as error:  # JSON and UTF-8
        problem = f"not JSON ({error})"
    if problem:
        raise UserError(f"{path}:{number}: {problem}; restore the file or delete the line")
    return row


def _problem(row: Any) -> str | None:
    """What is wrong with a row, None if nothing is."""
    if not isinstance(row, dict):
        return "not an object"
    kind = row.get("kind")
    if kind == "header":
        return None
    if kind not in COLUMNS:
        return f"kind {kind!r} is none of header, {', '.join(COLUMNS)}"
    if type(row.get("step")) is not int:
        return f"step is {row.get('step')!r}, a whole number is expected"
    if kind == "event":
        return None if isinstance(row.get("event"), str) else "an event row without a name"
    for key, value in row.items():
        if is_number(kind, key) and not isinstance(value, int | float | None):
            return f"{key} is {value!r}, a number is expected"
    return None


def is_number(kind: str, column: str) -> bool:
    """Whether a column holds numbers; of columns that this reader does not know, those of a domain do."""
    return (column in COLUMNS[kind] and column not in TEXT) or "/" in column
