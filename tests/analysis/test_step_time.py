"""step_time: the parts of a run's time are what its rows say, and sum to all of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analysis.readers.run_logs import read_runs
from analysis.step_time import PARTS, as_table, as_text, parts_of
from tests.conftest import run_script
from tests.support.analysis_logs import Row, header, write
from tests.support.training import pretrain_here, write_corpus

BEGAN = datetime(2026, 11, 21, tzinfo=UTC)


def stated_history(first: int, last: int, start_s: float, began: datetime = BEGAN) -> list[Row]:
    """Steps of 2 s (0.1 s data, 0.3 s exchange), every fourth with 3 s of validation and 0.5 s to save."""
    rows: list[Row] = []
    wall_s = start_s

    def add(kind: str, step: int, **more: object) -> None:
        at = (began + timedelta(seconds=wall_s)).isoformat(timespec="milliseconds")
        rows.append(
            {"kind": kind, "step": step, "tokens_seen": step, "time_utc": at, "wall_s": wall_s, **more}
        )

    saved_s = 0.0
    for step in range(first, last + 1):
        wall_s += 2.0
        add("train", step, loss_nats=2.0, lr=1e-3, grad_norm=1.0, clipped=False, skipped=False, span_hash="a")
        if step % 2 == 0:
            of_checkpoint = {"checkpoint_s": saved_s} if saved_s else {}
            add("perf", step, tokens_per_s=1.0, step_s=2.0, data_wait_s=0.1, exchange_s=0.3, **of_checkpoint)
            saved_s = 0.0
        if step % 4 == 0:
            wall_s += 3.0
            for domain in ("cs", "math"):
                add("val", step, domain=domain, loss_nats=2.0, n_tokens=1, n_bytes=1, bits_per_byte=1.0)
            wall_s += 0.5
            saved_s += 0.5
            add("event", step, event="checkpoint")
    return rows


def test_parts_are_what_the_rows_say(tmp_path: Path) -> None:
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", [header(), *stated_history(1, 8, start_s=7.0)])
    (log,) = read_runs([tmp_path], None, None)
    expected = {
        "compute": 8 * 1.6,
        "exchange": 8 * 0.3,
        "data": 8 * 0.1,
        "checkpoint": 1.0,
        "validation": 6.0,
    }
    assert parts_of(log) == pytest.approx(expected | {"start": 7.0, "restarts": 0.0, "other": 0.0})


def test_a_restart_counts_what_it_lost(tmp_path: Path) -> None:
    folder = tmp_path / "demo/run20/seed0"
    write(folder / "log.0.jsonl", [header(), *stated_history(1, 7, start_s=7.0)])
    resumed = {"kind": "event", "step": 4, "tokens_seen": 4, "time_utc": BEGAN.isoformat(), "wall_s": 0.0}
    again = BEGAN + timedelta(seconds=100)
    write(
        folder / "log.1.jsonl",
        [
            header(1),
            resumed | {"event": "resume", "time_utc": again.isoformat()},
            *stated_history(5, 8, start_s=5.0, began=again),
        ],
    )
    (log,) = read_runs([tmp_path], None, None)
    seconds = parts_of(log)
    # The first start got as far as its checkpoint at 7 + 4 x 2 + 3.5 s; the second lasted 5 + 4 x 2 + 3.5 s.
    assert seconds["restarts"] == pytest.approx(100 - 18.5)
    assert seconds["start"] == pytest.approx(12.0)
    assert sum(seconds.values()) == pytest.approx(100 + 16.5)


def test_a_real_run_with_a_restart_is_accounted_for(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    folder = tmp_path / "runs/demo/run20/seed0"
    folder.mkdir(parents=True)
    pretrain_here(corpus, folder, tokens_total=4096)
    pretrain_here(corpus, folder, "--force", tokens_total=8192)
    (log,) = read_runs([tmp_path / "runs"], None, None)
    seconds = parts_of(log)
    total = (log.train["time_utc"].iloc[-1], log.train["time_utc"].iloc[0])
    assert (
        sum(seconds.values()) >= (datetime.fromisoformat(total[0]) - datetime.fromisoformat(total[1])).seconds
    )
    assert min(seconds.values()) > -0.01 * sum(seconds.values())
    assert seconds["compute"] > 0
    assert seconds["validation"] > 0
    assert len(log.segments) == 2


def test_table_and_figure_of_all_runs(tmp_path: Path) -> None:
    for run in ("run08", "run20"):
        write(tmp_path / f"logs/demo/{run}/seed0/log.0.jsonl", [header(), *stated_history(1, 8, start_s=7.0)])
    said = run_script("analysis/step_time.py", "--logs", tmp_path / "logs", "--out", tmp_path / "out").stdout
    logs = read_runs([tmp_path / "logs"], None, None)
    table = as_table({f"{log.run.run}, seed 0": parts_of(log) for log in logs})
    assert as_text(table).markdown() in said
    assert table[list(PARTS)].sum(axis=1).to_list() == pytest.approx([100, 100])
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {f"step_time.{kind}" for kind in ("png", "pdf", "md", "csv", "tex")}


def test_a_run_without_logs_is_named(tmp_path: Path) -> None:
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", [header(), *stated_history(1, 2, start_s=0.0)])
    done = run_script("analysis/step_time.py", "--logs", tmp_path, "--runs", "run20,run77", check=False)
    assert done.returncode == 2
    assert "no logs of run77 at scale demo, only of run20" in done.stderr
