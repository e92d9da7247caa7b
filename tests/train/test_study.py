"""A study makes what is missing, survives a kill, refuses a second start and lists failures."""

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.readers.run_logs import find_runs, read_run
from configs.lock import FileLock
from tests.conftest import ROOT
from tests.support.training import SMALL, write_corpus
from train.config import load_run
from train.study import default_runs
from train.study_plan import is_published, needed_tokens
from train.study_tasks import last_rows, reason_in

OVERRIDES = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]


def study(data: Path, root: Path, runs: str, *more: str) -> list[str]:
    places = [
        "--data",
        str(data),
        "--out-root",
        str(root),
        "--no-preprocess",
        "--scale",
        "demo",
        "--jobs",
        "2",
    ]
    return [sys.executable, "train/study.py", "--runs", runs, *places, *more, *OVERRIDES]


def losses(root: Path) -> dict[str, list[float]]:
    """The final history of each run, without rows that a restart voided."""
    return {
        str(run): read_run(run, files).train["loss_nats"].tolist()
        for run, files in find_runs([root], "demo").items()
    }


def test_the_24_runs_and_the_ladder_are_the_default() -> None:
    assert default_runs(ladder=False) == [f"run{number:02}" for number in range(1, 25)]
    ladder = default_runs(ladder=True)
    runs = [load_run(ROOT / "configs/runs" / f"{name}.yaml", "mini") for name in ladder]
    assert len({run.recipe.tokens_total for run in runs}) == 5
    assert len({run.recipe.model for run in runs}) == 5


def test_main_is_made_first_and_each_pair_only_once() -> None:
    runs = [load_run(ROOT / "configs/runs" / f"{name}.yaml", "demo") for name in default_runs(ladder=False)]
    pairs = needed_tokens(runs)
    assert pairs[0] == ("main", "main")
    assert len(set(pairs)) == len(pairs) == 11
    assert ("run05", "main") in pairs
    assert ("main", "run07") in pairs


def test_a_second_study_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with FileLock(tmp_path / "runs/.study.demo.lock", "runs a study here"):
        command = study(tmp_path / "data", tmp_path / "runs", "run20")
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 2
    assert f"process {os.getpid()} on {os.uname().nodename} runs a study here" in second.stderr


def test_the_reason_is_the_last_error_line() -> None:
    assert (
        reason_in("step 1\rstep 2\nerror: no tokens; do this\nTraceback noise\n")
        == "error: no tokens; do this"
    )
    assert reason_in("killed\n") == "killed"
    assert reason_in("") == ""


@pytest.mark.slow
def test_a_killed_study_ends_with_the_same_losses_and_a_failed_run_does_not_stop_others(
    tmp_path: Path,
) -> None:
    data = write_corpus(tmp_path / "data")
    whole = subprocess.run(study(data, tmp_path / "whole", "run20"), cwd=ROOT, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert "1 of 1 runs are finished" in whole.stdout

    # run01 has no tokens, so it fails; the study is killed in the middle of the other and started again.
    command = study(data, tmp_path / "killed", "run01 run20")
    killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed/demo/run20/seed0"
    while last_rows(folder).get("train", {}).get("step", 0) < 8 and killed.poll() is None:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    step = last_rows(folder)["train"]["step"]
    assert step < 20
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2
    assert "1 of 2 runs are not finished" in again.stderr
    assert "run01-main: is missing" in again.stderr
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(list(folder.glob("log.*.jsonl"))) == 2

    third = subprocess.run(
        study(data, tmp_path / "killed", "run20"), cwd=ROOT, capture_output=True, text=True
    )
    assert third.returncode == 0, third.stderr
    assert len(list(folder.glob("log.*.jsonl"))) == 2  # finished runs are not started again


def test_only_a_published_log_of_the_same_configuration_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.study_plan.CONFIGS", tmp_path / "configs")
    runs = {seed: load_run(ROOT / "configs/runs/run20.yaml", "mini", seed) for seed in (0, 1, 2)}
    for seed, sha256 in ((0, runs[0].sha256()), (1, "0" * 64)):
        path = tmp_path / f"logs/mini/run20/seed{seed}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"config_sha256": sha256}).encode() + b"\n{}\n"))
    assert [is_published(run) for run in runs.values()] == [True, False, False]


def test_list_prints_a_line_for_each_run_and_seed() -> None:
    command = study(Path("d"), Path("r"), "run20 run08", "--seeds", "0 1", "--list")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = [f"{run} {seed}" for seed, run in itertools.product((0, 1), ("run20", "run08"))]
    assert done.stdout.split("\n")[:-1] == expected
