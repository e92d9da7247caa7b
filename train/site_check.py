"""Read the cluster and propose values for slurm/site.sh.

    make site-check

In:  answers of scontrol, sacctmgr and ip, and this machine's environment; nothing is submitted or changed.
Out: lines for slurm/site.sh with a comment that says where each comes from.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.script import UserError, run_main

CLIENT_S = 20.0  # a client that waits longer has lost the controller
# Folders on a node's own disk that sites commonly give to jobs, the private ones first.
SCRATCH = ("SLURM_TMPDIR", "TMPDIR", "LOCAL_SCRATCH")
# Interfaces that reach other nodes, the fastest kinds first: InfiniBand, bonds, Ethernet.
INTERFACES = ("ib", "hsn", "bond", "en", "eth")


class Partition(NamedTuple):
    """A partition whose nodes have GPUs."""

    name: str
    time_limit: str  # as Slurm prints it; UNLIMITED
    gpus: tuple[tuple[str, int], ...]  # (gres, number of nodes that have it), the most frequent first


def records(shown: str) -> list[dict[str, str]]:
    """The records of `scontrol --oneliner show`, a dictionary for each line."""
    return [dict(re.findall(r"([\w:/]+)=(\S*)", line)) for line in shown.splitlines() if line.strip()]


def gpu_partitions(partitions: str, nodes: str) -> list[Partition]:
    """Partitions with GPUs, the default one first, from `scontrol -o show partition` and `... node`.

    A gres reads `gpu:a100:8`, or `gpu:8` where the site names no type.
    """
    gpus: dict[str, Counter[str]] = {}
    for node in records(nodes):
        for gres in re.findall(r"\bgpu(?::[\w.-]+)*", node.get("Gres", "")):
            for name in node.get("Partitions", "").split(","):
                gpus.setdefault(name, Counter())[gres] += 1
    found = [
        (entry["Default"] != "YES", Partition(name, entry["MaxTime"], tuple(gpus[name].most_common())))
        for entry in records(partitions)
        if (name := entry["PartitionName"]) in gpus and entry.get("State") == "UP"
    ]
    return [partition for _, partition in sorted(found)]


def choose_interface(addresses: str) -> str:
    """The interface that most likely reaches other nodes, from `ip -brief -4 address`; "" if none does."""
    up = [
        fields[0]
        for line in addresses.splitlines()
        if len(fields := line.split()) > 2 and fields[1] != "DOWN"
    ]
    names = [name.partition("@")[0] for name in up]
    return next((name for kind in INTERFACES for name in names if name.startswith(kind)), "")


def propose(partitions: Sequence[Partition], accounts: Sequence[str], scratch: str, interface: str) -> str:
    """Lines for slurm/site.sh."""
    if not partitions:
        return "# no partition that is up has nodes with GPUs: jobs that train cannot run here"
    best, *others = partitions
    lines = [f"export SBATCH_PARTITION={best.name}  # time limit {best.time_limit}"]
    lines += [f"#export SBATCH_PARTITION={other.name}  # time limit {other.time_limit}" for other in others]
    if accounts:
        lines.append(f"export SBATCH_ACCOUNT={accounts[0]}  # yours: {', '.join(accounts)}")
    else:
        lines.append(
            "# no account: sacctmgr names none, so jobs need none or your site's documentation names it"
        )
    asked = [f"--gres={gres}  # on {count} nodes" for gres, count in best.gpus]
    lines += [f"# GPUs of {best.name}: sbatch {option}" for option in asked]
    lines.append(
        f"export SITE_SCRATCH={scratch}  # only if it is on the node's own disk (see df)"
        if scratch
        else "# no scratch: none of "
        + ", ".join(SCRATCH)
        + " is set; jobs may have it where this machine has not"
    )
    lines.append(
        f"export NCCL_SOCKET_IFNAME={interface} GLOO_SOCKET_IFNAME={interface}  # nodes may have others"
        if interface
        else "# no network interface besides the loopback was found on this machine"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the proposal. Raises UserError where there is no Slurm, or none that answers."""
    if not shutil.which("scontrol"):
        raise UserError(
            "there is no Slurm here (no scontrol on the PATH): call it on a login node of the cluster"
        )
    partitions = gpu_partitions(
        ask("scontrol", "-o", "show", "partition"), ask("scontrol", "-o", "show", "node")
    )
    user = os.environ.get("USER", str(os.getuid()))
    who = ["sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account"]
    accounts = sorted(set(ask(*who, optional=True).split()))
    scratch = next((f"${{{name}:-}}" for name in SCRATCH if os.environ.get(name)), "")
    print("# Proposed for slurm/site.sh; check each line against your site's documentation.")
    print(
        propose(
            partitions,
            accounts,
            scratch,
            choose_interface(ask("ip", "-brief", "-4", "address", optional=True)),
        )
    )


def ask(*command: str, optional: bool = False) -> str:
    """A client's answer; "" without one if it is optional, else UserError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_S, check=False)
        why = done.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        done, why = None, str(error)
    if done and not done.returncode:
        return done.stdout
    if optional:
        return ""
    raise UserError(f"{' '.join(command)}: no answer from Slurm: {why}")


if __name__ == "__main__":
    run_main(main)
