"""slurm/submit_all.sh on the development cluster: archives to figures, broken in the middle, completed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.stages import TABLE
from tests.support import PATIENCE_S
from tests.support.slurm import Cluster, awkward_checkout, job_log, wait_until
from tests.support.training import SMALL

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

STEPS = 6
VALUES = [f"{key}={value}" for key, value in (SMALL | {"tokens_total": STEPS * 8 * 32}).items()]
COMMAND = ["bash", "slurm/submit_all.sh", "--cpus-per-task=1", *VALUES]
WHERE = {"SCALE": "demo", "TASKS": "2"}
AFTER_TRAINING = ["evaluate", "export", "figures"]
ALL = [stage.name for stage in TABLE] + ["run20", *AFTER_TRAINING]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the archives of a small sample; its path has a space and a `$`."""
    checkout = awkward_checkout(tmp_path_factory.mktemp("slurm"))
    sample = [sys.executable, "preprocess/sample_corpus.py", "--papers", "60", "--out", "data/demo/raw"]
    env = {key: value for key, value in os.environ.items() if not key.startswith("ARXIV_")}
    subprocess.run(sample, cwd=checkout, env=env, check=True, capture_output=True, timeout=PATIENCE_S)
    return checkout


def submit(cluster: Cluster, checkout: Path) -> dict[str, str]:
    """Give the command; return the numbers of the jobs that it submitted, by name."""
    return dict(re.findall(r"^(\w+): job (\d+) makes", cluster.call(*COMMAND, cwd=checkout, **WHERE), re.M))


def submit_until_killed(cluster: Cluster, checkout: Path, name: str) -> dict[str, str]:
    """As `submit`, but SIGKILL ends the script as soon as it has submitted the job `name`."""
    env = cluster.env | WHERE
    with subprocess.Popen(COMMAND, cwd=checkout, env=env, stdout=subprocess.PIPE, text=True) as script:
        assert script.stdout
        jobs = {}
        for line in script.stdout:
            if found := re.match(r"(\w+): job (\d+) makes", line):
                jobs[found[1]] = found[2]
            if name in jobs:
                script.kill()
                return jobs
    raise AssertionError(f"{name} was not submitted, only {jobs}")


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time stamp and content of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_broken_chain_is_completed_by_the_same_command(cluster: Cluster, checkout: Path) -> None:
    first = submit(cluster, checkout)
    assert list(first) == ALL
    # A task that fails or is cancelled takes all along that waits for it.
    wait_until(lambda: cluster.job(first["normalize_text"])["JobState"] == "COMPLETED")
    cluster.call("scancel", first["filter_quality"])
    assert cluster.wait(first["figures"])["JobState"] == "CANCELLED"
    finished = stamps(checkout / "data" / "demo" / "corpus" / "main" / "extract_latex")
    assert finished

    # The script dies after three of the missing jobs; the next call submits the others only.
    missing = ALL[ALL.index("filter_quality") :]
    some = submit_until_killed(cluster, checkout, missing[2])
    others = submit(cluster, checkout)
    # The sbatch of the fourth may be at work when the script dies: its job is then queued, but not printed.
    assert {*missing[:3], *missing[4:]} <= {*some, *others} <= {*missing}
    assert set(some) & set(others) <= {missing[3]}
    for name in AFTER_TRAINING:
        log = cluster.finish(others[name], checkout)
    assert "files written" in log
    run = checkout / "runs" / "demo" / "run20" / "seed0"
    assert (run / "DONE").read_text() == f"{STEPS} steps\n"
    assert len((run / "evaluation.val.jsonl").read_text().splitlines()) == 3  # domains
    assert (run / "hf" / "model.safetensors").is_file()
    assert stamps(checkout / "data" / "demo" / "corpus" / "main" / "extract_latex") == finished

    # All is there; then one result is lost.
    assert submit(cluster, checkout) == {}
    trained = stamps(run / "checkpoints")
    (run / "evaluation.val.jsonl").unlink()
    again = submit(cluster, checkout)
    assert list(again) == ["evaluate"]
    assert "bits_per_byte" in cluster.finish(again["evaluate"], checkout)
    assert stamps(run / "checkpoints") == trained
    assert "Traceback" not in job_log("*", checkout)
