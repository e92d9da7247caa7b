"""Fixtures, and what tests need: without it a test is skipped, or fails if `REQUIRE=slurm,…` names it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import PATIENCE_S, oracles

if TYPE_CHECKING:
    from tests.support.slurm import Cluster

ROOT = Path(__file__).resolve().parent.parent
# Tests run in parallel: more threads than one a process would compete for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _missing_real() -> str:
    folder = os.environ.get("ARXIV_REAL")
    return "" if folder and Path(folder).is_dir() else "ARXIV_REAL names no folder of real papers"


def _missing_slurm() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can start a Slurm for tests"
    if shutil.which("slurmctld") and shutil.which("munged"):
        return ""
    # slurm/devcluster.sh installs the packages, but only if REQUIRE asks for these tests.
    if "slurm" in _required() and shutil.which("apt-get"):
        return ""
    return "slurm-wlm and munge are not installed; REQUIRE=slurm installs them with apt-get"


def _missing_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "no CUDA device"


def _missing_extra(extra: str, *names: str) -> str:
    missing = [name for name in names if not find_spec(name)]
    return f"{' and '.join(missing)} not installed: pip install -e '.[{extra}]'" if missing else ""


def _missing_oracle(program: str) -> str:
    return oracles.missing(program, program in _required())


def _required() -> list[str]:
    return os.environ.get("REQUIRE", "").split(",")


NEEDS: dict[str, Callable[[], str]] = {
    "real": _missing_real,
    "slurm": _missing_slurm,
    "gpu": _missing_gpu,
    "tracking": partial(_missing_extra, "tracking", "tensorboard", "wandb"),
    "readers": partial(_missing_extra, "readers", "lm_eval", "gguf", "datasets", "duckdb", "datatrove"),
    "remote": partial(_missing_extra, "remote", "aiohttp", "s3fs", "moto", "flask", "flask_cors"),
    "core": partial(_missing_extra, "core", "ziglang"),
    "pandoc": partial(_missing_oracle, "pandoc"),
    "latexpand": partial(_missing_oracle, "latexpand"),
    "chromium": partial(_missing_oracle, "chromium"),
}


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes do not name a case: gzip puts the time into them, and two workers would collect other tests."""
    return argname if isinstance(val, bytes) else None


class _OneProcessAFile(LoadScopeScheduling):
    """Gives a file's tests to one process, which makes their fixtures once, and all of tests/slurm to one.

    Tests of Slurm mostly wait, so two processes of them would leave a core idle.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "tests/slurm" if file.startswith("tests/slurm/") else file


@pytest.hookimpl(optionalhook=True)  # pytest -p no:xdist knows no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Let `_OneProcessAFile` divide the tests, in the order in which they were collected."""
    config.option.loadscopereorder = False
    return _OneProcessAFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of Slurm start first, because they take longest."""
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test whose need is missing, or fail it if REQUIRE names the need."""
    required = _required()
    for need, missing in NEEDS.items():
        if item.get_closest_marker(need) and (reason := missing()):
            (pytest.fail if need in required else pytest.skip)(reason)


@pytest.fixture(scope="session")
def arxiv_real() -> Path:
    """Folder of the real papers, for tests marked `real`."""
    return Path(os.environ["ARXIV_REAL"])


def run_script(*args: object, check: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of the project as a user does, from the root of the checkout.

    Raises AssertionError with its output if it fails and `check` is true.
    """
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    if check and done.returncode:
        raise AssertionError(f"{args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module")
def cluster() -> Iterator["Cluster"]:
    """The development cluster, started anew for each test file."""
    from tests.support.slurm import dev_cluster  # imported here because it imports ROOT from this module

    with dev_cluster() as cluster:
        yield cluster
