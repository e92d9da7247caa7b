"""The verdict on nodes, from made-up reports: the sick one is named, and nobody for what all share."""

from typing import Any

import pytest

from train.node_check.verdict import Verdict, judge

NODES = ["n0", "n1", "n2", "n3"]


def report(node: str, local_rank: int = 0, **changed: Any) -> dict[str, Any]:
    """The report of a healthy process on an H100; the first of each node looks at the node."""
    disk = {"free_bytes": 10**12, "bytes_per_s": 1e9}
    of_node = {
        "disks": {"data": disk | {"folder": "/data"}, "runs": disk | {"folder": "/runs"}},
        "memory_bytes": 10**12,
        "nvlinks": 72,
        "link_bytes_per_s": 2e10,
    }
    own = {
        "node": node,
        "rank": 2 * NODES.index(node) + local_rank,
        "local_rank": local_rank,
        "device": "NVIDIA H100 80GB HBM3",
        "faults": [],
        "notes": [],
        "stage": "done",
        "product": {"flop_per_s": 7e14, "peak_flop_per_s": 9.89e14},
        "clock_s": 0.001,
    }
    return own | (of_node if local_rank == 0 else {}) | changed


def verdict(
    *, everywhere: dict[str, Any] | None = None, nodes: int = 4, **changed: dict[str, Any]
) -> Verdict:
    """The verdict where the first process of some nodes (n0=…) reports something else."""
    names = NODES[:nodes]
    reports = [
        report(node, rank, **((everywhere or {}) | changed.get(node, {}) if rank == 0 else {}))
        for node in names
        for rank in (0, 1)
    ]
    return judge(reports, names)


def disks(**runs: Any) -> dict[str, Any]:
    found = report("n0")["disks"]
    return {"disks": found | {"runs": {"folder": "/runs"} | runs}}


def test_healthy_nodes_are_fit() -> None:
    assert verdict() == Verdict({}, [], [])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"faults": [("gpu", "GPU 1 has had 2 uncorrected ECC errors")]}, "GPU 1 has had 2 uncorrected ECC"),
        ({"product": {"flop_per_s": 4e14, "peak_flop_per_s": 9.89e14}}, "400 of 989 TFLOP/s"),
        ({"product": {"flop_per_s": 5.5e14, "peak_flop_per_s": 9.89e14}}, "79% of its peers' speed"),
        ({"memory_bytes": 10**9}, "only 1.0 GB of memory left"),
        ({"memory_bytes": 3 * 10**11}, "only 300.0 GB of memory left"),
        ({"clock_s": -61.0}, "clock is -61.0 s off"),
        ({"nvlinks": 66}, "66 NVLinks between its GPUs"),
        (disks(free_bytes=10**12, bytes_per_s=2e7), "writes to /runs at 2% of its peers' speed"),
        (disks(free_bytes=10**12, error="Read-only file system"), "cannot write to /runs: Read-only"),
        ({"stage": "met"}, "did not finish the collectives"),
    ],
    ids=[
        "ecc",
        "peak",
        "slow",
        "no memory",
        "less memory",
        "clock",
        "nvlink",
        "slow disk",
        "read-only",
        "unfinished",
    ],
)
def test_the_sick_node_is_named_alone(changed: dict[str, Any], says: str) -> None:
    found = verdict(n2=changed)
    assert list(found.sick) == ["n2"]
    assert says in found.sick["n2"][0]
    assert found.shared == []


def test_a_slow_process_that_does_not_lead_its_node_counts_too() -> None:
    reports = [report(node, rank) for node in NODES for rank in (0, 1)]
    reports[5]["product"] = {"flop_per_s": 5.5e14}
    assert list(judge(reports, NODES).sick) == ["n2"]


def test_of_two_nodes_the_slower_is_named() -> None:
    found = verdict(nodes=2, n1={"product": {"flop_per_s": 5.2e14, "peak_flop_per_s": 9.89e14}})
    assert list(found.sick) == ["n1"]


def test_a_node_without_a_report_is_named_and_not_those_that_waited_for_it() -> None:
    reports = [report(node, rank, stage="looked") for node in NODES[:3] for rank in (0, 1)]
    assert judge(reports, NODES).sick == {"n3": ["gave no report"]}


def test_the_node_that_came_least_far_is_named() -> None:
    found = verdict(everywhere={"stage": "looked"}, n1={"stage": "started"})
    assert found.sick == {"n1": ["did not finish looking at its own hardware"]}


def test_a_slow_node_makes_the_links_on_both_sides_slow() -> None:
    """n1 is slow: data arrive slowly at n1, and from n1 at n2. One slow link alone convicts nobody."""
    slow = {"link_bytes_per_s": 1e9}
    assert list(verdict(n1=slow, n2=slow).sick) == ["n1"]
    assert verdict(n1=slow).is_fit


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_a_full_file_system_convicts_no_node(nodes: int) -> None:
    """It would be as full on the next node."""
    found = verdict(nodes=nodes, everywhere=disks(free_bytes=10**6, bytes_per_s=1e9))
    assert found.sick == {}
    assert found.shared == ["/runs: only 1.0 MB are free"]


def test_a_fault_of_all_nodes_convicts_none() -> None:
    found = verdict(everywhere={"faults": [("transport", "NCCL uses sockets")]}, n3={"memory_bytes": 10**9})
    assert found.shared == ["each of the 4 nodes: NCCL uses sockets"]
    assert found.sick == {"n3": ["has only 1.0 GB of memory left"]}  # and does not hide another


def test_data_that_only_some_nodes_see() -> None:
    gone = report("n0")["disks"] | {"data": {"folder": "/data", "error": "No such file or directory"}}
    assert verdict(n1={"disks": gone}).sick == {"n1": ["does not see /data: No such file or directory"]}
    assert verdict(everywhere={"disks": gone}).is_fit  # there is none yet


def test_shared_cores_may_differ_more() -> None:
    found = verdict(
        everywhere={"device": "cpu", "product": {"flop_per_s": 1e11}}, n0={"product": {"flop_per_s": 5e10}}
    )
    assert found.is_fit
