"""deduplicate and split_corpus on small shards."""

from pathlib import Path

import pytest

from preprocess import schema
from preprocess.deduplicate import text_key
from preprocess.shard import read_rows
from tests.conftest import run_script
from tests.corpus_support import document, ledger, write_done, write_shard


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("A theorem.", "a  Theorem", True),
        ("$x_1$ and y", "$ x_{1} $\nand y", True),
        ("$x_1$", "$x_2$", False),
        ("Zoë", "Zoe", False),
    ],
)
def test_what_counts_as_equal(one: str, two: str, equal: bool) -> None:
    assert (text_key(one) == text_key(two)) is equal


@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "other-order"])
def test_earliest_of_equal_documents_stays(tmp_path: Path, shuffled: bool) -> None:
    rows = [
        document("0704.0003", "same text", created="2007-04-03"),
        document("0704.0001", "Same  text", created="2007-04-05"),
        document("0704.0004", "other text"),
        document("0705.0001", "same text.", created="2007-04-03"),
    ]
    shards = [rows[2:], rows[:2]] if shuffled else [rows[:2], rows[2:]]
    for i, shard in enumerate(shards):
        write_shard(tmp_path / f"corpus/main/filter_quality/t{i}.parquet", shard, schema.MEASURED)
    run_script("preprocess/deduplicate.py", "--data", tmp_path, "--workers", 2)
    assert ledger(tmp_path, "deduplicate") == {
        "0704.0003": "kept",
        "0704.0001": "exact_duplicate",
        "0704.0004": "kept",
        "0705.0001": "exact_duplicate",
    }
    again = run_script("preprocess/deduplicate.py", "--data", tmp_path)
    assert "finished, not made again" in again.stdout


def test_corpus_wide_stage_refuses_to_be_divided(tmp_path: Path) -> None:
    write_shard(tmp_path / "corpus/main/filter_quality/t.parquet", [document("0704.0001")], schema.MEASURED)
    failed = run_script("preprocess/deduplicate.py", "--data", tmp_path, "--shard", "0/2", check=False)
    assert failed.returncode == 2
    assert "as one task" in failed.stderr


class TestSplit:
    def _split(self, folder: Path, ids: dict[str, list[str]], n_shards: int) -> dict[str, str]:
        rows = [document(i, domain=domain) for domain, some in ids.items() for i in some]
        for k in range(n_shards):
            path = folder / f"corpus/main/deduplicate/t{k}.parquet"
            write_shard(path, rows[k::n_shards], schema.MEASURED)
        write_done(folder / "corpus/main/deduplicate")
        run_script("preprocess/split_corpus.py", "--data", folder, "min_val_papers=3", "val_share=0.1")
        done = (folder / "corpus/main/split_corpus").glob("*.parquet")
        return {row["id"]: row["split"] for path in done for row in read_rows(path)}

    def test_each_domain_has_its_share_whatever_the_shards(self, tmp_path: Path) -> None:
        ids = {"math": [f"0704.{i:04}" for i in range(50)], "cs": [f"0705.{i:04}" for i in range(8)]}
        one = self._split(tmp_path / "one", ids, 1)
        assert one == self._split(tmp_path / "three", ids, 3)
        assert sum(one[i] == "val" for i in ids["math"]) == 5
        assert sum(one[i] == "val" for i in ids["cs"]) == 3

    def test_too_few_papers_are_an_error_with_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="min_val_papers"):
            self._split(tmp_path, {"math": ["0704.0001", "0704.0002"]}, 1)
