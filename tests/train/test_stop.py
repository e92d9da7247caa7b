"""A run saves and exits on a signal or when its launcher dies; only one run at a time uses a folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from configs.loader import UserError
from configs.lock import FileLock
from tests.conftest import ROOT
from tests.support import PATIENCE_S
from tests.support.training import pretrain_command, pretrain_here, read_rows, write_corpus

# So many steps that the run ends only when it is stopped.
LONG = {"tokens_total": 4000 * 8 * 32, "checkpoint_every_tokens": 4000 * 8 * 32}

# A process that never reaches the end of its step.
STUCK = """
import time
from train.parallel.stop import STOP_REQUEST
STOP_REQUEST.listen(75)
print("listens", flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


def start(corpus: Path, out: Path, **values: object) -> "subprocess.Popen[str]":
    """Two processes under torchrun, in a process group of their own, at step 3 or later."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.Popen(
        command + pretrain_command(corpus, out, **(LONG | {"strategy": "ddp"} | values)),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    while last_step(out) < 3 and process.poll() is None:
        time.sleep(0.1)
    assert process.poll() is None, process.communicate()[0]
    return process


def last_step(out: Path) -> int:
    return read_rows(out, "train")[-1]["step"] if (out / "log.0.jsonl").is_file() and rows(out) else 0


def rows(out: Path) -> bool:
    return '"train"' in (out / "log.0.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGKILL, False), (signal.SIGUSR1, False), (signal.SIGTERM, False), (signal.SIGINT, True)],
    ids=["torchrun-killed", "torchrun-USR1", "SIGTERM", "Ctrl-C"],
)
def test_the_ranks_save_a_checkpoint_and_exit(
    corpus: Path, tmp_path: Path, number: int, to_group: bool
) -> None:
    launcher = start(corpus, tmp_path)
    ranks = psutil.Process(launcher.pid).children()
    assert len(ranks) == 2
    (os.killpg if to_group else os.kill)(launcher.pid, number)
    _, alive = psutil.wait_procs(ranks, timeout=PATIENCE_S)
    assert not alive
    said = launcher.communicate()[0]
    events = [row["event"] for row in read_rows(tmp_path, "event")]
    assert events == ["checkpoint", "preempt"], said
    assert not (tmp_path / "DONE").exists()
    saved = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert saved == [f"step_{last_step(tmp_path):07d}"]
    assert "the same command resumes from here" in said


def test_a_repeated_signal_ends_a_process_that_cannot_save() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "listens\n"
    for _ in range(10 * PATIENCE_S):
        if process.poll() is not None:
            break
        process.terminate()
        time.sleep(0.1)
    process.kill()
    said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("SIGTERM: saving a checkpoint after this step; repeat to end now") == 1


@pytest.mark.slow
def test_a_second_start_is_refused_and_does_not_disturb_the_first(corpus: Path, tmp_path: Path) -> None:
    first = start(corpus, tmp_path)
    (tmp_path / "checkpoints/.step_0000099.tmp").mkdir(parents=True)  # as while a checkpoint is written
    second = subprocess.run(
        [sys.executable, *pretrain_command(corpus, tmp_path, **LONG)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert second.returncode == 2
    holder = psutil.Process(first.pid).children()[0].pid
    assert f"process {holder} on {os.uname().nodename} trains here" in second.stderr
    assert (tmp_path / "checkpoints/.step_0000099.tmp").is_dir()
    (tmp_path / "STOP").touch()
    first.communicate()
    assert [row["event"] for row in read_rows(tmp_path, "event")] == ["checkpoint", "preempt"]
    assert len(list(tmp_path.glob("log.*.jsonl"))) == 1


def test_a_run_that_failed_leaves_no_lock(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few"):
        pretrain_here(corpus, tmp_path, global_batch_size=8192)
    FileLock(tmp_path / ".lock", "trains").release()
