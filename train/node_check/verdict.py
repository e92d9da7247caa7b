"""The verdict on each node of a job, from what its processes reported. Pure functions.

A fault of a node that others do not have speaks against the node, which can be excluded. A fault that all
nodes of a job of several share (the file system is full, NCCL was told to use sockets) speaks against the
job's surroundings, and excluding nodes would not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from configs.loader import format_bytes
from train.node_check.host import FREE_BYTES, MEMORY_BYTES

# Large bf16 products reach 0.6 to 0.9 of a data sheet's peak on a healthy GPU, depending on its power limit.
LEAST_SHARE_OF_PEAK = 0.5
# All nodes wait for the slowest in every step, so a node that is a fifth slower costs a fifth of all of them.
SLOWER_THAN_PEERS = 0.8
SLOWER_ON_CPU = 0.4  # cores are often shared, and their speed changes from second to second
SLOWER_DISK = 0.1  # of network file systems with other users, speeds differ by a few times at any moment
LESS_MEMORY = 0.5
CLOCK_SKEW_S = 5.0  # beyond, time stamps of logs and locks of several nodes contradict each other

Report = Mapping[str, Any]  # of one process, as train/check_nodes.py writes it


@dataclass(frozen=True)
class Verdict:
    """What is wrong: sentences by node, sentences about all, and what could not be looked at."""

    sick: dict[str, list[str]]
    shared: list[str]
    notes: list[str]

    @property
    def is_fit(self) -> bool:
        """Whether the job can train on these nodes."""
        return not self.sick and not self.shared


def judge(reports: Sequence[Report], nodes: Sequence[str]) -> Verdict:
    """The verdict on `nodes`, all nodes of the job, from the reports of its processes."""
    faults: dict[str, list[tuple[str, str]]] = {node: [] for node in nodes}  # (kind, sentence)
    by_node = {node: [r for r in reports if r["node"] == node] for node in nodes}
    for node, own in by_node.items():
        if not own:
            faults[node].append(("silent", "gave no report"))
        faults[node] += [(kind, sentence) for report in own for kind, sentence in report["faults"]]
    if not any(faults.values()):
        _add_unfinished(by_node, faults)
    leaders = {node: own[0] for node, own in by_node.items() if own}
    _add_slow_products(by_node, faults)
    _add_slow_links(leaders, faults)
    shared = _add_disks(leaders, faults)
    _add_memory(leaders, faults)
    _add_nvlinks(leaders, faults)
    _add_clocks(leaders, faults)

    if len(nodes) > 1:
        kinds = [{kind for kind, _ in found} for found in faults.values()]
        for kind in sorted(set.intersection(*kinds)):
            sentence = next(text for found in faults.values() for k, text in found if k == kind)
            shared.append(f"each of the {len(nodes)} nodes: {sentence}")
            faults = {node: [f for f in found if f[0] != kind] for node, found in faults.items()}
    sick = {node: [text for _, text in found] for node, found in faults.items() if found}
    return Verdict(sick, shared, sorted({note for report in reports for note in report["notes"]}))


Faults = dict[str, list[tuple[str, str]]]


STAGES = {  # of a process, in order → what it did not do if it got no further
    "started": "did not finish looking at its own hardware",
    "looked": "did not meet the other processes",
    "met": "did not finish the collectives",
    "done": "",
}


def _add_unfinished(by_node: Mapping[str, Sequence[Report]], faults: Faults) -> None:
    """Nodes of the processes that came least far: the others waited for them."""
    order = list(STAGES)
    reached = {node: min(order.index(r["stage"]) for r in own) for node, own in by_node.items() if own}
    least = min(reached.values(), default=len(order))
    for node, stage in reached.items():
        if stage == least < len(order) - 1:
            faults[node].append((f"unfinished {stage}", STAGES[order[stage]]))


def _add_slow_products(by_node: Mapping[str, Sequence[Report]], faults: Faults) -> None:
    slowest: dict[str, float] = {}
    for node, own in by_node.items():
        for report in own:
            product = report.get("product")
            if not product:
                continue
            slowest[node] = min(slowest.get(node, float("inf")), product["flop_per_s"])
            peak = product.get("peak_flop_per_s")
            if peak and product["flop_per_s"] < LEAST_SHARE_OF_PEAK * peak:
                speeds = f"{product['flop_per_s'] / 1e12:.0f} of {peak / 1e12:.0f} TFLOP/s"
                slow = f"its GPU {report['local_rank']} multiplies matrices at {speeds}"
                faults[node].append(("peak", slow))
    on_cpu = any(report["device"] == "cpu" for own in by_node.values() for report in own)
    for node, share in _below_peers(slowest, SLOWER_ON_CPU if on_cpu else SLOWER_THAN_PEERS).items():
        faults[node].append(("slow", f"multiplies matrices at {share:.0%} of its peers' speed"))


def _add_slow_links(leaders: Mapping[str, Report], faults: Faults) -> None:
    """A slow link could be the fault of either end; of a node whose both links are slow, it is the node's."""
    speeds = {node: r["link_bytes_per_s"] for node, r in leaders.items() if r.get("link_bytes_per_s")}
    ring = [node for node in leaders if node in speeds]  # in the order of ranks; speeds are of the way in
    if len(ring) < 3:
        return
    better = {node: max(speeds[node], speeds[ring[(i + 1) % len(ring)]]) for i, node in enumerate(ring)}
    for node, share in _below_peers(better, SLOWER_ON_CPU).items():
        faults[node].append(("link", f"exchanges data at {share:.0%} of its peers' speed"))


def _add_disks(leaders: Mapping[str, Report], faults: Faults) -> list[str]:
    """Returns what speaks against no node: a full file system is as full on the next one."""
    full = {}
    for place in ("data", "runs"):
        speeds, unseen = {}, {}
        for node, report in leaders.items():
            disk = report["disks"][place]
            if "error" in disk and place == "runs":
                faults[node].append((f"disk {place}", f"cannot write to {disk['folder']}: {disk['error']}"))
            elif "free_bytes" not in disk:
                unseen[node] = f"does not see {disk['folder']}: {disk['error']}"
            elif place == "runs" and disk["free_bytes"] < FREE_BYTES:
                full[disk["folder"]] = f"{disk['folder']}: only {format_bytes(disk['free_bytes'])} are free"
            if disk.get("bytes_per_s"):
                speeds[node] = disk["bytes_per_s"]
        # Where no node sees it, it does not exist yet: a cluster may be looked at before it has data.
        if len(unseen) < len(leaders):
            for node, sentence in unseen.items():
                faults[node].append((f"disk {place}", sentence))
        for node, share in _below_peers(speeds, SLOWER_DISK).items():
            folder = leaders[node]["disks"][place]["folder"]
            faults[node].append(
                (f"slow disk {place}", f"writes to {folder} at {share:.0%} of its peers' speed")
            )
    return list(full.values())


def _add_memory(leaders: Mapping[str, Report], faults: Faults) -> None:
    free = {node: r["memory_bytes"] for node, r in leaders.items() if r.get("memory_bytes") is not None}
    low = _below_peers(free, LESS_MEMORY)
    for node, n_bytes in free.items():
        if n_bytes < MEMORY_BYTES or node in low:
            faults[node].append(("memory", f"has only {format_bytes(n_bytes)} of memory left"))


def _add_nvlinks(leaders: Mapping[str, Report], faults: Faults) -> None:
    links = {node: r["nvlinks"] for node, r in leaders.items() if r.get("nvlinks") is not None}
    for node in _below_peers(links, 1.0):
        faults[node].append(("nvlink", f"has {links[node]} NVLinks between its GPUs, others have more"))


def _add_clocks(leaders: Mapping[str, Report], faults: Faults) -> None:
    offsets = {node: r["clock_s"] for node, r in leaders.items() if r.get("clock_s") is not None}
    if not offsets:
        return
    middle = median(offsets.values())
    for node, offset in offsets.items():
        if abs(offset - middle) > CLOCK_SKEW_S:
            faults[node].append(("clock", f"its clock is {offset - middle:+.1f} s off the others'"))


def _below_peers(values: Mapping[str, float], share: float) -> dict[str, float]:
    """Nodes whose value is less than `share` of the median of the others', with their share of it."""
    low = {}
    for node, value in values.items():
        others = [other for name, other in values.items() if name != node]
        if others and value < share * median(others):
            low[node] = value / median(others)
    return low
