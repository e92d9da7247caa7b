"""Documents in several parts: read as if they lay in one file, refused if they do not belong together."""

import random
from pathlib import Path
from typing import Any

import pytest

from configs.loader import UserError
from configs.stages import parts_after
from preprocess.pipeline import shard
from preprocess.pipeline.parts import document_rows, texts_of
from preprocess.pipeline.stage import units_of
from tests.support.corpus import document, ledger, run_stage, write_parts, write_shard

N_ROWS = 40


def _rows(n_kept: int, seed: int = 0) -> list[dict[str, Any]]:
    """Some of N_ROWS documents, in their order."""
    rows = [document(f"0704.{i:04}", f"text {i} " * 40, n_words=i) for i in range(N_ROWS)]
    return [rows[i] for i in sorted(random.Random(seed).sample(range(N_ROWS), n_kept))]


@pytest.fixture(params=[10**9, 3000], ids=["one-row-group", "several"])
def folders(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The parts of a tar: 40 texts, of which one filter keeps 30 and the next one 20 of these."""
    monkeypatch.setattr(shard, "ROW_GROUP_BYTES", request.param)
    few = random.Random(1).sample(_rows(30), 20)
    for stage, rows in zip(
        parts_after("deduplicate"),
        (_rows(N_ROWS), _rows(30), sorted(few, key=lambda row: str(row["id"]))),
        strict=True,
    ):
        write_parts(tmp_path, "t", rows, upto=stage, only_last=True)
    return [tmp_path / "corpus/main" / stage for stage in parts_after("deduplicate")]


@pytest.mark.parametrize(
    "columns",
    [("id", "text"), ("id", "n_words"), ("component",), ("id", "title", "n_words", "component"), None],
    ids=["text", "first-filter", "second-filter", "all-parts", "all-columns"],
)
def test_parts_are_read_as_one_file(folders: list[Path], columns: tuple[str, ...] | None) -> None:
    (unit,) = units_of(*folders)
    expected = [row for row in _rows(N_ROWS) if row["id"] in _ids(folders[-1])]
    found = list(document_rows(unit.inputs, columns))
    assert len(found) == len(expected) == 20
    for row, whole in zip(found, expected, strict=True):
        assert set(columns or ("text", "title", "n_words", "component")) <= set(row)
        assert all(row[name] == whole[name] for name in columns or ("id", "text", "n_words"))


def _ids(folder: Path) -> set[str]:
    return {row["id"] for row in shard.read_rows(folder / "t.parquet")}


def test_some_texts_are_found_by_their_ids(folders: list[Path]) -> None:
    wanted = {row["id"]: row["text"] for row in _rows(7, seed=3)}
    assert dict(texts_of(folders[0] / "t.parquet", wanted)) == wanted


def test_texts_that_were_made_again_are_refused(tmp_path: Path) -> None:
    """The filter's verdicts are of other texts; a run of the filter puts it right."""
    texts = tmp_path / "corpus/main/normalize_text/t.parquet"
    write_shard(texts, [document(f"0704.{i:04}") for i in range(6)])
    run_stage("filter_quality", "--data", tmp_path)
    write_shard(texts, [document("0704.0000"), document("0704.0001", "Too short.")])
    with pytest.raises(
        UserError, match=r"filter_quality/t\.parquet: was not made from what .*normalize_text"
    ):
        run_stage("deduplicate", "--data", tmp_path)
    run_stage("filter_quality", "--data", tmp_path)
    run_stage("deduplicate", "--data", tmp_path)
    assert ledger(tmp_path, "deduplicate") == {"0704.0000": "kept"}


@pytest.mark.parametrize("change", ["order", "missing"])
def test_parts_with_other_documents_are_refused(folders: list[Path], change: str) -> None:
    """Which no stage writes; a join that went by position would give a text the measures of another."""
    path = folders[0] / "t.parquet"
    rows, last = _rows(N_ROWS), max(_ids(folders[-1]))
    write_shard(path, rows[::-1] if change == "order" else [row for row in rows if row["id"] != last])
    with pytest.raises(UserError, match="holds other documents"):
        list(document_rows([folder / "t.parquet" for folder in folders], ("id", "text", "n_words")))
