"""`make status`: what a run is doing, told from its files."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analysis.readers.run_logs import Run, find_runs, read_run
from analysis.status import HEADER, describe, span, sparkline
from tests.conftest import ROOT, run_script
from tests.support import PATIENCE_S, accept_ctrl_c
from tests.support.analysis_logs import Row, event, header, history, interrupted_run, write

RUN = Run("demo", "run20", 0)
LAST_ROW = datetime(
    2026, 11, 21, 0, 1, 40, tzinfo=UTC
)  # of step 100 as tests/support/analysis_logs.py dates it

STATES: dict[str, tuple[list[Row], list[str], float]] = {
    "done": ([], ["DONE"], 1e6),
    "running": ([], [], 20),
    "stopping": ([], ["STOP"], 20),
    "stopped": ([event(100, "checkpoint"), event(100, "preempt")], [], 1e6),
    "failed": ([event(100, "gave_up")], [], 20),
    "silent": ([], [], 3600),
}


def row(folder: Path, age_s: float) -> dict[str, str]:
    log = read_run(RUN, find_runs([folder.parents[2]])[RUN])
    return dict(zip(HEADER, describe(log, folder, LAST_ROW + timedelta(seconds=age_s)), strict=True))


@pytest.mark.parametrize(("more", "files", "age_s"), STATES.values(), ids=STATES.keys())
def test_states(
    tmp_path: Path, more: list[Row], files: list[str], age_s: float, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "demo/run20/seed0"
    write(folder / "log.0.jsonl", [header(), *history(1, 100), *more])
    for name in files:
        (folder / name).touch()
    assert row(folder, age_s)["state"] == request.node.callspec.id


def test_figures_of_a_running_run(tmp_path: Path) -> None:
    folder = tmp_path / "demo/run20/seed0"
    write(folder / "log.0.jsonl", [header(), *history(1, 100)])
    write(folder / "log.1.jsonl", [header(1), event(80, "resume"), *history(81, 100)])
    (folder / "config.yaml").write_text("recipe: {tokens_total: 40960000}\n")
    shown = row(folder, 20)
    assert shown["step"] == "100"
    assert shown["of total"] == "1%"
    assert shown["restarts"] == "1"
    # 40.55 M tokens to go at about 5,200 a second.
    assert shown["ETA"].startswith("2 h ")


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    folder = tmp_path / "demo/run20/seed0"
    write(folder / "log.0.jsonl", [header()])
    log = read_run(RUN, [folder / "log.0.jsonl"])
    assert describe(log, folder, datetime.now(UTC))[1:3] == ("running", "0")


def test_a_damaged_log_does_not_hide_the_others(tmp_path: Path) -> None:
    interrupted_run(tmp_path)
    write(tmp_path / "demo/run23/seed0/log.0.jsonl", [header(), {"kind": "train"}, *history(1, 2)])
    shown = run_script("analysis/status.py", "--logs", tmp_path).stdout
    assert "demo/run23/seed0  damaged log" in shown
    assert "log.0.jsonl:2: step is None" in shown
    assert "demo/run20/seed0  silent" in shown


def test_watching_shows_new_rows_until_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "demo/run20/seed0/log.0.jsonl"
    write(log, [header(), *history(1, 100)])
    command = [sys.executable, "analysis/status.py", "--logs", str(tmp_path), "--watch", "0.1"]
    watching = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        preexec_fn=accept_ctrl_c,
    )
    assert watching.stdout is not None
    lines = iter(watching.stdout.readline, "")
    assert "  100  " in next(line for line in lines if line.startswith("demo/run20"))
    write(log, [header(), *history(1, 110)])
    assert any("  110  " in line for line in lines)
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=PATIENCE_S)
    assert (watching.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([8.0, 7, 6, 5, 4, 3, 2, 1], "█▇▆▅▄▃▂▁"),
        ([3.0, 3.0], "▁▁"),
        ([float("nan")] * 3, "–"),
        ([*[2.0] * 600, *[1.0] * 600], "██████▁▁▁▁▁▁"),
    ],
    ids=["falling", "flat", "never finite", "long"],
)
def test_the_trend_is_a_curve_of_blocks(values: list[float], shown: str) -> None:
    assert sparkline(values) == shown


def test_no_runs_names_the_remedy(tmp_path: Path) -> None:
    assert "make demo" in run_script("analysis/status.py", "--logs", tmp_path).stdout


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "< 1 min"),
        (61, "1 min"),
        (7260, "2 h 01 min"),
        (86400 * 13.9, "13 d 21 h"),
        (-3, "< 1 min"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
