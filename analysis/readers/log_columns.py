"""Rows of a log as arrays: what a figure needs of millions of rows, without a Python object for each row.

A trainer writes its rows with the same keys in the same order. The first row of a kind is therefore read as
JSON and tells where the wanted values stand between the commas; the rows of the same layout are read with
numpy. Every key of every such row is compared with the first row's. A row that differs in anything is left to
the caller, who reads it as JSON.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Positions = NDArray[np.int64]
Flags = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]
Wanted = Callable[[str, str], bool]  # whether a column (second) of a kind of rows (first) is to be read

MOST_LAYOUTS = 8  # in a piece of a log; a trainer writes one for each kind of row
PAD = 32  # bytes before the first row and behind the last, so that a window around a value stays within
WHOLE = {"step", "tokens_seen"}
LOGICAL = {"clipped", "skipped"}
_FIELD = re.compile(rb'[{ ]*"([^"\\]+)": ?')
_TEN = np.longdouble(10) ** np.arange(64)  # exact up to 10^27 where a long double has 64 bits of mantissa
_WHOLE_TEN = 10 ** np.arange(19)


def _each_byte(value: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([value]) * 8, "little"))


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
    """Where the wanted values of a row stand: (column, number of its field, the bytes before the value)."""

    kind: str
    head: bytes  # the first field whole: it names the kind
    n_commas: int
    fields: tuple[tuple[str, int, bytes], ...]


def layout_of(line: bytes, wanted: Wanted) -> Layout | None:
    """The layout of rows like this one; None where a row of its kind is to be read as JSON."""
    fields = line.split(b",")
    found = [_FIELD.match(field) for field in fields]
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or len(row) != len(fields) or None in found:
        return None  # a comma or an escape within a value
    kind, names = str(row.get("kind")), [match[1].decode() for match in found if match]
    if list(row) != names or names[0] != "kind":
        return None
    columns = tuple(
        (name, number, match[0])
        for number, (name, match) in enumerate(zip(names, found, strict=True))
        if match and wanted(kind, name)
    )
    return Layout(kind, fields[0], len(fields) - 1, columns) if columns else None


def read_piece(piece: bytes, wanted: Wanted | None) -> tuple[list[Block], Positions, Positions]:
    """(blocks of rows of the same layouts, numbers of all other lines, where each line ends in `piece`).

    `piece` ends behind a newline. `wanted`: None where all rows are to be read as JSON.
    """
    data: Bytes = np.frombuffer(bytes(PAD) + piece + bytes(PAD), np.uint8)
    ends: Positions = np.flatnonzero(data == ord("\n"))
    if wanted is None:
        return [], np.arange(len(ends)), ends - PAD
    starts = np.concatenate([[PAD], ends[:-1] + 1])
    commas: Positions = np.flatnonzero(data == ord(","))
    first_comma = np.searchsorted(commas, starts)
    n_commas = np.diff(np.append(first_comma, len(commas)))
    words = _words(data)
    left = ends > starts
    blocks: list[Block] = []
    others = np.zeros(len(ends), np.bool_)
    for _ in range(MOST_LAYOUTS):
        if not left.any():
            break
        example = int(left.argmax())
        line = piece[starts[example] - PAD : ends[example] - PAD]
        if layout := layout_of(line, wanted):
            rows = np.flatnonzero(left & (n_commas == layout.n_commas))
            between = commas[first_comma[rows, None] + np.arange(layout.n_commas)]
            bounds = np.column_stack([starts[rows] - 1, between, ends[rows] - 1])
            columns, good = _read_rows(data, words, bounds, layout)
            if good.any():
                blocks.append(Block(layout.kind, rows[good], columns))
                left[rows[good]] = False
        else:  # the rows of this kind are wanted as they are
            alike = left & _same(words, starts, line.partition(b",")[0])
            others |= alike
            left &= ~alike
        others[example] |= left[example]
        left[example] = False
    return blocks, np.flatnonzero(others | left), ends - PAD


def _read_rows(data: Bytes, words: Words, bounds: Positions, layout: Layout) -> tuple[Columns, Flags]:
    """Columns of the rows that have the layout, and which of them have it.

    bounds: (row, field): where the comma before each field stands and, last, where the brace behind the row.
    """
    good = (data[bounds[:, -1]] == ord("}")) & _same(words, bounds[:, 0] + 1, layout.head)
    good &= bounds[:, 1] - bounds[:, 0] - 1 == len(layout.head)
    read: Columns = {}
    for column, number, before in layout.fields:
        good &= _same(words, bounds[:, number] + 1, before)
        begin, end = bounds[:, number] + 1 + len(before), bounds[:, number + 1]
        if column in LOGICAL:
            read[column], fine = _logical(data, begin, end)
        else:
            mantissa, scale, fine = _decimal(words, begin, end)
            if column in WHOLE:
                fine &= scale == 0
                read[column] = mantissa
            else:
                read[column] = (mantissa / _TEN[scale]).astype(np.float64)
        good &= fine
    return {column: values[good] for column, values in read.items()}, good


def _words(data: Bytes) -> Words:
    """The 8 bytes from each position on as one number, the first byte its lowest."""
    return np.ndarray(len(data) - 7, "<u8", data, strides=(1,))


def _same(words: Words, at: Positions, expected: bytes) -> Flags:
    """Where the bytes from `at` on are the expected ones."""
    same = np.ones(len(at), np.bool_)
    for offset in range(0, len(expected), 8):
        part = expected[offset : offset + 8]
        mask = np.uint64(int.from_bytes(b"\xff" * len(part), "little"))
        same &= (words[at + offset] & mask) == np.uint64(int.from_bytes(part, "little"))
    return same


def _logical(data: Bytes, begin: Positions, end: Positions) -> tuple[Flags, Flags]:
    """`true` and `false`, and where one of the two stands."""
    first, length = data[begin], end - begin
    true = (first == ord("t")) & (length == 4)
    return true, true | ((first == ord("f")) & (length == 5))


def _decimal(words: Words, begin: Positions, end: Positions) -> tuple[Positions, Positions, Flags]:
    """(mantissa, scale, good): each number is mantissa / 10^scale where good; elsewhere it is another text.

    Numbers that are negative, have a positive exponent, more than 18 digits behind the dot that count, or
    more than 7 before it, are "another text". Whole numbers have up to 18 digits.
    """
    end, scale = _without_exponent(words, begin, end)
    length = end - begin
    dot_at = _bytes_before_dot(words[begin])
    has_dot = (dot_at < length) & (dot_at < 8)
    n_before = np.where(has_dot, dot_at, 0)
    n_behind = np.where(has_dot, length - dot_at - 1, length)
    good = (n_behind > 0) & (n_behind <= 24) & (dot_at > 0)
    high = _eight_digits(words[end - 24], n_behind - 16, good)
    mid = _eight_digits(words[end - 16], n_behind - 8, good)
    low = _eight_digits(words[end - 8], n_behind, good)
    good &= high < 100
    behind = high * 10**16 + mid * 10**8 + low
    first = words[begin] << (np.uint64(8) * (8 - n_before).astype(np.uint64)).clip(max=63)
    before = _eight_digits(first, n_before, good)
    good &= (before == 0) | (n_before + n_behind <= 18)
    mantissa = before * _WHOLE_TEN[np.minimum(n_behind, 18)] + behind
    scale += np.where(has_dot, n_behind, 0)
    return np.where(good, mantissa, 0), np.where(good, scale, 0), good


def _without_exponent(words: Words, begin: Positions, end: Positions) -> tuple[Positions, Positions]:
    """(end of the mantissa, x of an exponent e-x): numbers below 10^-4 are written with one."""
    tail = words[end - 8]
    tens, ones = ((tail >> np.uint64(bits)).astype(np.uint8) - np.uint8(ord("0")) for bits in (48, 56))
    marked = (tail >> np.uint64(32)).astype(np.uint16) == int.from_bytes(b"e-", "little")
    marked &= (tens < 4) & (ones < 10) & (end - begin > 4)  # e-39 at most: see _TEN
    return end - 4 * marked, np.where(marked, 10 * tens.astype(np.int64) + ones, 0)


def _bytes_before_dot(word: Words) -> Positions:
    """Number of bytes before the first dot of each word; 8 where it has none."""
    other = word ^ _each_byte(ord("."))
    # The lowest marked byte is the first one of zeros (Warren, Hacker's Delight, 6-1).
    marks = (other - _each_byte(1)) & ~other & _each_byte(0x80)
    below = (marks & (~marks + np.uint64(1))) - np.uint64(1)
    return (np.bitwise_count(below) >> 3).astype(np.int64)


def _eight_digits(word: Words, n_digits: Positions, good: Flags) -> Positions:
    """The number that the last `n_digits` characters of each word write; `good` is cleared where they do not.

    Neighbours are joined into numbers of two, four and eight digits, all in one 64-bit word (D. Lemire,
    "Quickly parsing eight digits", 2018).
    """
    absent = (np.uint64(8) * (8 - n_digits.clip(0, 8)).astype(np.uint64)).clip(max=63)
    kept = np.where(n_digits > 0, ~np.uint64(0) << absent, np.uint64(0))
    digits = (word ^ _each_byte(ord("0"))) & kept
    good &= ((digits | (digits + _each_byte(0x76))) & _each_byte(0x80)) == 0  # 0x76 + 10 = 0x80
    pairs = digits * np.uint64(10) + (digits >> np.uint64(8))
    outer = np.uint64(0x000000FF000000FF)
    fours = (pairs & outer) * np.uint64(100 + (1_000_000 << 32))
    fours += ((pairs >> np.uint64(16)) & outer) * np.uint64(1 + (10_000 << 32))
    return (fours >> np.uint64(32)).astype(np.int64)
