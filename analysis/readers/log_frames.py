"""Frames of one kind of rows, from rows and from blocks of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.readers.log_columns import Block, Wanted
from analysis.readers.log_rows import COLUMNS, Segment, is_number


def make_frame(segments: Sequence[Segment], kind: str, wanted: Wanted | None = None) -> pd.DataFrame:
    """The rows of a kind in all segments, ordered by step, with a column `restart`.

    The columns are those of COLUMNS and all that the log holds, or the wanted ones of them. The blocks of the
    segments are empty afterwards: their memory is the frame's.
    """
    frame = _from_rows(segments, kind)
    if wanted and any(wanted(kind, column) for column in COLUMNS[kind]):
        frame = frame[["restart", *(column for column in frame if wanted(kind, str(column)))]]
    blocks = [
        (index, block)
        for index, segment in enumerate(segments)
        for block in segment.blocks
        if block.kind == kind
    ]
    if blocks:
        frame = _from_blocks(blocks, frame)
    for segment in segments:
        segment.blocks = [block for block in segment.blocks if block.kind != kind]
    if frame["step"].is_monotonic_increasing:
        return frame.reset_index(drop=True)
    return frame.sort_values("step", kind="stable", ignore_index=True)


def _from_rows(segments: Sequence[Segment], kind: str) -> pd.DataFrame:
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
        if is_number(kind, column):
            frame[column] = pd.to_numeric(frame[column])  # null becomes NaN, also where there is nothing else
    return frame


def _from_blocks(blocks: Sequence[tuple[int, Block]], frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` and the rows of the blocks, each with the number of its segment; empties the blocks."""
    lengths = [len(block.lines) for _, block in blocks]
    data: dict[str, NDArray[Any]] = {
        "restart": np.repeat(np.array([index for index, _ in blocks], np.int32), lengths)
    }
    for name in dict.fromkeys(name for _, block in blocks for name in block.columns):
        data[name] = np.concatenate(
            [
                block.columns.pop(name) if name in block.columns else np.full(length, np.nan)
                for (_, block), length in zip(blocks, lengths, strict=True)
            ]
        )
    arrays = pd.DataFrame(data, copy=False)
    return pd.concat([arrays, frame]) if len(frame) else arrays
