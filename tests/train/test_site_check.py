"""Proposals for slurm/site.sh from what clients print."""

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_script
from tests.support.slurm import Cluster
from train.site_check import Partition, choose_interface, gpu_partitions, propose

# In the form that Slurm 22.05 prints; names and numbers are made up.
PARTITIONS = """\
PartitionName=cpu AllowGroups=ALL Default=YES MaxTime=7-00:00:00 State=UP Nodes=c[1-9]
PartitionName=long AllowGroups=ALL Default=NO MaxTime=2-00:00:00 State=UP Nodes=g[1-3]
PartitionName=gpu AllowGroups=ALL Default=NO MaxTime=1-00:00:00 State=UP Nodes=g[1-3]
PartitionName=old AllowGroups=ALL Default=NO MaxTime=UNLIMITED State=DOWN Nodes=g[1-3]
"""
NODES = """\
NodeName=c1 CPUTot=64 Gres=(null) State=IDLE Partitions=cpu
NodeName=g1 CPUTot=64 Gres=gpu:a100:4(S:0-1) State=IDLE Partitions=gpu,long,old
NodeName=g2 CPUTot=64 Gres=gpu:a100:4(S:0-1),nvme:1 State=MIXED Partitions=gpu,long,old
NodeName=g3 CPUTot=64 Gres=gpu:8 State=IDLE+DRAIN Partitions=gpu
"""
ADDRESSES = """\
lo               UNKNOWN        127.0.0.1/8
eth0@if12        UP             10.1.0.5/24
ib1              DOWN           10.3.0.5/24
ib0              UP             10.2.0.5/24
"""


def test_partitions_with_gpus_that_are_up() -> None:
    assert gpu_partitions(PARTITIONS, NODES) == [
        Partition("gpu", "1-00:00:00", (("gpu:a100:4", 2), ("gpu:8", 1))),
        Partition("long", "2-00:00:00", (("gpu:a100:4", 2),)),
    ]


@pytest.mark.parametrize(
    ("addresses", "interface"),
    [(ADDRESSES, "ib0"), (ADDRESSES.replace("ib0", "docker0"), "eth0"), ("lo UNKNOWN 127.0.0.1/8\n", "")],
    ids=["InfiniBand before Ethernet", "container bridges do not count", "loopback alone"],
)
def test_interface(addresses: str, interface: str) -> None:
    assert choose_interface(addresses) == interface


def test_a_cluster_without_gpus() -> None:
    assert gpu_partitions(PARTITIONS, NODES.splitlines()[0]) == []
    assert "no partition" in propose([], ["physics"], "", "")


def test_without_slurm(tmp_path: Path) -> None:
    done = run_script(ROOT / "train" / "site_check.py", check=False, PATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no Slurm here (no scontrol on the PATH)")


@pytest.mark.slurm
def test_the_development_cluster(cluster: Cluster, tmp_path: Path) -> None:
    said = cluster.call(sys.executable, ROOT / "train" / "site_check.py", SLURM_TMPDIR=str(tmp_path))
    assert "export SBATCH_PARTITION=gpu  # time limit UNLIMITED" in said
    assert "sbatch --gres=gpu:a100:8  # on 2 nodes" in said
    assert "export SITE_SCRATCH=${SLURM_TMPDIR:-}" in said
    # What is proposed is shell code that slurm/lib.sh can read.
    assert all(re.match(r"#|export \w+=\S+", line) for line in said.splitlines())
