"""A Slurm cluster for tests, and a checkout in a folder whose name needs quoting."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.support import PATIENCE_S

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE"}
# `make test` exports these, and scripts in slurm/ read them.
OF_MAKE = {"SRC", "METADATA", "DATA", "VARIANT", "SCALE", "TOKENIZER", "WORKERS"}
FOLDERS = ("analysis", "configs", "preprocess", "slurm", "train")


@dataclass(frozen=True)
class Cluster:
    """The development cluster of this test session."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Environment for Slurm's clients; jobs inherit it."""
        foreign = ("SLURM_", "SBATCH_", "ARXIV_")
        own = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and k not in OF_MAKE}
        own["PREFLIGHT"] = "0"  # it takes 10 s a start; tests/slurm/test_node_check.py turns it on
        own |= {"ARXIV_DEVCLUSTER": str(self.folder), "SLURM_CONF": str(self.folder / "slurm.conf")}
        return own

    def call(self, *command: object, cwd: Path = ROOT, **env: str) -> str:
        """Run a command that must succeed; return its output."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *arguments: object, cwd: Path, **env: str) -> str:
        """Run `sbatch` with these arguments; return the job's number."""
        return self.call("sbatch", "--parsable", *arguments, cwd=cwd, **env).strip()

    def job(self, number: str) -> dict[str, str]:
        """The fields of `scontrol show job`; for an array those of its first task that is not completed."""
        lines = self.call("scontrol", "show", "job", "-o", number).strip().splitlines()
        tasks = [dict(re.findall(r"(\w+(?:/\w+)?)=(\S*)", line)) for line in lines]
        done = [task for task in tasks if task["JobState"] == "COMPLETED"]
        return next((task for task in tasks if task not in done), tasks[0])

    def wait(self, number: str, state: set[str] = ENDED) -> dict[str, str]:
        """Wait until the job is in one of these states; return its fields. Raises TimeoutError."""
        wait_until(lambda: self.job(number)["JobState"] in state)
        return self.job(number)

    def finish(self, number: str, cwd: Path) -> str:
        """Wait for a job that must complete; return its log."""
        job = self.wait(number)
        log = job_log(number, cwd)
        assert job["JobState"] == "COMPLETED", f"job {number} is {job['JobState']}:\n{log[-4000:]}"
        return log


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {PATIENCE_S} s")
        time.sleep(0.3)


def job_log(number: str, cwd: Path) -> str:
    """The output of a job, or of all tasks of an array."""
    return "\n".join(path.read_text(errors="replace") for path in sorted(cwd.glob(f"*-{number}.out")))


@contextlib.contextmanager
def dev_cluster() -> Iterator[Cluster]:
    """Start slurm/devcluster.sh in its own folder, beside a cluster that the user may have started."""
    # Not pytest's tmp_path, because munge refuses a socket below a folder that other users cannot enter.
    folder = Path(tempfile.mkdtemp(prefix="arxiv-devcluster-"))
    folder.chmod(0o755)
    cluster = Cluster(folder)
    script = ROOT / "slurm" / "devcluster.sh"
    try:
        started = subprocess.run(
            [script, "start"], env=cluster.env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert started.returncode == 0, started.stderr
        yield cluster
    finally:
        subprocess.run([script, "stop"], env=cluster.env, check=True, timeout=PATIENCE_S)
        shutil.rmtree(folder)


def awkward_checkout(parent: Path) -> Path:
    """Copy the code to a folder with a space and a `$` in its name; its .venv links to this interpreter's."""
    checkout = parent / "a $HOME of papers"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / ".venv").symlink_to(sys.prefix)
    return checkout
