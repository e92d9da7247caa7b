"""Stages that are stopped in the middle, or started twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from configs.loader import UserError
from preprocess.pipeline.shard import read_rows
from tests.conftest import ROOT
from tests.support import PATIENCE_S, accept_ctrl_c
from tests.support.corpus import PROSE, document, ledger, run_stage, write_shard
from tests.support.slurm import wait_until

N_SHARDS = 24


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Shards of half a second of work each."""
    for i in range(N_SHARDS):
        rows = [document(f"{i:04}.{k:04}", f"{PROSE * 40}\n\n% {i} {k}") for k in range(60)]
        write_shard(tmp_path / f"corpus/main/normalize_text/t{i:02}.parquet", rows)
    return tmp_path


@pytest.fixture
def stage(data: Path) -> Iterator["subprocess.Popen[str]"]:
    """filter_quality with two workers in a process group of its own, after its first shard."""
    command = [sys.executable, "preprocess/filter_quality.py", "--data", str(data), "--workers", "2"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=accept_ctrl_c,
    )
    wait_until(lambda: finished(data) or process.poll() is not None)
    yield process
    process.kill()
    process.communicate()


def finished(data: Path) -> list[Path]:
    """The finished shards."""
    return list((data / "corpus/main/filter_quality").glob("*.parquet"))


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The stage's worker processes."""
    return psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize(("to", "number"), [("group", signal.SIGINT), ("main", signal.SIGTERM)])
def test_a_stopped_stage_says_one_sentence_and_goes_on(
    data: Path, stage: "subprocess.Popen[str]", to: str, number: signal.Signals
) -> None:
    workers = children(stage)
    assert workers
    if to == "group":
        os.killpg(stage.pid, number)  # as a terminal does at Ctrl-C
    else:
        stage.send_signal(number)
    _, said = stage.communicate(timeout=PATIENCE_S)
    assert stage.returncode == 128 + number
    assert "Traceback" not in said
    assert f"stopped ({number.name}): what is finished is kept; the same command goes on" in said
    assert not psutil.wait_procs(workers, timeout=PATIENCE_S)[1]
    n_finished = len(finished(data))
    assert 0 < n_finished < N_SHARDS
    assert f"{n_finished} of {N_SHARDS} shards are finished" in run_stage("filter_quality", "--data", data)
    assert len(ledger(data, "filter_quality")) == 60 * N_SHARDS
    assert not list(data.rglob("*.tmp"))


def test_workers_end_with_a_killed_stage(stage: "subprocess.Popen[str]") -> None:
    workers = children(stage)
    stage.kill()
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert not alive


def test_a_second_start_is_refused_and_disturbs_nothing(data: Path, stage: "subprocess.Popen[str]") -> None:
    with pytest.raises(UserError, match=rf"process {stage.pid} on \S+ runs filter_quality of corpus 'main'"):
        run_stage("filter_quality", "--data", data)
    _, said = stage.communicate(timeout=PATIENCE_S)
    assert stage.returncode == 0, said
    assert len(ledger(data, "filter_quality")) == 60 * N_SHARDS
    assert "are finished" in run_stage("filter_quality", "--data", data)  # the lock went with its holder


def test_two_processes_may_write_the_same_shard(tmp_path: Path) -> None:
    """Tasks of two arrays with other shares: work is done twice, and nothing is lost."""
    path = tmp_path / "t.parquet"
    code = (
        "import sys; from pathlib import Path; from preprocess.pipeline.shard import ParquetShard\n"
        "from preprocess.pipeline.schema import DOCUMENTS\n"
        f"with ParquetShard(Path({str(path)!r}), DOCUMENTS, 'hash') as shard:\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    write_shard(path, [document("0704.0001")])
    assert [row["id"] for row in read_rows(path)] == ["0704.0001"]
    other.communicate()
    assert other.returncode == 0
    assert not list(read_rows(path))  # the later one's
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".t.parquet.{os.uname().nodename}-{ended.pid}.tmp"
    elsewhere = tmp_path / ".t.parquet.node7-1.tmp"
    left.touch()
    elsewhere.touch()
    write_shard(tmp_path / "t.parquet", [document("0704.0001")])
    assert not left.exists()
    assert elsewhere.exists()  # it may be written at this moment
    os.utime(elsewhere, (0, 0))
    write_shard(tmp_path / "t.parquet", [document("0704.0001")])
    assert not elsewhere.exists()
