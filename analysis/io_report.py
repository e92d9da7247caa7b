"""What reading costs, by source: speed, bytes, padding, coverage, memory, and when a GPU would starve.

    python analysis/io_report.py [--measured FILE] [--out DIR]

In: analysis/measurements/io.json, which `make bench-io` writes. Out, in DIR (default: analysis/out/io): the
tables io_sources, io_devices and io_disk as .md, .csv and .tex, and the figure io.png, .pdf and .json.
"""

import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.measured_report import report
from analysis.table_text import Table
from configs.script import run_main
from configs.stages import CORPUS_STAGES

KEYS = ("epoch", "local")
# Tokens/s of a 1.31 B model at T = 1,024 (MPT-1b, 8 GPUs of each kind, per GPU), close to ours of 1.36 B.
DEVICES = {"A100": 22_112, "H100": 48_910, "8 × H100": 8 * 48_910}
STREAMS = ("tokens", "parquet stream")  # read storage all the time; JSONL is read once, before the first step
LOOKS: dict[str, dict[str, Any]] = {
    "tokens": {"color": style.BLUE, "ls": "-", "marker": "o"},
    "parquet stream": {"color": style.VERMILION, "ls": "--", "marker": "s"},
}


def needed_mb_per_s(measured: dict[str, Any], source: str, device: str) -> float:
    """Storage bandwidth below which a device waits, however good the reading ahead."""
    return DEVICES[device] * measured["epoch"][source]["bytes_per_useful_token"] / 1e6


def needed_cores(measured: dict[str, Any], source: str, device: str) -> float:
    """Processor cores that deliver as many useful tokens as a device takes."""
    return DEVICES[device] / measured["local"][source]["useful_tokens_per_cpu_s"]


def sources_table(measured: dict[str, Any]) -> Table:
    """A row for each source, on local files."""
    rows = []
    for source, epoch in measured["epoch"].items():
        local = measured["local"][source]
        rows.append(
            (
                source,
                f"{local['useful_tokens_per_cpu_s'] / 1e6:.2f}",
                f"{epoch['bytes_per_useful_token']:.2f}",
                f"{100 * epoch['padding']:.2f}",
                f"{100 * epoch['seen']:.2f}",
                f"{epoch['passes_in_the_budget']:.1f}",
                f"{local['memory_mib']:,.0f}",
                f"{local['first_batch_s']:.2f}",
            )
        )
    header = (
        *("source", "M useful tokens per CPU second", "bytes read per useful token", "% padding"),
        *("% of corpus seen", "passes in the budget", "memory, MiB", "first batch, s"),
    )
    note = (
        f"{measured['documents']:,} papers, {measured['corpus_tokens']:,} tokens, "
        f"{measured['corpus_bytes'] / 1e6:.1f} MB of text, T = {measured['sequence_length']}, files in the "
        "page cache. Budget: as many positions as the corpus has tokens. Memory of one process; for JSONL it "
        "grows with the file. Bytes of JSONL: of one pass over its text."
    )
    return Table("io_sources", "What each source delivers", header, rows, (note,))


def devices_table(measured: dict[str, Any]) -> Table:
    """Storage and cores that each device needs, by source."""
    rows = [
        (
            source,
            *(
                f"{needed_mb_per_s(measured, source, device):.3f}" if source in STREAMS else "n/a"
                for device in DEVICES
            ),
            *(f"{needed_cores(measured, source, device):.3f}" for device in DEVICES),
        )
        for source in measured["epoch"]
    ]
    header = ("source", *(f"MB/s, {name}" for name in DEVICES), *(f"cores, {name}" for name in DEVICES))
    speeds = ", ".join(f"{name} {speed:,} tokens/s" for name, speed in DEVICES.items())
    gb = measured["disk"]["projected_gb"]["jsonl"]
    hours = gb * 1e9 / 100e6 / 3600
    note = (
        f"Below so many MB/s, or with fewer cores, the device waits. {speeds}: published for MPT-1b, 1.31 B "
        f"parameters, T = 1,024. JSONL needs no storage after the start, which reads all of it: {gb:,.0f} GB "
        f"for 200 GB of text, {hours:.1f} h at 100 MB/s, in the memory of every process."
    )
    return Table("io_devices", "Storage and cores below which a device starves", header, rows, (note,))


def projected_gb(measured: dict[str, Any]) -> dict[str, float]:
    """GB for 200 GB of text, the stages in their order."""
    gb = measured["disk"]["projected_gb"]
    names = [f"corpus/{stage}" for stage in CORPUS_STAGES if f"corpus/{stage}" in gb]
    return {name: gb[name] for name in [*names, *(name for name in gb if name not in names)]}


def disk_table(measured: dict[str, Any]) -> Table:
    """Bytes of each stage on disk and their projection."""
    disk = measured["disk"]
    rows = [
        (name, f"{size / 1e6:,.2f}", f"{size / disk['text_bytes']:.3f}", f"{gb:,.1f}")
        for name, gb in projected_gb(measured).items()
        for size in [disk["bytes"][name]]
    ]
    header = ("files", "MB", "bytes per byte of text", "GB for 200 GB of text")
    note = f"Measured on {disk['text_bytes'] / 1e6:.1f} MB of finished text; Parquet is compressed with zstd."
    return Table("io_disk", "Bytes on disk", header, rows, (note,))


def draw(measured: dict[str, Any]) -> Figure:
    """Data wait over storage bandwidth, storage that devices need, bytes on disk."""
    style.use("report")
    figure, (wait, need, disk) = style.new_figure(
        "Reading: data wait, storage that devices need, bytes on disk",
        f"{measured['corpus_tokens'] / 1e6:.1f} million tokens of {measured['documents']:,} papers, T = "
        f"{measured['sequence_length']}",
        "Above: share of the time that a consumer as fast as an H100 "
        f"({measured['consumer_tokens_per_s']:,} tokens/s) waits in {measured['steps']} steps, behind a "
        "server with limited bandwidth and latency. Dotted: the bandwidth at which it starves by bytes "
        "alone; the stream can wait earlier, because it needs a whole row group before its first token. "
        "Middle: that bandwidth for each device. Below: files for 200 GB of text, projected.",
        heights_in=(2.0, 1.0, 2.2),
        left_in=1.35,
        share_x=False,
    )
    for source in STREAMS:
        points = sorted(
            (1e-6 * at["bytes_per_s"], 100 * at["sources"][source]["wait_share"])
            for at in measured["throttled"].values()
        )
        wait.plot(*zip(*points, strict=True), label=source, ms=5, **LOOKS[source])
        bandwidth = needed_mb_per_s(measured, source, "H100")
        wait.axvline(bandwidth, color=LOOKS[source]["color"], ls=":", lw=1)
    wait.set_xscale("log")
    wait.set_xlabel("bandwidth of the storage, MB/s")
    wait.set_ylabel("data wait, % of the time")
    wait.set_ylim(0, None)
    wait.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.legend(wait)
    for row, device in enumerate(DEVICES):
        for shift, source in ((-0.2, "tokens"), (0.2, "parquet stream")):
            value = needed_mb_per_s(measured, source, device)
            colour = LOOKS[source]["color"]
            hatch = "" if source == "tokens" else "///"
            need.barh(
                row + shift, value, 0.36, left=0, color=colour, hatch=hatch, edgecolor=style.theme.background
            )
            need.text(value + 0.01, row + shift, f"{value:.2f}", va="center", size=style.points(7.5))
    need.set_yticks(range(len(DEVICES)), list(DEVICES))
    need.invert_yaxis()
    need.margins(x=0.08)
    need.set_xlabel("MB/s below which the device waits")
    need.grid(visible=False, axis="y")
    projected = projected_gb(measured)
    names = [name.removeprefix("corpus/") for name in projected]
    disk.barh(names, list(projected.values()), 0.7, color=style.BLUE)
    for row, value in enumerate(projected.values()):
        disk.text(value + 2, row, f"{value:,.0f}" if value >= 10 else f"{value:.1f}", va="center", size=7.5)
    disk.invert_yaxis()
    disk.margins(x=0.08)
    disk.set_xlabel("GB on disk for 200 GB of text")
    disk.grid(visible=False, axis="y")
    return figure


def main() -> None:
    """Write tables and figure. Raises UserError if nothing was measured."""
    report(__doc__, "io", KEYS, draw, (sources_table, devices_table, disk_table))


if __name__ == "__main__":
    run_main(main)
