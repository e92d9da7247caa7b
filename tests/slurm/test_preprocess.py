"""Preprocessing as arrays on the development cluster against `make preprocess` on one machine."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PATIENCE_S
from tests.support.slurm import Cluster, awkward_checkout, job_log, wait_until

pytestmark = pytest.mark.slurm

TASKS = 5


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a small sample, preprocessed by make in data/one."""
    checkout = awkward_checkout(tmp_path_factory.mktemp("slurm"))
    sample = [sys.executable, "preprocess/sample_corpus.py", "--papers", "60", "--out", "data/one/raw"]
    subprocess.run(sample, cwd=checkout, env=plain_env(), check=True, capture_output=True, timeout=PATIENCE_S)
    # -o: the environment is there, and not to be installed into.
    make = ["make", "-o", ".venv/.installed", "preprocess", "DATA=data/one", "SCALE=demo", "WORKERS=1"]
    made = subprocess.run(
        make, cwd=checkout, env=plain_env(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return checkout


def plain_env() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("ARXIV_", "MAKE"))}


def submit_stages(cluster: Cluster, checkout: Path) -> dict[str, str]:
    """The job's number of each stage."""
    raw = checkout / "data" / "one" / "raw"
    said = cluster.call(
        *("bash", "slurm/preprocess.sh", "--cpus-per-task=1"),
        cwd=checkout,
        SRC=str(raw / "src"),
        METADATA=str(raw / "metadata.json"),
        DATA="data/array",
        SCALE="demo",
        TASKS=str(TASKS),
    )
    return dict(re.findall(r"(\w+): job (\d+)", said))


def files(data: Path) -> dict[str, str]:
    """SHA-256 of every file that preprocessing made."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.relative_to(data).parts[0] != "raw"
    }


def test_arrays_make_the_same_bytes_even_after_a_task_was_killed(cluster: Cluster, checkout: Path) -> None:
    jobs = submit_stages(cluster, checkout)
    assert len(jobs) == 9
    killed = f"{jobs['extract_latex']}_2"
    wait_until(lambda: cluster.job(killed)["JobState"] == "RUNNING")
    cluster.call("scancel", "--signal=KILL", killed)
    last = cluster.wait(jobs["tokenize_corpus"])
    assert last["JobState"] == "CANCELLED"  # it depends on what did not succeed

    jobs = submit_stages(cluster, checkout)
    cluster.wait(jobs["tokenize_corpus"])
    for stage, job in jobs.items():
        assert cluster.job(job)["JobState"] == "COMPLETED", stage
    again = [
        log for log in array_logs(cluster, checkout, jobs["extract_latex"]) if "not made again" not in log
    ]
    assert len(again) == 1  # the killed task's
    assert files(checkout / "data" / "array") == files(checkout / "data" / "one")


def array_logs(cluster: Cluster, checkout: Path, number: str) -> list[str]:
    """The log of each task."""
    tasks = re.findall(r"^JobId=(\d+)", cluster.call("scontrol", "show", "job", "-o", number), re.MULTILINE)
    assert len(tasks) == TASKS
    return [job_log(task, checkout) for task in tasks]
