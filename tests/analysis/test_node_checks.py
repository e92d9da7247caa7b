"""What a check of the nodes left in a run's log: a row of a table; other readers do not mind it."""

from pathlib import Path

import pytest

from analysis.node_checks import as_table
from analysis.readers.run_logs import Run, RunLog, find_runs, read_run
from configs.script import UserError
from tests.support.analysis_logs import event, header, history, write

RUN = Run("demo", "run20", 0)
FOUND = {
    **{"processes": 16, "nodes": 2, "product_tflop_per_s": 211.456, "memory_gib": 480.4},
    **{"all_reduce_gb_per_s": 88.2, "all_reduce_latency_us": 12.3, "transport": "NET/IB (8 channels)"},
}


def read(root: Path) -> RunLog:
    return read_run(RUN, find_runs([root])[RUN])


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    """A run of two starts, each of them checked; before the second a node was left."""
    folder = tmp_path / "demo" / "run20" / "seed0"
    first, second = (
        event(0, "preflight", **FOUND, excluded=""),
        event(20, "preflight", **FOUND, excluded="n7"),
    )
    write(folder / "log.0.jsonl", [header(0), first, *history(1, 25)])
    write(folder / "log.1.jsonl", [header(1), event(20, "resume"), second, *history(21, 40)])
    return read(tmp_path)


def test_a_row_for_each_start(log: RunLog) -> None:
    table = as_table([log])
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [(row["step"], row["excluded"]) for row in rows] == [("0", "–"), ("20", "n7")]
    assert rows[0]["product, TFLOP/s"] == "211.46"
    assert rows[0]["transport"] == "NET/IB (8 channels)"
    assert rows[0]["write, MB/s"] == "–"  # not measured


def test_the_history_is_that_of_the_run_without_checks(log: RunLog, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    write(bare / "demo/run20/seed0/log.0.jsonl", [header(0), *history(1, 25)])
    write(bare / "demo/run20/seed0/log.1.jsonl", [header(1), event(20, "resume"), *history(21, 40)])
    without = read(bare)
    assert log.train.equals(without.train)
    assert log.perf.equals(without.perf)
    assert not log.notes


def test_runs_that_were_never_checked(tmp_path: Path) -> None:
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", [header(0), *history(1, 5)])
    with pytest.raises(UserError, match="no start of these runs was checked"):
        as_table([read(tmp_path)])
