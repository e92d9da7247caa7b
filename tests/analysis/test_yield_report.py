"""The yield report: sums, the laws within a stage, and the chain from stage to stage."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.readers.groups import Group, licence_name
from analysis.readers.ledgers import Corpus, StageYield, read_corpus
from analysis.yield_report import group_law
from configs.stages import CORPUS_STAGES
from preprocess.pipeline import schema
from tests.conftest import run_script


def kept(paper_id: str, n_in: int, n_out: int, **removed: int) -> dict[str, Any]:
    detail = json.dumps(removed) if removed else ""
    return _row(paper_id, "kept", "", n_in, n_out, sum(removed.values()), detail)


def dropped(paper_id: str, reason: str, n_in: int) -> dict[str, Any]:
    return _row(paper_id, "dropped", reason, n_in, 0, 0, "a sentence, not JSON")


def _row(*values: Any) -> dict[str, Any]:
    names = [name for name in schema.LEDGER.names if name != "source_tar"]
    return {"source_tar": "t", **dict(zip(names, values, strict=True))}


A, B = kept("a", 100, 100), kept("b", 50, 50)


def write(data: Path, variant: str = "main", tar: str = "t", **stages: list[dict[str, Any]]) -> None:
    for stage, rows in stages.items():
        path = data / "ledger" / variant / stage / f"{tar}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema.LEDGER), path)


def write_all(data: Path, **changed: list[dict[str, Any]]) -> None:
    write(data, **({stage: [A, B] for stage in CORPUS_STAGES} | changed))


def test_table_files_and_figure(tmp_path: Path) -> None:
    write_all(
        tmp_path, split_corpus=[kept("a", 100, 70, comments=40, macros=-10), dropped("b", "language", 50)]
    )
    done = run_script("analysis/yield_report.py", "--data", tmp_path, "--out", tmp_path / "out")
    text = (tmp_path / "out/yield.md").read_text()
    assert done.stdout.startswith(text)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["split_corpus", "2", "1", "50.0", "0.00", "0.00", "0.00", "0.00", "46.7"] in cells
    assert ["split_corpus", "language", "1", "50.0", "0.00"] in cells
    with (tmp_path / "out/yield.csv").open() as file:
        rows = [tuple(row) for row in csv.reader(file)]
    assert ("split_corpus", "dropped", "language", "1", "50") in rows
    assert ("split_corpus", "removed", "macros", "", "-10") in rows
    assert all((tmp_path / "out" / f"yield.{kind}").stat().st_size > 5000 for kind in ("png", "pdf"))


BROKEN = {
    "a byte vanishes": ([kept("a", 100, 70, comments=29), B], "150 bytes in"),
    "a removal without a cause": ([_row("a", "kept", "", 100, 70, 30, ""), B], "by cause"),
    "a document vanishes": ([A], "b was kept by filter_quality and never judged"),
    "a document appears": ([A, B, kept("c", 1, 1)], "c was not kept by filter_quality"),
    "bytes appear": ([A, kept("b", 51, 51)], "151 bytes in, but filter_quality put out 150"),
    "judged twice": ([A, B, B], "judged twice"),
    "no verdict": ([A, _row("b", "", "", 50, 0, 0, "")], "2 documents in"),
    "dropped for no reason": ([A, dropped("b", "", 50)], "2 documents in"),
}


@pytest.mark.parametrize(("rows", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_law_names_stage_and_shard(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    write_all(tmp_path, deduplicate=rows)
    sentence = next(sentence for sentence in read_corpus(tmp_path, "main").broken if says in sentence)
    assert sentence.startswith("deduplicate: ")
    assert "deduplicate/t.parquet" in sentence


def test_a_broken_law_ends_with_code_3_after_the_table(tmp_path: Path) -> None:
    write_all(tmp_path, deduplicate=[A])
    out = tmp_path / "out"
    failed = run_script("analysis/yield_report.py", "--data", tmp_path, "--out", out, check=False)
    assert failed.returncode == 3
    assert "law broken: deduplicate" in failed.stderr
    assert "BROKEN" in (out / "yield.md").read_text()


def test_a_tar_that_a_stage_has_not_taken_yet_is_unfinished_not_broken(tmp_path: Path) -> None:
    write_all(tmp_path)
    write(tmp_path, tar="u", validate_archives=[kept("c", 9, 9)], extract_latex=[kept("c", 20, 20)])
    corpus = read_corpus(tmp_path, "main")
    assert corpus.broken == []
    assert corpus.unfinished == ["u has not passed normalize_text"]
    out = tmp_path / "out"
    failed = run_script("analysis/yield_report.py", "--data", tmp_path, "--out", out, check=False)
    assert failed.returncode == 2
    assert "make preprocess" in failed.stderr


def test_bytes_may_change_where_items_are_unpacked_and_months_are_not_tars(tmp_path: Path) -> None:
    packed = [kept("a", 10, 10), kept("b", 5, 5)]
    write_all(tmp_path, validate_archives=packed, filter_metadata=[A, B, dropped("z", "category", 1)])
    assert read_corpus(tmp_path, "main").broken == []


def test_a_variant_takes_the_stages_that_it_shares_from_its_base(tmp_path: Path) -> None:
    write_all(tmp_path)
    write(tmp_path, "broad", filter_metadata=[A, B, kept("c", 7, 7)])
    corpus = read_corpus(tmp_path, "broad")
    assert corpus.stages["filter_metadata"].n_kept == 3
    assert corpus.stages["split_corpus"].n_kept == 2


def test_shards_add_up() -> None:
    total, shard = (
        StageYield("x"),
        StageYield("x", n_in=2, n_kept=1, bytes_in=5, bytes_out=3, bytes_removed=-2),
    )
    shard.dropped["why"] = 1
    shard.bytes_dropped["why"] = 4
    shard.removed["macros"] = -2
    total.add(shard)
    total.add(shard)
    assert (total.n_in, total.bytes_removed, total.removed["macros"]) == (4, -4, -4)
    assert total.broken_law() is None


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write_all(tmp_path)
    (tmp_path / "ledger/main/deduplicate/t.parquet").write_bytes(b"PAR1 and no more")
    failed = run_script("analysis/yield_report.py", "--data", tmp_path, check=False)
    assert failed.returncode == 2
    assert "deduplicate/t.parquet: damaged" in failed.stderr


def test_no_ledger_is_a_user_error(tmp_path: Path) -> None:
    failed = run_script("analysis/yield_report.py", "--data", tmp_path, check=False)
    assert failed.returncode == 2
    assert "make preprocess" in failed.stderr


def test_groups_that_are_not_the_whole_break_a_law() -> None:
    corpus = Corpus({"split_corpus": StageYield("split_corpus", n_kept=2, bytes_out=30)}, [], [])
    whole = {"a": Group(1, 1, 1, 10, 3), "b": Group(1, 1, 1, 20, 5)}
    assert group_law({"domain": whole}, corpus) == []
    (sentence,) = group_law({"domain": whole, "year": {"2001": Group(2, 2, 2, 29, 8)}}, corpus)
    assert sentence == "split_corpus: 2 documents and 29 bytes by year, but 2 and 30 in the ledger"


LICENCES = {
    "http://creativecommons.org/licenses/by/4.0/": "CC by/4.0",
    "https://creativecommons.org/licenses/by-nc-sa/3.0": "CC by-nc-sa/3.0",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC publicdomain/zero",
    "http://creativecommons.org/licenses/publicdomain/": "CC publicdomain",
    "http://arxiv.org/licenses/nonexclusive-distrib/1.0/": "arXiv's own",
    "": "none on record",
    "https://example.org/x": "https://example.org/x",
}


@pytest.mark.parametrize(("url", "name"), LICENCES.items())
def test_short_names_of_licences(url: str, name: str) -> None:
    assert licence_name(url) == name
