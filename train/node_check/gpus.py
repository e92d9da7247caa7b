"""A node's GPUs as nvidia-smi and the kernel's log describe them, and what makes one unfit.

nvidia-smi comes with the driver. NVML would tell the same, but nobody can give up a call into a driver that
hangs, whereas a program that hangs can be left alone.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

ANSWER_S = 20.0  # nvidia-smi takes 1 to 5 s on a healthy node without the persistence daemon
HOT_C = 85  # data-centre GPUs reduce their clocks from about 85 to 90 degrees Celsius on
USED_MIB = 1500  # the driver itself and the context of a monitor take a few hundred MiB
BUSY_PERCENT = 20  # a GPU without work shows 0
RECENT_XID_S = 24 * 3600.0

# The columns of `nvidia-smi --query-gpu`, see `nvidia-smi --help-query-gpu`.
COLUMNS = (
    *("index", "uuid", "pci.bus_id", "name", "mig.mode.current", "memory.used", "memory.total"),
    *("utilization.gpu", "temperature.gpu", "clocks.sm", "clocks.max.sm", "power.draw", "power.limit"),
    *("ecc.errors.uncorrected.volatile.total", "retired_pages.pending"),
    *("clocks_throttle_reasons.hw_slowdown", "clocks_throttle_reasons.sw_thermal_slowdown"),
    *("pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max"),
)
# Xid errors that tell of the hardware or its driver and not of a program's mistake (NVIDIA, "Xid Errors").
XIDS = {
    48: "double-bit ECC error",
    64: "row remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained ECC error",
    119: "GPU system processor does not answer",
    120: "GPU system processor error",
}
_XID = re.compile(r"\[\s*(?P<at>[\d.]+)\].*NVRM: Xid \(PCI:(?P<bus>[0-9a-fA-F:.]+)\): (?P<number>\d+)")


@dataclass(frozen=True)
class Gpu:
    """One GPU; a number is None where nvidia-smi says `[N/A]` or `[Not Supported]`."""

    index: int
    uuid: str
    bus: str
    name: str
    mig: bool
    used_mib: float | None
    busy_percent: float | None
    celsius: float | None
    sm_mhz: float | None
    max_sm_mhz: float | None
    watts: float | None
    limit_watts: float | None
    uncorrected_ecc: float | None
    pages_pending: bool
    slowed_by_hardware: bool
    slowed_by_heat: bool
    lanes: float | None
    max_lanes: float | None


def read_gpus() -> tuple[list[Gpu], list[str], list[str]]:
    """(this job's GPUs on this node, faults of the reading, notes about what could not be read)."""
    if not shutil.which("nvidia-smi"):
        return [], [], ["no nvidia-smi: GPUs are not looked at"]
    command = ["nvidia-smi", f"--query-gpu={','.join(COLUMNS)}", "--format=csv,noheader,nounits"]
    answer = ask(command)
    if answer is None:
        return [], [f"nvidia-smi gave no answer within {ANSWER_S:.0f} s: its driver hangs"], []
    code, text = answer
    if code:
        return [], [f"nvidia-smi failed with code {code}: {_first_line(text)}"], []
    try:
        return given_gpus(parse_gpus(text), os.environ.get("CUDA_VISIBLE_DEVICES")), [], []
    except ValueError as error:
        return [], [], [f"nvidia-smi answered what cannot be read ({error}): GPUs are not looked at"]


def parse_gpus(text: str) -> list[Gpu]:
    """The GPUs in an answer of nvidia-smi in COLUMNS. Raises ValueError naming a line of another form."""
    gpus = []
    for cells in csv.reader(text.strip().splitlines(), skipinitialspace=True):
        if len(cells) != len(COLUMNS) or not cells[0].isdecimal():
            raise ValueError(f"{', '.join(cells)[:200]!r} has not the {len(COLUMNS)} values of a GPU")
        row = dict(zip(COLUMNS, map(str.strip, cells), strict=True))
        gpus.append(
            Gpu(
                index=int(row["index"]),
                uuid=row["uuid"],
                bus=row["pci.bus_id"],
                name=row["name"],
                mig=row["mig.mode.current"] == "Enabled",
                used_mib=_number(row["memory.used"]),
                busy_percent=_number(row["utilization.gpu"]),
                celsius=_number(row["temperature.gpu"]),
                sm_mhz=_number(row["clocks.sm"]),
                max_sm_mhz=_number(row["clocks.max.sm"]),
                watts=_number(row["power.draw"]),
                limit_watts=_number(row["power.limit"]),
                uncorrected_ecc=_number(row["ecc.errors.uncorrected.volatile.total"]),
                pages_pending=row["retired_pages.pending"] == "Yes",
                slowed_by_hardware=row["clocks_throttle_reasons.hw_slowdown"] == "Active",
                slowed_by_heat=row["clocks_throttle_reasons.sw_thermal_slowdown"] == "Active",
                lanes=_number(row["pcie.link.width.current"]),
                max_lanes=_number(row["pcie.link.width.max"]),
            )
        )
    return gpus


def given_gpus(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs that Slurm gave to the job, in whose place nvidia-smi may show all of a node.

    `visible`: CUDA_VISIBLE_DEVICES, numbers or UUIDs. Parts of a divided GPU have UUIDs of their own, which
    tell nothing of the GPU, so all are returned.
    """
    wanted = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if not wanted or any(name.startswith("MIG-") for name in wanted):
        return list(gpus)
    return [gpu for gpu in gpus if str(gpu.index) in wanted or gpu.uuid in wanted]


def gpu_faults(gpus: Sequence[Gpu], expected: int) -> list[str]:
    """Why a node's GPUs are unfit, each as a sentence; `expected`: how many the job was given."""
    faults = []
    if len(gpus) < expected:
        faults.append(f"nvidia-smi shows {len(gpus)} GPUs, the job was given {expected}")
    for gpu in gpus:
        who = f"GPU {gpu.index}"
        if gpu.mig and expected > 1:
            faults.append(f"{who} is divided (MIG), and NCCL does not connect its parts")
        if gpu.uncorrected_ecc:
            faults.append(f"{who} has had {gpu.uncorrected_ecc:.0f} uncorrected ECC errors since its reset")
        if gpu.pages_pending:
            faults.append(f"{who} has memory pages to retire: it must be reset")
        if gpu.slowed_by_hardware:
            faults.append(f"{who} is slowed down by its hardware (heat or power brake)")
        if gpu.slowed_by_heat or (gpu.celsius or 0) >= HOT_C:
            faults.append(f"{who} is too hot ({gpu.celsius:.0f} C)")
        if not gpu.mig and ((gpu.used_mib or 0) > USED_MIB or (gpu.busy_percent or 0) > BUSY_PERCENT):
            faults.append(
                f"{who} is not idle: {gpu.used_mib or 0:.0f} MiB in use, {gpu.busy_percent or 0:.0f} % busy"
            )
        if gpu.lanes and gpu.max_lanes and gpu.lanes < gpu.max_lanes:
            faults.append(f"{who} has {gpu.lanes:.0f} of its {gpu.max_lanes:.0f} PCIe lanes")
    return faults


def read_xids(gpus: Sequence[Gpu]) -> tuple[list[str], list[str]]:
    """(faults, notes) from the kernel's log, which many sites let only root read."""
    answer = ask(["dmesg"]) if gpus and shutil.which("dmesg") else None
    if answer is None or answer[0]:
        return [], ["the kernel's log is not readable: Xid errors are not looked for"] if gpus else []
    return xid_faults(answer[1], _uptime_s(), [gpu.bus for gpu in gpus]), []


def xid_faults(kernel_log: str, uptime_s: float, buses: Sequence[str]) -> list[str]:
    """Xid errors of the hardware in the last RECENT_XID_S, once for each GPU of `buses` and number."""
    ours = {_bus(bus) for bus in buses}
    found: dict[tuple[str, int], str] = {}
    for match in _XID.finditer(kernel_log):
        number, bus = int(match["number"]), _bus(match["bus"])
        if number in XIDS and bus in ours and uptime_s - float(match["at"]) <= RECENT_XID_S:
            found[bus, number] = f"GPU at {match['bus']}: Xid {number}, {XIDS[number]}"
    return list(found.values())


def ask(command: Sequence[str], answer_s: float = ANSWER_S) -> tuple[int, str] | None:
    """(exit code, output) of a program; None if it does not answer in time.

    A program that hangs in the driver survives SIGKILL, and its children may hold the pipe, so nobody waits
    for its end.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output = process.communicate(timeout=answer_s)[0]
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return None
    return process.returncode, output


def as_rows(gpus: Sequence[Gpu]) -> list[dict[str, Any]]:
    """The GPUs for a report in JSON."""
    return [asdict(gpu) for gpu in gpus]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:  # [N/A], [Not Supported], [Unknown Error], [GPU requires reset]
        return None


def _bus(name: str) -> str:
    """`00000000:3B:00.0` and `0000:3b:00` as the same text."""
    parts = name.lower().split(".")[0].split(":")
    return ":".join(parts[-2:])


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "without a word")


def _uptime_s() -> float:
    try:
        with open("/proc/uptime") as file:  # noqa: PTH123
            return float(file.read().split()[0])
    except OSError:  # not Linux
        return 0.0
