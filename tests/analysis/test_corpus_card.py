"""The card of a corpus: its counts are those of the files, its code runs, and nothing closed is shared."""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from analysis import corpus_card
from analysis.readers.groups import licence_name
from configs.loader import UserError
from configs.stages import CORPUS_STAGES
from preprocess.filter_metadata import OPEN_GROUPS, license_group
from preprocess.sample_corpus import write_sample
from tests.support.corpus import run_stage

pytestmark = pytest.mark.readers


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the finished corpus of a small sample."""
    data = tmp_path_factory.mktemp("data")
    write_sample(data / "raw", 0, 24)
    for stage in CORPUS_STAGES:
        run_stage(stage, "--data", data, *(["min_val_papers=2"] if stage == "split_corpus" else []))
    return data


@pytest.fixture(scope="module")
def rows(data: Path) -> list[dict[str, Any]]:
    """The documents of the finished corpus, read without this project's code."""
    return pq.read_table(data / "corpus/main/split_corpus").to_pylist()


def run(data: Path, out: Path, *args: str) -> str:
    """The card."""
    argv = ["analysis/corpus_card.py", "--data", str(data), "--out", str(out), *args]
    with mock.patch.object(sys, "argv", argv):
        corpus_card.main()
    return (out / "README.md").read_text()


def test_counts_are_those_of_the_files(data: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    card = run(data, tmp_path)
    splits = Counter(row["split"] for row in rows)
    assert f"{len(rows):,} papers of arXiv" in card
    assert f"{splits['train']:,} for training, {splits['val']:,} for validation" in card
    for name, n in Counter(licence_name(row["license"]) for row in rows).items():
        is_open = any(licence_name(row["license"]) == name and is_shared(row) for row in rows)
        assert re.search(rf"\| {re.escape(name)} +\| +{n} \|.* {'yes' if is_open else 'no'} ", card), name
    for name, n in Counter(row["language"] for row in rows).items():
        assert re.search(rf"\| {name} +\| +{n} \|", card)
    assert "not** decontaminated" in card
    front = yaml.safe_load(card.split("---")[1])
    assert front["size_categories"] == ["n<1K"]
    assert run(data, tmp_path / "again") == card


def is_shared(row: dict[str, Any]) -> bool:
    return license_group(row["license"]) in OPEN_GROUPS


@pytest.mark.parametrize(
    "url",
    [
        "http://creativecommons.org/licenses/by/4.0/",
        "http://creativecommons.org/licenses/by-sa/4.0/",
        "http://creativecommons.org/licenses/by-nc-sa/4.0/",
        "http://creativecommons.org/licenses/by-nc-nd/4.0/",
        "http://creativecommons.org/publicdomain/zero/1.0/",
        "http://creativecommons.org/licenses/publicdomain/",
        "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "",
    ],
)
def test_open_licences_are_those_of_the_recipes(url: str) -> None:
    assert bool(corpus_card.OPEN_LICENCE.match(licence_name(url))) == (license_group(url) in OPEN_GROUPS)


def test_examples_are_of_open_papers_only(data: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    card = run(data, tmp_path)
    shown = re.findall(r"\[(\S+)\]\(https://arxiv.org/abs/", card)
    by_id = {row["id"]: row for row in rows}
    assert shown
    assert all(is_shared(by_id[paper_id]) for paper_id in shown)
    assert all(by_id[paper_id]["text"][:600] in card for paper_id in shown)


def test_the_lines_of_code_run(
    data: Path, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    code = re.search(r"```python\n(.*?)```", run(data, tmp_path), re.DOTALL)
    assert code
    imports, *calls = code[1].strip().split("\n")
    names: dict[str, Any] = {}
    exec(imports, names)
    monkeypatch.setattr(names["datasets"].config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    dataset, relation, frame = (eval(call, names) for call in calls)
    assert sorted(dataset["id"]) == sorted(row["id"] for row in rows) == sorted(frame["id"])
    assert isinstance(relation, duckdb.DuckDBPyRelation)
    assert sum(row[2] for row in relation.fetchall()) == len(rows)


def test_the_page_shows_html_of_papers_and_does_not_obey_it() -> None:
    page = corpus_card.as_html("# A\n\n<script>x</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", "A")
    assert "<h1>A</h1>" in page
    assert "<td>1</td>" in page
    assert "<script>" not in page
    fenced = corpus_card.examples({"math": [(0, "0704.0001", "before\n```\n</pre><script>")]})[1]
    assert "<script>" not in corpus_card.as_html(fenced, "A")


def test_closed_text_is_not_pushed(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="may not be passed on"):
        run(data, tmp_path, "--push", "me/corpus", "--confirm")


def test_a_push_without_confirmation_uploads_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    card = run(data, tmp_path, "--push", "me/corpus", "--all-licences")
    assert "hf://datasets/me/corpus/data/*.parquet" in card
    assert str(data) not in card  # a folder of this machine is nobody else's business
    said = capsys.readouterr().out
    n_shards = len(list((data / "corpus/main/split_corpus").glob("*.parquet")))
    assert f"me/corpus: README.md, data/ with {n_shards} files" in said
    assert "nothing was uploaded" in said
