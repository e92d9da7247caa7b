"""What NCCL's lines and the InfiniBand ports in /sys say about how processes are connected."""

from pathlib import Path

import pytest

from tests.support.nvidia import (
    NCCL_2_4,
    NCCL_INFINIBAND,
    NCCL_PLUGIN,
    NCCL_SHARED_MEMORY,
    NCCL_SOCKETS,
    TOPOLOGY,
)
from train.node_check.transport import count_nvlinks, infiniband_ports, parse_nccl, transport_faults


@pytest.mark.parametrize(
    ("log", "network", "channels"),
    [
        (NCCL_INFINIBAND, "IB", {"NET/IB": 2, "P2P": 2}),
        (NCCL_SOCKETS, "Socket", {"NET/Socket": 2}),
        (NCCL_2_4, "", {"NET/IB": 1}),
        (NCCL_PLUGIN, "", {"NET/IB": 1}),
        (NCCL_SHARED_MEMORY, "Socket", {"SHM": 1}),
        ("", "", {}),
        ("NCCL WARN Cuda failure 'out of memory'\n\x00\xff[0] NCCL INFO Channel", "", {}),
    ],
    ids=["InfiniBand", "sockets", "NCCL 2.4", "plugin", "shared memory", "empty", "torn"],
)
def test_lines_of_nccl(log: str, network: str, channels: dict[str, int]) -> None:
    found = parse_nccl(log)
    assert (found.network, found.channels) == (network, channels)


def ports(root: Path, **states: str) -> Path:
    for name, state in states.items():
        adapter, number, layer = name.split("__")
        port = root / adapter / "ports" / number
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
        (port / "link_layer").write_text(f"{layer}\n")
    return root


def test_only_active_infiniband_ports_count(tmp_path: Path) -> None:
    root = ports(
        tmp_path,
        mlx5_0__1__InfiniBand="4: ACTIVE",
        mlx5_1__1__InfiniBand="1: DOWN",
        mlx5_2__1__Ethernet="4: ACTIVE",
    )
    assert infiniband_ports(root) == ["mlx5_0/1"]
    assert infiniband_ports(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("text", "gpus", "links"),
    [
        (TOPOLOGY, [0, 1, 2], 24),  # two pairs of twelve, one without
        (TOPOLOGY, [1, 2], 0),  # the job's
        (TOPOLOGY.replace("NV12", "PHB"), [0, 1, 2], 0),
        (TOPOLOGY, [0, 7], None),
        ("\tGPU0\tCPU Affinity\nGPU0\t X \t0-31\n", [0], 0),
        ("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n", [0, 1], None),
    ],
    ids=["NVLink", "two of three", "PCI", "lost", "one GPU", "refused"],
)
def test_nvlinks_between_gpus(text: str, gpus: list[int], links: int | None) -> None:
    assert count_nvlinks(text, gpus) == links


class TestFaults:
    def test_sockets_between_infiniband_nodes(self) -> None:
        (fault,) = transport_faults(parse_nccl(NCCL_SOCKETS), ["mlx5_0/1"], nodes=2)
        assert "sockets although the InfiniBand ports mlx5_0/1 are active" in fault

    def test_sockets_where_there_is_nothing_else(self) -> None:
        assert transport_faults(parse_nccl(NCCL_SOCKETS), [], nodes=2) == []

    def test_one_node_needs_no_network(self) -> None:
        """NCCL names its network also where all its channels go through shared memory."""
        assert transport_faults(parse_nccl(NCCL_SHARED_MEMORY), ["mlx5_0/1"], nodes=1) == []
        assert transport_faults(parse_nccl(NCCL_SHARED_MEMORY), ["mlx5_0/1"], nodes=2) == []

    def test_infiniband_is_used(self) -> None:
        assert transport_faults(parse_nccl(NCCL_INFINIBAND), ["mlx5_0/1"], nodes=2) == []
