"""Rows read as arrays are the rows that JSON gives, whatever numbers and layouts a log holds."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.readers.log_bytes import PIECE_BYTES, pieces
from analysis.readers.log_columns import FEWEST_ROWS, read_piece
from analysis.readers.run_logs import Run, find_runs, needed_by_figures, read_run
from configs.script import UserError
from tests.support.analysis_logs import event, header, history, interrupted_run, write

ROUNDING = 4.5e-16  # two units in the last place of a double: pandas' parser of numbers is not exact
RUN = Run("demo", "run20", 0)
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 20),
    st.floats(0, 1e-3),
    st.integers(0, 10**18),
    st.none(),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.lists(numbers, min_size=1, max_size=12),
        st.lists(st.floats(1e-30, 1e6) | st.none(), min_size=FEWEST_ROWS, max_size=12),
    ),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_any_number_is_read_as_json_reads_it_or_left_to_json(
    values: list[Any], last: bool, separators: tuple[str, str]
) -> None:
    rows = [{"kind": "train", "step": 5, "loss_nats": value, "clipped": True} for value in values]
    if last:
        rows = [{key: row[key] for key in ("kind", "step", "clipped", "loss_nats")} for row in rows]
    piece = "".join(json.dumps(row, separators=separators) + "\n" for row in rows).encode()
    blocks, others = read_piece(piece, needed_by_figures)
    read = {
        int(line): value
        for block in blocks
        for line, value in zip(block.lines, block.columns["loss_nats"], strict=True)
    }
    for line, value in read.items():
        assert not isinstance(values[line], bool)
        expected = float("nan") if values[line] is None else values[line]
        assert value == pytest.approx(expected, rel=ROUNDING, abs=0, nan_ok=True)
    assert sorted([*read, *(number for number, _ in others)]) == list(range(len(values)))
    if len(values) >= FEWEST_ROWS and all(v is None or isinstance(v, float) for v in values):
        assert not others


PLAIN = '{"kind": "train", "step": %d, "loss_nats": 2.5}'
ODD = {
    "key as a value": '{"kind": "train", "note": "loss_nats", "step": 2, "loss_nats": 1.5}',
    "comma in a value": '{"kind": "train", "step": 2, "loss_nats": 1.5, "note": "a, b"}',
    "keys in another order": '{"step": 2, "kind": "train", "loss_nats": 1.5}',
    "more keys": '{"kind": "train", "step": 2, "more": [1, 2], "loss_nats": 1.5}',
    "a key twice": '{"kind": "train", "step": 9, "step": 2, "loss_nats": 1.5}',
    "loss within another value": '{"kind": "train", "step": 2, "x": {"loss_nats": 9.0}, "loss_nats": 1.5}',
    "escapes in a key": '{"kind": "train", "step": 2, "\\u006coss_nats": 1.5}',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("comes_first", [False, True], ids=["among others", "first"])
def test_a_row_of_another_layout_is_read_right(tmp_path: Path, odd: str, comes_first: bool) -> None:
    """The others are so many that they are read as arrays; their layout may be taken from the odd row."""
    others = [*range(3, 3 + 2 * FEWEST_ROWS)]
    rows = [PLAIN % step for step in others]
    rows.insert(0 if comes_first else FEWEST_ROWS, odd)
    path = tmp_path / "log.0.jsonl"
    path.write_text("\n".join([json.dumps(header()), *rows]) + "\n")
    train = read_run(RUN, [path], needed_by_figures).train
    assert train["step"].tolist() == [2, *others]
    assert train["loss_nats"].tolist() == [1.5] + [2.5] * len(others)
    blocks, _ = read_piece("\n".join([*rows, ""]).encode(), needed_by_figures)
    assert comes_first or sum(len(block.lines) for block in blocks) >= len(others)


def test_rows_with_other_domains_at_the_same_places_are_kept_apart() -> None:
    """Not every domain is in every batch, and two rows with as many fields may hold different ones."""
    form = '{"kind": "train", "step": %d, "loss_nats/%s": %d.5, "clipped": true}'
    rows = [form % (step, "cs" if step % 3 else "math", step) for step in range(1, 40)]
    blocks, others = read_piece("\n".join([*rows, ""]).encode(), needed_by_figures)
    assert not others
    for name in ("cs", "math"):
        (block,) = (block for block in blocks if f"loss_nats/{name}" in block.columns)
        steps = [step for step in range(1, 40) if (step % 3 > 0) == (name == "cs")]
        assert block.columns["step"].tolist() == steps
        assert block.columns[f"loss_nats/{name}"].tolist() == [step + 0.5 for step in steps]


DAMAGED = {
    "cut off": '{"kind": "train", "step": 2, "loss_nats": 1.5',
    "no value": '{"kind": "train", "step": 2, "loss_nats": }',
    "no number": '{"kind": "train", "step": 2, "loss_nats": 1.5.5}',
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_row_among_rows_read_as_arrays_is_named(tmp_path: Path, damaged: str) -> None:
    rows = [PLAIN % step for step in range(3, 3 + 2 * FEWEST_ROWS)]
    rows.insert(FEWEST_ROWS, damaged)
    path = tmp_path / "log.0.jsonl"
    path.write_text("\n".join([json.dumps(header()), *rows]) + "\n")
    with pytest.raises(UserError, match=rf"log\.0\.jsonl:{FEWEST_ROWS + 2}: not JSON"):
        read_run(RUN, [path], needed_by_figures)


def test_an_interrupted_run_has_the_same_history_as_by_json(tmp_path: Path) -> None:
    interrupted_run(tmp_path)
    files = find_runs([tmp_path])[RUN]
    fast, full = read_run(RUN, files, needed_by_figures), read_run(RUN, files)
    assert fast.notes == full.notes
    for kind in ("train", "perf"):
        arrays = getattr(fast, kind)
        assert list(arrays) == ["restart", *(c for c in getattr(full, kind) if needed_by_figures(kind, c))]
        expected = getattr(full, kind)[list(arrays)]
        np.testing.assert_allclose(arrays.to_numpy(float), expected.to_numpy(float), rtol=ROUNDING)
    assert fast.val.equals(full.val)
    assert fast.event.equals(full.event)


def test_restarts_in_one_published_file_void_rows_of_earlier_ones(tmp_path: Path) -> None:
    rows = [header(), *history(1, 30), header(1), event(20, "resume"), *history(21, 40), header(2)]
    rows += history(31, 50)
    path = write(tmp_path / "log.0.jsonl", rows)
    train = read_run(RUN, [path], needed_by_figures).train
    assert train["step"].tolist() == list(range(1, 51))
    assert train["restart"].tolist() == [0] * 20 + [1] * 10 + [2] * 20


def test_pieces_of_a_large_log_end_at_lines_and_hold_it_all(tmp_path: Path) -> None:
    lines = b"".join(b"%07d\n" % number for number in range(PIECE_BYTES // 3)) + b"torn"
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(lines)
    packed.write_bytes(gzip.compress(lines[:1001], 1) + gzip.compress(lines[1001:], 1))
    for path in (plain, packed):
        found = list(pieces(path))
        assert len(found) > 2
        assert all(piece.endswith(b"\n") for piece in found[:-1])
        assert found[-1] == b"torn"
        assert b"".join(found) == lines


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "seed0.jsonl.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))  # 64 kB that become 64 MiB
    with pytest.raises(UserError, match="this is no log"):
        read_run(RUN, [path])


def test_damage_among_rows_read_as_arrays_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.0.jsonl", [header(), *history(1, 30)])
    path.write_text(path.read_text().replace('"step": 9, ', '"step": "9", '))
    with pytest.raises(UserError, match=r"log\.0\.jsonl:18: step is '9'"):
        read_run(RUN, [path], needed_by_figures)
