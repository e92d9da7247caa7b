"""How the processes are connected: NCCL's lines (NCCL_DEBUG=INFO), InfiniBand ports, links between GPUs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INFINIBAND = Path("/sys/class/infiniband")
_NETWORK = re.compile(r"NCCL INFO Using network (.+)")
_CHANNEL = re.compile(
    r"NCCL INFO Channel \d+(?:/\d+)? : (?P<source>\d+)\[[^\]]*\] -> (?P<target>\d+)\[[^\]]*\]"
    r"(?: \[(?:send|receive)\])? via (?P<how>\S+)"
)


@dataclass(frozen=True)
class Transport:
    """What NCCL chose: its network, and its channels by kind (`NET/IB`, `NET/Socket`, `P2P`, `SHM`)."""

    network: str  # empty if it needed none
    channels: dict[str, int]

    @property
    def uses_sockets(self) -> bool:
        """Whether data travel through the kernel's TCP stack."""
        return "NET/Socket" in self.channels or (not self.channels and self.network == "Socket")

    def describe(self) -> str:
        """For people: `NET/IB (8 channels), P2P (16 channels)`."""
        if not self.channels:
            return self.network or "one process"
        return ", ".join(f"{kind} ({count} channels)" for kind, count in sorted(self.channels.items()))


def parse_nccl(log: str) -> Transport:
    """What the lines of NCCL_DEBUG=INFO tell of one process. Lines of any other kind are skipped."""
    networks = _NETWORK.findall(log)
    channels: Counter[str] = Counter()
    for match in _CHANNEL.finditer(log):
        parts = match["how"].split("/")
        kind = "/".join(parts[:2]) if parts[0] == "NET" else parts[0]
        channels["NET/IB" if kind.startswith("NET/IB") else kind] += (
            1  # IBext_v8: NVIDIA's plugin for the same
        )
    return Transport(networks[-1].strip() if networks else "", dict(channels))


def count_nvlinks(topology: str, gpus: Sequence[int]) -> int | None:
    """NVLinks between some of a node's GPUs in an answer of `nvidia-smi topo -m`, each pair's counted once.

    None if the answer does not show these GPUs. A cell says `NV12` for twelve links, else which part of the
    PCI bus connects the pair.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", topology)  # the header is underlined
    rows = {cells[0]: cells[1:] for cells in map(str.split, plain.splitlines()) if "X" in cells[1:]}
    try:
        links = [rows[f"GPU{one}"][other] for one in gpus for other in gpus if one < other]
    except (KeyError, IndexError):
        return None
    return sum(int(link[2:]) for link in links if re.fullmatch(r"NV\d+", link))


def infiniband_ports(root: Path = INFINIBAND) -> list[str]:
    """The node's active InfiniBand ports as `mlx5_0/1`; Ethernet ports of the same adapters do not count."""
    ports = []
    for port in sorted(root.glob("*/ports/*")):
        state, layer = (_read(port / name) for name in ("state", "link_layer"))
        if "ACTIVE" in state and layer == "InfiniBand":
            ports.append(f"{port.parts[-3]}/{port.name}")
    return ports


def transport_faults(transport: Transport, ports: Sequence[str], nodes: int) -> list[str]:
    """Whether NCCL took sockets although the node has InfiniBand."""
    if nodes > 1 and ports and transport.uses_sockets:
        return [
            f"NCCL uses sockets although the InfiniBand ports {', '.join(ports)} are active: see NCCL_IB_HCA "
            "and NCCL_IB_DISABLE in slurm/site.sh, and whether a container hides /dev/infiniband"
        ]
    return []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
