"""The tables of docs/yield.md: made of the published measurements, and the same as in the document."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.measured_report import MEASUREMENTS
from analysis.table_text import Table
from analysis.yield_tables import compat_table, marginal_table
from configs.script import UserError
from tests.conftest import ROOT, run_script


def test_the_tables_have_a_row_for_each_corpus_and_rule(tmp_path: Path) -> None:
    done = run_script("analysis/yield_tables.py", "--out", tmp_path)
    rows = {}
    for name in ("compat", "marginal_yield"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            rows[name] = {row["corpus"]: row for row in csv.DictReader(file)}
    measured = json.loads((MEASUREMENTS / "compat.json").read_text())
    corpora = {"main", "run05", "redpajama", "proof_pile", "common_pile", "pes2o"}
    assert rows["compat"].keys() == measured["sample"].keys() == measured["real"].keys() == corpora
    for corpus, row in rows["compat"].items():
        assert row["documents"] == f"{measured['sample'][corpus]['documents']:,}"
        assert row["MB/s"] == f"{measured['real'][corpus]['mb_per_s']:.2f}"
        assert corpus in done.stdout
    rules = json.loads((MEASUREMENTS / "marginal_yield.json").read_text())["rules"]
    assert [row["tokens"] for row in rows["marginal_yield"].values()] == [
        f"{rule['tokens']:+,}" for rule in rules.values()
    ]


@pytest.mark.parametrize(("name", "make"), [("marginal_yield", marginal_table), ("compat", compat_table)])
def test_the_document_shows_what_was_measured(name: str, make: Callable[[dict[str, Any]], Table]) -> None:
    document = (ROOT / "docs/yield.md").read_text()
    measured = json.loads((MEASUREMENTS / f"{name}.json").read_text())
    assert make(measured).into(document) == document, "run make yield-tables"


def test_a_table_takes_the_place_of_the_one_before_it() -> None:
    document = "a\n<!-- table t -->\nold\n<!-- end -->\nb\n<!-- table u -->\nother\n<!-- end -->\n"
    new = Table("t", "T", ("x",), [("1",)])
    assert new.into(document) == document.replace("old\n", new.markdown())
    with pytest.raises(UserError, match="no place for the table v"):
        Table("v", "V", ("x",), [("1",)]).into(document)


def test_missing_measurements_name_the_target(tmp_path: Path) -> None:
    failed = run_script("analysis/yield_tables.py", "--measured", tmp_path, check=False)
    assert failed.returncode == 2
    assert "make yield-study writes it" in failed.stderr
