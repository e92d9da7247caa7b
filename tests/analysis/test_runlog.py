"""The reader of run logs: restarts merged, torn lines survived, damage named."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.readers.run_logs import Run, find_runs, read_run
from configs.loader import UserError
from tests.support.analysis_logs import event, header, history, interrupted_run, write

RUN = Run("demo", "run20", 0)


def test_a_resume_voids_what_earlier_restarts_logged_beyond_it(tmp_path: Path) -> None:
    interrupted_run(tmp_path)
    log = read_run(RUN, find_runs([tmp_path])[RUN])
    assert list(log.train["step"]) == list(range(1, 401))
    assert list(log.train["restart"]) == [0] * 160 + [1] * 240
    assert len(log.perf) == 400
    assert set(log.val["step"]) == {*range(25, 401, 25), 160}
    assert list(log.event["event"]) == ["checkpoint", "resume", "checkpoint"]
    assert log.header["restart_index"] == 1


def test_a_torn_last_line_is_left_out_and_told(tmp_path: Path) -> None:
    folder = interrupted_run(tmp_path)
    (note,) = read_run(RUN, find_runs([tmp_path])[RUN]).notes
    assert str(folder / "log.0.jsonl") in note
    assert "torn" in note


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6))
def test_any_chain_of_kills_leaves_each_step_once(
    tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, int]]
) -> None:
    """A restart may go back further than the last one began: every step then has its last writer's row."""
    folder = tmp_path_factory.mktemp("runs") / "demo/run20/seed0"
    writer: dict[int, int] = {}
    reached = 0
    for restart, (back, steps) in enumerate(kills):
        resumed = max(reached - back, 0) if restart else 0
        reached = resumed + steps
        events = [event(resumed, "resume")] if resumed else []
        write(folder / f"log.{restart}.jsonl", [header(restart), *events, *history(resumed + 1, reached)])
        writer = {step: by for step, by in writer.items() if step <= resumed}
        writer |= dict.fromkeys(range(resumed + 1, reached + 1), restart)
    log = read_run(RUN, find_runs([folder.parents[2]])[RUN])
    assert dict(zip(log.train["step"], log.train["restart"], strict=True)) == writer
    assert not log.notes


def test_the_tenth_restart_comes_after_the_ninth(tmp_path: Path) -> None:
    for restart in range(11):
        rows = history(restart * 2 + 1, restart * 2 + 4)
        write(tmp_path / f"demo/run20/seed0/log.{restart}.jsonl", [header(restart), *rows])
    log = read_run(RUN, find_runs([tmp_path])[RUN])
    assert list(log.train["step"]) == list(range(1, 25))


def test_a_start_that_logged_nothing_voids_nothing(tmp_path: Path) -> None:
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", [header(), *history(1, 5)])
    write(tmp_path / "demo/run20/seed0/log.1.jsonl", [header(1)], torn='{"kind": "ev')
    log = read_run(RUN, find_runs([tmp_path])[RUN])
    assert list(log.train["step"]) == [1, 2, 3, 4, 5]
    assert len(log.segments) == 2


def test_columns_are_there_without_rows_and_null_is_nan(tmp_path: Path) -> None:
    rows = [row for row in history(1, 3) if row["kind"] == "train"]
    rows[1] |= {"loss_nats": None, "grad_norm": float("nan")}
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", [header(), *rows])
    log = read_run(RUN, find_runs([tmp_path])[RUN])
    assert log.train["loss_nats"].dtype == float
    assert log.train["loss_nats"].isna().tolist() == [False, True, False]
    assert log.perf["watts"].empty
    assert log.val["domain"].empty
    assert log.domains == ["cs", "math", "physics"]


DAMAGE = {
    "cut line in the middle": ('{"kind": "train", "st', "not JSON"),
    "not UTF-8": ("\xff", "not JSON"),
    "not an object": ("3", "not an object"),
    "unknown kind": ('{"kind": "tra1n", "step": 2}', "tra1n"),
    "no step": ('{"kind": "train"}', "step"),
    "step is a fraction": ('{"kind": "train", "step": 1.5}', "step"),
    "loss is text": ('{"kind": "train", "step": 2, "loss_nats": "2.1"}', "loss_nats"),
    "event without a name": ('{"kind": "event", "step": 2}', "event"),
}


@pytest.mark.parametrize(("line", "says"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_with_file_and_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "demo/run20/seed0/log.0.jsonl"
    write(path, [header(), *history(1, 1)])
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n" + path.read_bytes())
    with pytest.raises(UserError, match=f"log.0.jsonl:7: .*{says}"):
        read_run(RUN, [path])


def test_a_log_without_its_head_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.0.jsonl", history(1, 2))
    with pytest.raises(UserError, match=r"log\.0\.jsonl:1: .*before any header"):
        read_run(RUN, [path])


def test_a_cut_published_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "seed0.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(header()).encode())[:-6])
    with pytest.raises(UserError, match=r"seed0\.jsonl\.gz: damaged"):
        read_run(RUN, [path])


def test_the_first_root_wins_and_both_layouts_are_found(tmp_path: Path) -> None:
    live, published = tmp_path / "runs", tmp_path / "logs"
    interrupted_run(live)
    for name in ("run20/seed0", "run23/seed4"):
        path = published / "mini" / f"{name}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        (published / "demo" / name).parent.mkdir(parents=True, exist_ok=True)
        (published / "demo" / f"{name}.jsonl.gz").write_bytes(b"")
    found = find_runs([live, published])
    assert [str(run) for run in found] == [
        "demo/run20/seed0",
        "demo/run23/seed4",
        "mini/run20/seed0",
        "mini/run23/seed4",
    ]
    assert [path.name for path in found[RUN]] == ["log.0.jsonl", "log.1.jsonl"]
    assert set(find_runs([live, published], "mini")) == {run for run in found if run.scale == "mini"}
    assert find_runs([tmp_path / "nowhere"]) == {}
