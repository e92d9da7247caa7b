"""Nodes are looked at before a run starts, and a sick one is left, on the development cluster."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.nvidia import smi_line
from tests.support.slurm import Cluster, awkward_checkout, job_log
from tests.support.training import SMALL, read_rows, write_corpus

pytestmark = pytest.mark.slurm

VALUES = [f"{key}={value}" for key, value in (SMALL | {"tokens_total": 4 * 8 * 32}).items()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = awkward_checkout(tmp_path_factory.mktemp("nodes"))
    write_corpus(checkout / "data" / "demo")
    return checkout


def write_smi(folder: Path, **answers: str) -> str:
    """A program nvidia-smi that gives each node another answer; returns the PATH with it."""
    folder.mkdir()
    cases = "\n".join(f"{node}) echo '{answer}' ;;" for node, answer in answers.items())
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncase $SLURMD_NODENAME in\n{cases}\nesac\n")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "node_check.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_sick_node_and_logs_what_it_found(
    cluster: Cluster, checkout: Path, tmp_path: Path
) -> None:
    """The node that a job of one node is given first has a GPU with memory errors."""
    two = [smi_line(), smi_line(index="1")]
    sick = [two[0], smi_line(index="1", ecc_errors_uncorrected_volatile_total="2")]
    path = write_smi(tmp_path / "bin", n0="\n".join(sick), n1="\n".join(two))
    env = {"SCALE": "demo", "PREFLIGHT": "1", "PATH": path}
    job = cluster.submit("slurm/train_run20.sh", *VALUES, cwd=checkout, **env)
    log = cluster.finish(job, checkout)
    assert "nodes: n0 is unfit: GPU 1 has had 2 uncorrected ECC errors since its reset" in log
    ended = cluster.job(job)
    assert (ended["Restarts"], ended["NodeList"], ended["ExcNodeList"]) == ("1", "n1", "n0")

    folder = checkout / "runs" / "demo" / "run20" / "seed0"
    first, second = history(folder)
    assert (first["fit"], second["fit"], list(first["sick"])) == (False, True, ["n0"])
    (row,) = [row for row in read_rows(folder, "event") if row["event"] == "preflight"]
    assert (row["excluded"], row["processes"], row["transport"]) == ("n0", 2, "gloo")
    assert row["all_reduce_gb_per_s"] > 0
    assert row["product_tflop_per_s"] > 0
    assert row["runs_write_mb_per_s"] > 0


def test_two_checks_of_two_nodes_at_once(cluster: Cluster, checkout: Path, tmp_path: Path) -> None:
    """Both write to the same disks and tell of both nodes; one finds a fault and names the node."""
    env = {"SCALE": "demo", "ARXIV_RUNS": "checked"}
    healthy = cluster.submit("--gres=gpu:a100:1", "slurm/preflight.sh", cwd=checkout, **env)
    idle, in_use = (
        "\n".join(smi_line(index=str(i), utilization_gpu=p) for i in range(8)) for p in ("0", "99")
    )
    path = write_smi(tmp_path / "bin", n0=idle, n1=in_use)
    busy = cluster.submit("--gres=gpu:a100:1", "slurm/preflight.sh", cwd=checkout, **env, PATH=path)
    assert "nodes: all are fit" in cluster.finish(healthy, checkout)
    ended = cluster.wait(busy)
    assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "2:0")
    assert "unfit: n1; sbatch --exclude=n1 starts on other nodes" in job_log(busy, checkout)

    lines = {line["slurm_job_id"]: line for line in history(checkout / "checked" / "preflight")}
    assert lines[healthy]["numbers"]["nodes"] == 2
    assert lines[healthy]["numbers"]["link_gb_per_s"] > 0
    assert abs(lines[healthy]["numbers"]["clock_skew_s"]) < 5  # both nodes have this machine's clock
    assert list(lines[busy]["sick"]) == ["n1"]
    left = [path.name for path in (checkout / "checked" / "preflight").iterdir()]
    assert sorted(left) == [".node_check", "node_check.jsonl"]  # no samples of the disk's speed
