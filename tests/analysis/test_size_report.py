"""The report on arXiv's size: its rows are the measurements, its files are written."""

import json
from pathlib import Path

from analysis.measured_report import MEASUREMENTS
from analysis.size_report import table
from tests.conftest import ROOT, run_script


def test_the_table_has_each_stage_at_each_size() -> None:
    measured = json.loads((MEASUREMENTS / "size.json").read_text())
    sizes = measured["sizes"]
    sizes[-1]["stages"]["deduplicate"] |= {"cpu_s": 128.0, "peak_mb": 3210}
    measured["exponents"]["deduplicate"]["steps"][-1] = 0.875
    row = table(measured).rows[len(sizes) - 1]
    papers = sizes[-1]["papers"]
    assert row == ("deduplicate", f"{papers:,}", "128.0", f"{128e3 / papers:.3f}", "3.21", "0.88")


def test_the_document_shows_what_was_measured() -> None:
    document = (ROOT / "docs/preprocessing.md").read_text()
    measured = json.loads((MEASUREMENTS / "size.json").read_text())
    assert table(measured).into(document) == document, "run make size-report"


def test_the_script_writes_figure_and_table(tmp_path: Path) -> None:
    run_script("analysis/size_report.py", "--out", tmp_path)
    assert {"size.png", "size.pdf", "size.json", "size.md"} <= {path.name for path in tmp_path.iterdir()}
