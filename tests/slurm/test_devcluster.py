"""slurm/devcluster.sh: what it starts it stops, what crashes it starts again."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support import PATIENCE_S
from tests.support.slurm import Cluster, dev_cluster, wait_until

pytestmark = pytest.mark.slurm

SCRIPT = ROOT / "slurm" / "devcluster.sh"


def daemons(cluster: Cluster) -> dict[str, int]:
    return {path.stem: int(path.read_text()) for path in cluster.folder.glob("*.pid")}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").resolve(strict=True).exists()  # of a zombie there is no program
    except OSError:
        return False


def test_starting_twice_changes_nothing(cluster: Cluster) -> None:
    before = daemons(cluster)
    assert cluster.call(SCRIPT, "start") == f"export SLURM_CONF={cluster.folder}/slurm.conf\n"
    assert daemons(cluster) == before
    assert {"munged", "slurmctld", "n0", "n1"} <= {name for name, pid in before.items() if is_alive(pid)}


def test_a_crashed_node_comes_back_and_its_job_with_it(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(
        "--nodelist=n1", "--requeue", "--output=/dev/null", "--wrap", "sleep 300", cwd=tmp_path
    )
    cluster.wait(job, {"RUNNING"})
    cluster.call(SCRIPT, "crash", "n1")
    wait_until(lambda: not is_alive(daemons(cluster)["n1"]))
    status = subprocess.run(
        [SCRIPT, "status"], env=cluster.env, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert status.returncode == 1
    # Slurm misses the node after 10 s and looks every 10 s; an operator is quicker.
    cluster.call("scontrol", "update", "nodename=n1", "state=down", "reason=crashed")
    wait_until(lambda: cluster.job(job)["Restarts"] == "1")
    cluster.call(SCRIPT, "start")
    assert "n1 " in cluster.call(SCRIPT, "status")
    cluster.wait(job, {"RUNNING"})
    cluster.call("scancel", job)
    cluster.wait(job)


def test_stop_leaves_nothing_running() -> None:
    with dev_cluster() as cluster:
        started = daemons(cluster)
        cluster.call(SCRIPT, "stop")
        wait_until(lambda: not any(map(is_alive, started.values())))


def test_wrong_folder_is_refused(tmp_path: Path) -> None:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ARXIV_DEVCLUSTER": str(tmp_path / "a b")}
    done = subprocess.run(
        [SCRIPT, "start"],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "slurm.conf takes plain absolute paths only; set ARXIV_DEVCLUSTER" in done.stderr
