"""Communication against computation: what the exchange between processes costs, and from where it decides.

    python analysis/comm_report.py [--measured analysis/measurements/communication.json] [--out DIR]

In: the measurements of `make bench-communication`. Out: analysis/out/communication/, each as .md, .csv, .tex:
comm_steps        steps of each strategy with and without exchange, beside the ring model
comm_links        the measured collectives and the model
comm_full_model   the full model on interconnects of today
and communication.png, .pdf and .json.

For the full model nothing is measured: a step's collectives at an interconnect's nominal bandwidth are set
against its products at a stated MFU. As the batch stays the same, more GPUs compute for less time each, but
exchange as many bytes; where both take as long, exchange overtakes computation unless they overlap.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.measured_report import report
from analysis.table_text import Table
from configs.ring_model import Link
from configs.script import run_main

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = ("links", "steps", "full_model")
MFU = 0.5  # of both GPUs; the largest that the plan in docs/training.md states
MOST_GPUS = 4096


@dataclass(frozen=True)
class Interconnect:
    """What joins neighbours of a ring: nominal bytes a second in one direction."""

    name: str
    bytes_per_s: float
    source: str


# A ring that passes through nodes crosses each node's adapter once, whatever number of GPUs the node has.
INTERCONNECTS = (
    Interconnect("NVLink 4 (H100)", 450e9, "NVIDIA, H100 data sheet: 900 GB/s in both directions"),
    Interconnect("NVLink 3 (A100)", 300e9, "NVIDIA, A100 data sheet: 600 GB/s in both directions"),
    Interconnect(
        "400 Gb/s (NDR, 400GbE)", 50e9, "InfiniBand Trade Association, roadmap: NDR 4x; IEEE 802.3bs"
    ),
    Interconnect("PCIe 4.0 x16", 31.5e9, "PCI-SIG: 16 GT/s, 16 lanes, coding 128b/130b"),
    Interconnect(
        "200 Gb/s (HDR, 200GbE)", 25e9, "InfiniBand Trade Association, roadmap: HDR 4x; IEEE 802.3bs"
    ),
    Interconnect(
        "100 Gb/s (EDR, 100GbE)", 12.5e9, "InfiniBand Trade Association, roadmap: EDR 4x; IEEE 802.3bm"
    ),
)
DRAWN = ("NVLink 3 (A100)", "400 Gb/s (NDR, 400GbE)", "100 Gb/s (EDR, 100GbE)")


def exchange_s(bytes_by_kind: dict[str, float], link: Link, processes: int) -> float:
    """Seconds that a step's collectives take one after the other."""
    return sum(link.seconds(kind, processes, n_bytes) for kind, n_bytes in bytes_by_kind.items())


def step_bytes(full: dict[str, Any], strategy: str, gpus: int) -> dict[str, float]:
    """Bytes by kind that a step of the full model exchanges on so many GPUs.

    Some strategies exchange after every micro-batch, of which a process has fewer, the more processes there
    are.
    """
    traffic = full["traffic"][strategy]
    micro_batches = math.ceil(full["sequences_per_step"] / gpus / full["micro_batch_size"])
    kinds = {**traffic["a_step"], **traffic["a_micro_batch"]}
    return {
        kind: traffic["a_step"].get(kind, 0) + micro_batches * traffic["a_micro_batch"].get(kind, 0)
        for kind in kinds
    }


def compute_s(full: dict[str, Any], device: str, gpus: float) -> float:
    """Seconds that a step's products take at MFU."""
    flops = full["flops_per_token"] * full["tokens_per_step"]
    return flops / (full["peak_flop_per_s"][device] * MFU * gpus)


def crossing(full: dict[str, Any], strategy: str, device: str, bytes_per_s: float) -> int | None:
    """The least number of GPUs whose exchange takes longer than their computation; None above MOST_GPUS."""
    link = Link(0.0, bytes_per_s)
    for gpus in range(2, MOST_GPUS + 1):
        if exchange_s(step_bytes(full, strategy, gpus), link, gpus) > compute_s(full, device, gpus):
            return gpus
    return None


def links_table(measured: dict[str, Any]) -> Table:
    """The measured collectives beside the fitted model."""
    rows = []
    for processes, kinds in measured["links"].items():
        for kind, found in kinds.items():
            link = Link(found["latency_s"], found["bytes_per_s"])
            for n_bytes, seconds in zip(found["bytes"], found["seconds"], strict=True):
                model = link.seconds(kind, int(processes), n_bytes)
                cells = (f"{n_bytes >> 20}", f"{seconds * 1e3:.2f}", f"{model * 1e3:.2f}")
                rows.append(
                    (processes, kind.replace("_", "-"), *cells, f"{100 * (model / seconds - 1):+.0f}")
                )
    return Table(
        "comm_links",
        f"Collectives over {measured['backend']}, measured and by the ring model",
        ("processes", "collective", "MiB", "measured, ms", "model, ms", "model off, %"),
        rows,
        tuple(
            f"{processes} processes, {kind.replace('_', '-')}: {found['latency_s'] * 1e6:.0f} µs and "
            f"{found['bytes_per_s'] / 1e9:.2f} GB/s a hop."
            for processes, kinds in measured["links"].items()
            for kind, found in kinds.items()
        ),
    )


def steps_table(measured: dict[str, Any]) -> Table:
    """Steps with and without exchange."""
    rows = []
    for step in measured["steps"]:
        kinds = measured["links"].get(str(step["processes"]), {})
        model = 0.0
        for kind, n_bytes in step["bytes"].items():
            found = kinds["all_reduce" if kind == "all_reduce" else "all_gather"]
            link = Link(found["latency_s"], found["bytes_per_s"])
            model += link.seconds(kind, step["processes"], n_bytes)
        more = step["step_s"] - step["alone_s"]
        seconds = (step["step_s"], step["alone_s"], more, step["exchange_s"], model)
        total = sum(step["bytes"].values())
        rows.append(
            (
                str(step["processes"]),
                step["strategy"],
                *(f"{s * 1e3:.0f}" for s in seconds),
                f"{total / 1e6:.1f}",
            )
        )
    return Table(
        "comm_steps",
        f"A training step with and without exchange: {measured['model']}",
        (
            *("processes", "strategy", "with, ms", "without, ms", "difference, ms", "exchange_s, ms"),
            *("ring model, ms", "MB"),
        ),
        rows,
        (
            "Without: as many processes that train alone at the same time. With zero1, zero2 and fsdp a "
            "process updates only its share of the weights, which makes up for a part of the exchange.",
            "exchange_s: what the log of a run calls so, the waits that computation does not hide. Ring "
            "model: the step's collectives by the link fitted to the measured ones. MB: of their tensors.",
        ),
    )


def full_table(measured: dict[str, Any]) -> Table:
    """The full model: seconds of exchange on 8 GPUs, and from how many on exchange overtakes computation."""
    full = measured["full_model"]
    rows = []
    for strategy in full["traffic"]:
        for wire in INTERCONNECTS:
            seconds = exchange_s(step_bytes(full, strategy, 8), Link(0.0, wire.bytes_per_s), 8)
            crossings = (crossing(full, strategy, name, wire.bytes_per_s) for name in full["peak_flop_per_s"])
            cells = ("–" if gpus is None else str(gpus) for gpus in crossings)
            rows.append((strategy, wire.name, f"{wire.bytes_per_s / 1e9:g}", f"{seconds * 1e3:.0f}", *cells))
    compute = ", ".join(
        f"{compute_s(full, name, 8) * 1e3:.0f} ms on 8 x {name}" for name in full["peak_flop_per_s"]
    )
    return Table(
        "comm_full_model",
        f"{full['run']}, {full['parameters']:,} parameters: where exchange takes as long as computation",
        (
            *("strategy", "interconnect", "GB/s", "exchange on 8 GPUs, ms"),
            *(
                f"GPUs, {name.removeprefix('NVIDIA ').split('-')[0].split(' ')[0]}"
                for name in full["peak_flop_per_s"]
            ),
        ),
        rows,
        (
            f"Calculated, not measured: {full['tokens_per_step']:,} tokens a step, micro-batches of up to "
            f"{full['micro_batch_size']} sequences, {MFU:.0%} MFU ({compute}); every hop at the nominal "
            "bandwidth of one direction, without latency and without overlap, so real exchange takes longer "
            "and may be hidden in part. NVLink joins the GPUs of a node or a rack. "
            f"–: not up to {MOST_GPUS:,} GPUs.",
            *(f"{wire.name}: {wire.source}." for wire in INTERCONNECTS),
        ),
    )


def draw(measured: dict[str, Any]) -> "Figure":
    """Above: measured collectives and the model. Below: the full model, computation falling, exchange not."""
    full = measured["full_model"]
    style.use("report")
    figure, (links, steps) = style.new_figure(
        "What the exchange between processes costs",
        f"above: {measured['backend']} on one machine, {measured['date']}; below: calculated for "
        f"{full['parameters'] / 1e9:.2f} B parameters",
        "Above: marks are measured, lines the ring model fitted to them. Below: zero1 in bf16, at "
        f"{MFU:.0%} MFU and nominal bandwidths, without latency and overlap; rings: from here on, exchange "
        "takes longer than computation.",
        heights_in=(2.2, 2.6),
        right_in=1.75,
        share_x=False,
    )
    draw_links(links, measured)
    draw_full(steps, full)
    return figure


def draw_links(axes: "Axes", measured: dict[str, Any]) -> None:
    """Seconds of a collective over its bytes."""
    looks = iter(zip(style.theme.colours, style.DASHES, "osD^v", strict=False))
    labels = []
    for processes, kinds in measured["links"].items():
        for kind, found in kinds.items():
            colour, dashes, marker = next(looks)
            link = Link(found["latency_s"], found["bytes_per_s"])
            mib = np.array(found["bytes"]) / 2**20
            milliseconds = [link.seconds(kind, int(processes), n_bytes) * 1e3 for n_bytes in found["bytes"]]
            axes.plot(mib, milliseconds, color=colour, ls=dashes)
            axes.plot(mib, np.array(found["seconds"]) * 1e3, marker, color=colour, ms=4.5, mfc="none")
            labels.append((milliseconds[-1], f"{kind.replace('_', '-')}, {processes} proc.", colour))
    axes.set_xscale("log", base=2)
    axes.set_xlabel("MiB")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.log_axis(axes, "milliseconds")
    panel.end_labels(axes, labels)


def draw_full(axes: "Axes", full: dict[str, Any]) -> None:
    """Seconds of a step over GPUs: computation on each device, exchange on some interconnects."""
    gpus = np.array([2**power for power in range(1, int(math.log2(MOST_GPUS)) + 1)])
    labels = []
    wires = {wire.name: Link(0.0, wire.bytes_per_s) for wire in INTERCONNECTS if wire.name in DRAWN}
    computing = {name: [compute_s(full, name, n) for n in gpus] for name in full["peak_flop_per_s"]}
    for (name, seconds), dashes in zip(computing.items(), ("-", "--"), strict=False):
        axes.plot(gpus, seconds, color=style.theme.ink, ls=dashes)
        short = name.removeprefix("NVIDIA ").split("-")[0].split(" ")[0]
        labels.append((seconds[-1], f"computation, {short}", style.theme.ink))
    for (name, link), colour, dashes in zip(
        wires.items(), style.theme.colours, style.DASHES[1:], strict=False
    ):
        seconds = [exchange_s(step_bytes(full, "zero1", n), link, n) for n in gpus]
        axes.plot(gpus, seconds, color=colour, ls=dashes)
        labels.append((seconds[-1], name, colour))
        for device in full["peak_flop_per_s"]:
            if meets := crossing(full, "zero1", device, link.bytes_per_s):
                at = compute_s(full, device, meets)
                axes.plot(meets, at, "o", color=colour, ms=6, mfc="none", zorder=4)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("GPUs")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.log_axis(axes, "seconds a step")
    panel.end_labels(axes, labels)


def main() -> None:
    """Write the tables and the figure. Raises UserError if nothing was measured."""
    report(__doc__, "communication", KEYS, draw, (links_table, steps_table, full_table))


if __name__ == "__main__":
    run_main(main)
