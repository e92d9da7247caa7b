"""Training jobs on the development cluster, what is done to them, and what became of them."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from analysis.readers import run_logs
from configs.loader import EXIT_USER_ERROR
from tests.conftest import ROOT
from tests.support.slurm import ENDED, Cluster, job_log, wait_until
from tests.support.training import SAME, SMALL
from train.checkpoint.load import list_checkpoints
from train.log import log_files

EACH_STEP_TOKENS = 8 * 32


@dataclass(frozen=True)
class Training:
    """A run on the cluster. Its folder is `runs <name>` in the checkout, so names keep runs apart."""

    cluster: Cluster
    checkout: Path
    name: str
    shape: tuple[str, ...]  # sbatch's options for nodes and GPUs
    steps: int
    root: Path | None = None  # where its folder is instead

    @property
    def folder(self) -> Path:
        return (self.root or self.checkout / f"runs {self.name}") / "demo" / "run20" / "seed0"

    def submit(self, *options: str, **env: str) -> str:
        """Submit slurm/train_run20.sh with small values; return the job's number."""
        sizes = {
            "tokens_total": self.steps * EACH_STEP_TOKENS,
            "checkpoint_every_tokens": 20 * EACH_STEP_TOKENS,
            "validate_every_tokens": 100 * EACH_STEP_TOKENS,
        }
        values = [f"{key}={value}" for key, value in (SMALL | sizes).items()]
        where = {"SCALE": "demo", "SEED": "0", "ARXIV_RUNS": str(self.folder.parents[2])}
        return self.cluster.submit(
            *self.shape, *options, "slurm/train_run20.sh", *values, cwd=self.checkout, **(where | env)
        )

    def submit_twice(self, **env: str) -> tuple[str, str]:
        """Submit two jobs at once; return the number of the one that trains and why the other does not."""
        jobs = [self.submit(**env) for _ in range(2)]
        wait_until(lambda: any(self.cluster.job(job)["JobState"] in ENDED for job in jobs))
        refused = next(job for job in jobs if self.cluster.job(job)["JobState"] in ENDED)
        assert self.cluster.job(refused)["ExitCode"] == f"{EXIT_USER_ERROR}:0", self.log(refused)
        said = next(past["why"] for past in self.past() if past["attempt"].startswith(refused))
        return next(job for job in jobs if job != refused), said

    def starts(self) -> int:
        return len(log_files(self.folder))

    def last_step(self, start: int | None = None) -> int:
        """The last step in the log of one start (default: the newest); 0 before its first."""
        number = self.starts() - 1 if start is None else start
        path = self.folder / f"log.{number}.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        rows = [
            json.loads(line) for line in lines if line.startswith('{"kind": "train"') and line.endswith("}")
        ]
        return max((row["step"] for row in rows), default=0)

    def wait_for_step(self, step: int) -> None:
        """Wait until the newest start has trained this step."""
        wait_until(lambda: self.last_step() >= step)

    def comes_back(self, starts: int) -> float:
        """Wait for the next start after `starts` to train a step; return how many seconds that took."""
        began = time.monotonic()
        try:
            wait_until(lambda: self.starts() > starts and self.last_step(starts) > 0)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.cluster.call('scontrol', 'show', 'job')}") from error
        return time.monotonic() - began

    def processes(self, what: str, node: str, job: str) -> list[psutil.Process]:
        """The job's processes on a node whose command line contains `what`."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if what in " ".join(process.cmdline()):
                    environment = process.environ()
                    own = (
                        environment.get("SLURM_JOB_ID") == job and environment.get("SLURMD_NODENAME") == node
                    )
                    if own and process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def rank(self, node: str, job: str, local_rank: int = 0) -> psutil.Process:
        """A rank's process."""
        ranks = self.processes("train/pretrain.py", node, job)
        return next(
            p for p in ranks if p.environ().get("LOCAL_RANK") == str(local_rank) and _has_no_rank_above(p)
        )

    def torchrun(self, node: str, job: str) -> psutil.Process:
        """The launcher of a node's ranks."""
        found = self.processes("torch.distributed.run", node, job)  # also srun, and the shell above it
        return next(process for process in found if process.name() not in ("srun", "bash"))

    def step_daemon(self, node: str, job: str) -> psutil.Process:
        """The slurmstepd that watches a node's torchrun."""
        return next(p for p in self.torchrun(node, job).parents() if p.name() == "slurmstepd")

    def history(self) -> list[tuple[Any, ...]]:
        """The steps that led to the final weights: what must not differ between runs."""
        run = run_logs.Run("demo", "run20", 0)
        rows = run_logs.read_run(run, log_files(self.folder)).train
        return list(rows[list(SAME)].itertuples(index=False, name=None))

    def final_hash(self) -> str:
        """Hash of the weights and moments after the last step."""
        digest = hashlib.sha256()
        for name in ("weights", "moments"):
            newest = list_checkpoints(self.folder / "checkpoints")[-1]
            digest.update((newest / f"{name}.safetensors").read_bytes())
        return digest.hexdigest()

    def past(self) -> list[dict[str, Any]]:
        """What was decided after each attempt."""
        return [
            json.loads(line) for line in (self.folder / "attempts/history.jsonl").read_text().splitlines()
        ]

    def log(self, job: str) -> str:
        return job_log(job, self.checkout)

    def assert_equals(self, other: "Training") -> None:
        """Losses, spans of text and final parameters equal in every bit, and no step lost or repeated."""
        steps = [row[0] for row in self.history()]
        assert steps == list(range(1, self.steps + 1)), f"{self.name}: steps are missing or repeated"
        differing = [
            ours[0] for ours, theirs in zip(self.history(), other.history(), strict=True) if ours != theirs
        ]
        assert not differing, f"{self.name}: steps {differing[:5]} differ from those of {other.name}"
        assert self.final_hash() == other.final_hash(), f"{self.name}: final parameters differ"


def _has_no_rank_above(process: psutil.Process) -> bool:
    """Whether this is a rank and not one of its data workers."""
    parent = process.parent()
    return (
        parent is not None
        and "train/pretrain.py" in " ".join(parent.cmdline())
        and "torch.distributed.run" in (" ".join(parent.cmdline()))
    )


def crash(cluster: Cluster, node: str, job: str) -> None:
    """Kill a node with all its processes. It boots as soon as Slurm has taken its job back.

    Slurm misses a node after its SlurmdTimeout; an operator, who sets it down, is quicker.
    """
    script = ROOT / "slurm" / "devcluster.sh"
    restarts = cluster.job(job)["Restarts"]
    cluster.call(script, "crash", node)
    cluster.call("scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")
    wait_until(lambda: cluster.job(job)["Restarts"] != restarts)
    cluster.call(script, "start")


def restart_controller(cluster: Cluster) -> None:
    """SIGKILL slurmctld and start it again with what it had saved."""
    os.kill(int((cluster.folder / "slurmctld.pid").read_text()), signal.SIGKILL)
    time.sleep(2)
    subprocess.run(["slurmctld"], env=cluster.env, check=True)
    wait_until(
        lambda: not subprocess.run(["squeue"], env=cluster.env, capture_output=True, timeout=60).returncode
    )


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size; mount it before the nodes start, which have mounts of their own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on a disk; return the file that takes it."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    return filler
