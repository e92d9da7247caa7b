"""The I/O report: what devices need follows from bytes and cores, and its files are written."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.io_report import DEVICES, devices_table, needed_cores, needed_mb_per_s, sources_table
from analysis.measured_report import MEASUREMENTS
from tests.conftest import run_script


@pytest.fixture
def measured() -> dict[str, Any]:
    return json.loads((MEASUREMENTS / "io.json").read_text())


def test_a_device_needs_its_tokens_times_their_bytes_and_cores(measured: dict[str, Any]) -> None:
    measured["epoch"]["tokens"]["bytes_per_useful_token"] = 4.0
    measured["local"]["tokens"]["useful_tokens_per_cpu_s"] = 1e6
    assert needed_mb_per_s(measured, "tokens", "8 × H100") == 8 * 48_910 * 4 / 1e6
    assert needed_cores(measured, "tokens", "A100") == DEVICES["A100"] / 1e6


def test_the_tables_show_what_was_counted(measured: dict[str, Any]) -> None:
    measured["epoch"]["jsonl, padded"] |= {"padding": 0.125, "seen": 0.25}
    padded = next(row for row in sources_table(measured).rows if row[0] == "jsonl, padded")
    assert padded[3:5] == ("12.50", "25.00")
    needs = {row[0]: row[1] for row in devices_table(measured).rows}
    assert needs["jsonl, packed"] == "n/a"  # in memory


def test_the_script_writes_figure_and_tables_and_names_a_missing_file(tmp_path: Path) -> None:
    run_script("analysis/io_report.py", "--out", tmp_path)
    stems = {path.name for path in tmp_path.iterdir()}
    assert {"io.png", "io.pdf", "io.json", "io_sources.tex", "io_devices.csv", "io_disk.md"} <= stems
    (source,) = json.loads((tmp_path / "io.json").read_text())["measured"]
    assert source["sha256"] == hashlib.sha256((MEASUREMENTS / "io.json").read_bytes()).hexdigest()
    done = run_script("analysis/io_report.py", "--measured", tmp_path / "none.json", check=False)
    assert done.returncode == 2
    assert "none.json" in done.stderr
    assert "make bench-io" in done.stderr
