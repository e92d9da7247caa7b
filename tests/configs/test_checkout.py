"""A script runs the code of its own checkout, whatever else its environment holds."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = ("analysis", "configs", "preprocess", "train")
SCRIPTS = (
    ("analysis/plot_runs.py",),
    ("preprocess/filter_metadata.py",),
    ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", "train/pretrain.py"),
)


def clone(folder: Path) -> Path:
    """A checkout whose code says which one it is."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    with (folder / "configs" / "script.py").open("a") as script:
        script.write(f"\nprint('this is {folder.name}')\n")
    return folder


def said(python: Path, checkout: Path, *command: str, cwd: Path) -> str:
    """What a script prints about its code when it is started from `cwd`."""
    *launcher, script = command
    done = subprocess.run(
        [python, *launcher, checkout / script, "--help"],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[0]


def environment(folder: Path) -> Path:
    """The Python of a new virtual environment that sees the packages of this one."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def test_two_clones_that_share_an_environment_run_their_own_code(tmp_path: Path) -> None:
    one, two = clone(tmp_path / "one"), clone(tmp_path / "two")
    python = environment(tmp_path / "venv")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-e",
        two,
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [python, "-c", "import configs; print(configs.__file__)"]
    installed = subprocess.run(found, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert installed.startswith(str(two))  # the environment itself knows the second clone alone
    for command in SCRIPTS:
        for checkout, cwd in ((one, two), (two, one)):
            assert said(python, checkout, *command, cwd=cwd) == f"this is {checkout.name}", (command, cwd)


@pytest.mark.parametrize("script", ["plot_runs", "publish_logs", "status"])
def test_a_python_without_the_packages_is_told_what_to_do(tmp_path: Path, script: str) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    done = subprocess.run(
        [python, ROOT / "analysis" / f"{script}.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {python} lacks matplotlib, pandas")
    assert "run `make setup`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("folder", ["analysis", "preprocess", "train"])
def test_nothing_beside_a_script_hides_an_installed_package(folder: str) -> None:
    # Python looks in the script's folder first. Hugging Face's `evaluate` comes with lm-eval alone.
    beside = {path.stem for path in (ROOT / folder).iterdir() if path.is_dir() or path.suffix == ".py"}
    assert not beside & {*packages_distributions(), *sys.stdlib_module_names} - {"evaluate"}
