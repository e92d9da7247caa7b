"""The sbatch files as files, and what they say where something is missing: no Slurm needed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import PATIENCE_S

SCRIPTS = sorted((ROOT / "slurm").glob("*.sh"))
TRAIN = [path for path in SCRIPTS if path.name.startswith("train_")]


def bash(script: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "ARXIV_"))}
    command = [shutil.which("bash") or "bash", str(script), *arguments]
    return subprocess.run(
        command,
        env=plain | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 120


def test_shellcheck_is_clean() -> None:
    shellcheck = shutil.which("shellcheck", path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    assert shellcheck, "requirements-dev.txt installs it: run make setup"
    done = subprocess.run(
        [shellcheck, "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout


def test_training_scripts_ask_for_the_same() -> None:
    asks = {
        path.name: [
            line for line in path.read_text().splitlines() if re.match("#SBATCH (?!--job-name)", line)
        ]
        for path in TRAIN
    }
    assert len(asks) == 5
    assert all(lines == asks["train_run20.sh"] for lines in asks.values())


@pytest.mark.parametrize("path", TRAIN, ids=lambda path: path.name)
def test_every_request_says_why(path: Path) -> None:
    requests = [line for line in path.read_text().splitlines() if line.startswith("#SBATCH")]
    assert [line for line in requests if not re.search(r" # .", line)] == [
        f"#SBATCH --job-name={job_name(path)}"
    ]


def job_name(path: Path) -> str:
    return path.stem.removeprefix("train_") if path.stem != "train_run" else "train"


class TestRefusals:
    """Each ends with exit code 2 and a sentence that names the remedy."""

    def test_missing_tokens(self, tmp_path: Path) -> None:
        done = bash(ROOT / "slurm" / "train_run20.sh", SCALE="demo", ARXIV_DATA=str(tmp_path))
        assert done.returncode == 2
        assert re.search(rf"error: {tmp_path}/tokens/main-main: is missing.*make demo", done.stderr)

    def test_unknown_run(self) -> None:
        done = bash(ROOT / "slurm" / "train_run.sh", "run99")
        assert done.returncode == 2
        assert "run99.yaml: no such file; configs/runs holds" in done.stderr

    def test_no_run(self) -> None:
        done = bash(ROOT / "slurm" / "train_run.sh")
        assert (done.returncode, done.stderr) == (2, "slurm: which run? sbatch slurm/train_run.sh run07\n")

    def test_missing_environment(self, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
        done = bash(tmp_path / "slurm" / "train_run20.sh")
        assert done.returncode == 2
        assert "make setup" in done.stderr

    def test_submitted_elsewhere(self, tmp_path: Path) -> None:
        script = ROOT / "slurm" / "train_run20.sh"
        env = {**os.environ, "SLURM_JOB_ID": "1"}
        done = subprocess.run(
            ["bash", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 2
        assert "call sbatch in the root of the checkout" in done.stderr

    def test_a_sweep_of_an_unknown_run(self) -> None:
        done = bash(ROOT / "slurm" / "train_sweep.sh", RUNS_LIST="run20 run99", SCALE="demo")
        assert done.returncode == 2
        assert re.search(r"run99\.yaml: no such file; .*configs/runs holds", done.stderr)

    def test_preprocessing_without_slurm(self, tmp_path: Path) -> None:
        for program in ("dirname", "env"):  # all that the script needs until then
            (tmp_path / program).symlink_to(shutil.which(program) or "")
        done = bash(ROOT / "slurm" / "preprocess.sh", PATH=str(tmp_path))
        assert done.returncode == 2
        assert done.stderr == "slurm: there is no sbatch here; on one machine run make preprocess\n"
