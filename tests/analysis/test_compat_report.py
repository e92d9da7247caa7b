"""The published comparison with other pipelines, and the table made of it."""

import csv
import json
from pathlib import Path

from analysis.measured_report import MEASUREMENTS
from tests.conftest import run_script


def test_the_published_table_has_a_row_for_each_corpus(tmp_path: Path) -> None:
    measured = json.loads((MEASUREMENTS / "compat.json").read_text())
    done = run_script("analysis/compat_report.py", "--out", tmp_path)
    with (tmp_path / "compat.csv").open(newline="") as file:
        rows = {row["corpus"]: row for row in csv.DictReader(file)}
    corpora = {"main", "run05", "redpajama", "proof_pile", "common_pile", "pes2o"}
    assert rows.keys() == measured["sample"].keys() == measured["real"].keys() == corpora
    for corpus, row in rows.items():
        assert row["documents"] == f"{measured['sample'][corpus]['documents']:,}"
        assert row["MB/s"] == f"{measured['real'][corpus]['mb_per_s']:.2f}"
        assert corpus in done.stdout


def test_missing_measurements_name_the_target(tmp_path: Path) -> None:
    failed = run_script("analysis/compat_report.py", "--measured", tmp_path / "none.json", check=False)
    assert failed.returncode == 2
    assert "make bench-compat writes it" in failed.stderr
