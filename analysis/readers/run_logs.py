"""The one reader of training logs.

In: a run's own logs, `<root>/<scale>/<run>/seed<k>/log.<restart>.jsonl`, or its published one,
`<root>/<scale>/<run>/seed<k>.jsonl.gz`. Out: pandas frames of the history that led to the final weights.

A log is a header row and then rows of kind train, perf, val, val_own or event. `val` rows measure the
validation set that all runs share, `val_own` rows that of the run's own corpus where it is another. A restart
goes on from a checkpoint, so what earlier restarts logged beyond that checkpoint never reached the weights:
those rows are void. A published log is the restarts one after the other, each behind its header, and is read
by the same rules.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

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
    "event": (*COMMON, "event"),
}
TEXT = {"kind", "time_utc", "domain", "span_hash", "event"}
_RESTART = re.compile(r"log\.(\d+)\.jsonl")


class Run(NamedTuple):
    """One seed of one run at one scale."""

    scale: str
    run: str
    seed: int

    def __str__(self) -> str:
        return f"{self.scale}/{self.run}/seed{self.seed}"


@dataclass
class Segment:
    """What one start of the trainer logged: its header and its rows in the order of writing."""

    header: Row
    rows: list[Row] = field(default_factory=list)

    def began_after(self) -> int | None:
        """The step that this start went on from, 0 or less for a fresh one; None if it logged nothing."""
        for row in self.rows:
            if row["kind"] == "event" and row["event"] == "resume":
                return int(row["step"])
        return int(self.rows[0]["step"]) - 1 if self.rows else None


@dataclass(frozen=True)
class RunLog:
    """A run's history. The frames are ordered by step and have a column `restart`."""

    run: Run
    segments: list[Segment]  # without void rows
    notes: list[str]  # what the reader noticed and could live with
    train: pd.DataFrame
    perf: pd.DataFrame
    val: pd.DataFrame  # on the shared validation set; one row for each domain and validation
    val_own: pd.DataFrame  # the same on the run's own corpus; empty where that is the shared one
    event: pd.DataFrame

    @property
    def header(self) -> Row:
        """The latest start's header."""
        return self.segments[-1].header

    @property
    def domains(self) -> list[str]:
        """Domains that were trained or validated on, sorted; `all` is none."""
        trained = {c.removeprefix("loss_nats/") for c in map(str, self.train) if c.startswith("loss_nats/")}
        return sorted((trained | set(self.val["domain"].dropna())) - {"all"})


def find_runs(roots: Iterable[Path], scale: str | None = None) -> dict[Run, list[Path]]:
    """Log files of each run under `roots`; where two roots hold the same run, the first one's."""
    found: dict[Run, list[Path]] = {}
    for root in roots:
        here: dict[Run, list[Path]] = {}
        for path in sorted(root.glob(f"{scale or '*'}/*/seed*.jsonl.gz")):
            _add(here, root, path, path.name.removesuffix(".jsonl.gz"))
        for path in sorted(root.glob(f"{scale or '*'}/*/seed*/log.*.jsonl"), key=_restart_index):
            _add(here, root, path, path.parent.name)
        found = here | found
    return dict(sorted(found.items()))


def _add(found: dict[Run, list[Path]], root: Path, path: Path, seed_folder: str) -> None:
    seed = seed_folder.removeprefix("seed")
    if seed.isdecimal():
        scale, run = path.relative_to(root).parts[:2]
        found.setdefault(Run(scale, run, int(seed)), []).append(path)


def _restart_index(path: Path) -> int:
    match = _RESTART.fullmatch(path.name)
    return int(match[1]) if match else -1


def read_run(run: Run, files: Sequence[Path]) -> RunLog:
    """The history in a run's log files, restarts in order. Raises UserError naming a damaged line."""
    notes: list[str] = []
    segments = [segment for path in files for segment in _read_segments(path, notes)]
    if not segments:
        raise UserError(f"{files[0]}: holds no header row, so nothing was trained; delete it")
    for later, segment in enumerate(segments):
        began_after = segment.began_after()
        if began_after is not None:
            for earlier in segments[:later]:
                earlier.rows = [row for row in earlier.rows if row["step"] <= began_after]
    frames = {kind: _frame(segments, kind) for kind in COLUMNS}
    repeated = frames["train"]["step"][frames["train"]["step"].duplicated()]
    if len(repeated):
        notes.append(f"{run}: step {repeated.iloc[0]} is logged twice in one history ({len(repeated)} such)")
    return RunLog(run, segments, notes, **frames)


def _read_segments(path: Path, notes: list[str]) -> list[Segment]:
    segments: list[Segment] = []
    for line_number, row in _read_rows(path, notes):
        if row["kind"] == "header":
            segments.append(Segment(row))
        elif segments:
            segments[-1].rows.append(row)
        else:
            raise UserError(f"{path}:{line_number}: a {row['kind']} row before any header: its head is lost")
    return segments


def _read_rows(path: Path, notes: list[str]) -> Iterator[tuple[int, Row]]:
    try:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).split(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); publish it again: make publish-logs") from None
    for line_number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            problem = _problem(row)
        except ValueError as error:  # JSON and UTF-8
            if line_number == len(lines):  # no newline behind it: the process was killed while it wrote
                notes.append(f"{path}:{line_number}: the last line is torn and left out")
                return
            problem = f"not JSON ({error})"
        if problem:
            raise UserError(f"{path}:{line_number}: {problem}; restore the file or delete the line")
        yield line_number, row


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
        if _is_number(kind, key) and not isinstance(value, int | float | None):
            return f"{key} is {value!r}, a number is expected"
    return None


def _is_number(kind: str, column: str) -> bool:
    """Whether a column holds numbers; of columns that this reader does not know, those of a domain do."""
    return (column in COLUMNS[kind] and column not in TEXT) or "/" in column


def _frame(segments: Sequence[Segment], kind: str) -> pd.DataFrame:
    rows = [
        {"restart": index, **row}
        for index, segment in enumerate(segments)
        for row in segment.rows
        if row["kind"] == kind
    ]
    frame = pd.DataFrame(rows, columns=None if rows else ["restart", *COLUMNS[kind]]).drop(
        columns="kind", errors="ignore"
    )
    for column in COLUMNS[kind]:
        if column not in frame:
            frame[column] = None
    for column in map(str, frame.columns):
        if _is_number(kind, column):
            frame[column] = pd.to_numeric(frame[column])  # null becomes NaN, also where there is nothing else
    return frame.sort_values("step", kind="stable", ignore_index=True)
