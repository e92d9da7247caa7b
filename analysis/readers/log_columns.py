"""Rows of a log as arrays: what a figure needs of millions of rows, without a Python object for each row.

A trainer writes its rows with the same keys in the same order. Rows of one kind with the same number of
fields are therefore read together, as a table of comma-separated values with pandas' parser, in which each
key stands before its value. The first such row is also read as JSON and tells which columns are wanted. Where
a row has another key in one of those places, or the table holds anything but numbers and truth values, the
rows are left to the caller, who reads them as JSON.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Flags = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]
Wanted = Callable[[str, str], bool]  # whether a column (second) of a kind of rows (first) is to be read

WHOLE = {"step", "tokens_seen"}
LOGICAL = {"clipped", "skipped"}
FEWEST_ROWS = 8  # of a layout in a piece of a log; to read fewer as JSON is faster
MOST_LAYOUTS = 8  # in a piece of a log; a trainer writes one for each kind of row and set of domains
BETWEEN = bytes.maketrans(b":", b",")
KIND_AT = 9  # where the kind stands in a row: behind `{"kind": `


@dataclass(frozen=True)
class Block:
    """Rows of one kind: their line numbers in the piece, from 0, and their columns."""

    kind: str
    lines: Positions
    columns: Columns

    def rows(self, chosen: Flags) -> "Block":
        """Some of the rows."""
        if chosen.all():
            return self
        return Block(
            self.kind, self.lines[chosen], {name: values[chosen] for name, values in self.columns.items()}
        )


@dataclass(frozen=True)
class Layout:
    """How the rows of one kind are written."""

    kind: str
    fields: list[str]  # keys and values in turn, as `_read_alike` splits the first such row
    places: dict[str, int]  # wanted column -> where its key stands among the fields


def read_piece(piece: bytes, wanted: Wanted | None) -> tuple[list[Block], list[tuple[int, bytes]]]:
    """(blocks of rows of the same layouts, all other lines with their numbers from 0).

    `piece` ends behind a newline. `wanted`: None where all rows are to be read as JSON.
    """
    if wanted is None:
        return [], list(enumerate(piece.split(b"\n")[:-1]))
    data = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    kinds = _first_bytes(data, starts)
    before = np.searchsorted(np.flatnonzero(data == ord(",")), np.append(starts, len(data)))
    n_commas = np.diff(before)
    left = data[ends - 1] == ord("}")
    others = ~left
    blocks: list[Block] = []
    for _ in range(MOST_LAYOUTS):
        if not left.any():
            break
        example = int(left.argmax())
        rows = np.flatnonzero(left & (kinds == kinds[example]) & (n_commas == n_commas[example]))
        layout = _layout(piece[starts[example] : ends[example]], wanted)
        block = layout and len(rows) >= FEWEST_ROWS and _read_alike(_lines(piece, starts, ends, rows), layout)
        if not block:  # JSON is to read all rows like this one
            others[rows] = True
            left[rows] = False
            continue
        read = rows[block.lines]
        blocks.append(Block(block.kind, read, block.columns))
        left[read] = False
        others[example] |= left[example]
        left[example] = False
    rest: list[int] = np.flatnonzero(others | left).tolist()
    return blocks, [(number, piece[starts[number] : ends[number]]) for number in rest]


def _first_bytes(data: NDArray[np.uint8], starts: Positions) -> NDArray[np.uint64]:
    """Eight bytes of each row that hold the beginning of its kind, as one number."""
    padded = np.concatenate([data, np.zeros(KIND_AT + 8, np.uint8)])
    words: NDArray[np.uint64] = np.ndarray(len(data), "<u8", padded, offset=KIND_AT, strides=(1,))
    return words[starts]


def _lines(piece: bytes, starts: Positions, ends: Positions, rows: Positions) -> bytes:
    """Some lines of a piece one after the other, each with its newline."""
    breaks = np.flatnonzero(np.diff(rows) > 1)
    firsts, lasts = rows[np.concatenate([[0], breaks + 1])], rows[np.append(breaks, len(rows) - 1)]
    spans = zip(starts[firsts].tolist(), (ends[lasts] + 1).tolist(), strict=True)
    return b"".join([piece[begin:end] for begin, end in spans])


def _read_alike(lines: bytes, layout: Layout) -> Block | None:
    """The rows among `lines` that have the layout; None where JSON must read them all."""
    places = layout.places
    try:
        frame = pd.read_csv(
            io.BytesIO(lines.translate(BETWEEN, b"}")),
            header=None,
            names=range(len(layout.fields)),
            usecols=[place + side for place in places.values() for side in (0, 1)],
            dtype=dict.fromkeys(places.values(), "category"),
            index_col=False,
            skipinitialspace=True,
            quoting=csv.QUOTE_NONE,  # a quotation mark is a character like others
            keep_default_na=False,
            na_values=["null"],
            low_memory=False,  # one type for a column
        )
    except (ValueError, OverflowError):  # among them pandas' ParserError
        return None
    if len(frame) != lines.count(b"\n"):
        return None
    good = np.ones(len(frame), np.bool_)
    columns: Columns = {}
    for name, place in places.items():
        good &= (frame[place] == layout.fields[place]).to_numpy()
        values = frame[place + 1]
        if values.dtype.kind not in ("i" if name in WHOLE else "b" if name in LOGICAL else "if"):
            return None
        columns[name] = values.to_numpy(None if name in WHOLE | LOGICAL else np.float64)
    return Block(layout.kind, np.arange(len(frame)), columns).rows(good)


def _layout(line: bytes, wanted: Wanted) -> Layout | None:
    """The layout of a row; None where nothing of it is wanted, or only JSON can read it right."""
    fields = [field.strip() for field in line.translate(BETWEEN, b"}").decode().split(",")]
    try:
        row = json.loads(line)
    except ValueError:
        return None
    # Each key but the first stands there once and as it is: none has an escape or occurs within a value.
    quoted = {name: json.dumps(name) for name in row if name != "kind"}
    if fields[0] != '{"kind"' or not all(fields.count(key) == 1 for key in quoted.values()):
        return None
    kind = str(row["kind"])
    places = {name: fields.index(key) for name, key in quoted.items() if wanted(kind, name)}
    return Layout(kind, fields, places) if places else None
