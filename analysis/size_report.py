"""What preprocessing the whole of arXiv takes where the corpus is seen as a whole: CPU time, memory, growth.

    python analysis/size_report.py [--measured FILE] [--out DIR]

In: analysis/measurements/size.json, which `make bench-size` writes. Out, in DIR (default: analysis/out/size):
the table size as .md, .csv and .tex, and the figure size.png, .pdf and .json.
"""

import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.measured_report import report
from analysis.table_text import Table
from configs.script import run_main

KEYS = ("sizes", "exponents", "bytes_a_paper")
MOST_GB = 24  # memory of an ordinary node, which the stages must not exceed
LOOKS: dict[str, dict[str, Any]] = {
    "deduplicate": {"color": style.BLUE, "ls": "-", "marker": "o"},
    "split_corpus": {"color": style.VERMILION, "ls": "--", "marker": "s"},
    "train_tokenizer": {"color": style.GREEN, "ls": ":", "marker": "^"},
}


def table(measured: dict[str, Any]) -> Table:
    """A row for each stage and size."""
    rows = []
    for stage in LOOKS:
        steps = ("–", *(f"{step:.2f}" for step in measured["exponents"][stage]["steps"]))
        for size, step in zip(measured["sizes"], steps, strict=True):
            cost = size["stages"][stage]
            rows.append(
                (
                    stage,
                    f"{size['papers']:,}",
                    f"{cost['cpu_s']:,.1f}",
                    f"{1e3 * cost['cpu_s'] / size['papers']:.3f}",
                    f"{cost['peak_mb'] / 1e3:.2f}",
                    step,
                )
            )
    header = ("stage", "papers", "CPU s", "CPU ms a paper", "peak GB", "exponent from the size before")
    fitted = ", ".join(f"{stage} {of['fitted']:.2f}" for stage, of in measured["exponents"].items())
    note = (
        f"Exponents fitted to all sizes: {fitted}. Without what the stages do with every text, which grows "
        "with the bytes. Start included."
    )
    largest = measured["sizes"][-1]
    array = largest["split_corpus_array"]
    in_array = (
        f"split_corpus of {largest['papers']:,} papers as an array of {array['tasks']} tasks: at most "
        f"{max(array['cpu_s']):,.0f} CPU s and {array['peak_mb'] / 1e3:.2f} GB a task, in three rounds."
    )
    return Table("size", "Stages that see the whole corpus, in one process", header, rows, (note, in_array))


def draw(measured: dict[str, Any]) -> Figure:
    """CPU time and peak memory over papers."""
    style.use("report")
    papers = [size["papers"] for size in measured["sizes"]]
    figure, panels = style.new_figure(
        "Deduplication, split and tokenizer sampling up to arXiv's size",
        f"{papers[0]:,} to {papers[-1]:,} made-up papers, all distinct; one process",
        "Grey: growth in proportion to the corpus, from the smallest size on. The number behind a stage is "
        "the exponent of its CPU time over papers, fitted to all sizes. Work on every text is left out: it "
        "grows with the bytes and is spread over workers.",
        heights_in=(2.4, 1.7),
    )
    for axes, key, unit, label in (
        (panels[0], "cpu_s", 1.0, "CPU seconds"),
        (panels[1], "peak_mb", 1e3, "peak memory, GB"),
    ):
        for stage, look in LOOKS.items():
            values = [size["stages"][stage][key] / unit for size in measured["sizes"]]
            name = f"{stage}, {measured['exponents'][stage]['fitted']:.2f}" if key == "cpu_s" else stage
            axes.plot(papers, values, label=name, ms=5, **look)
            if key == "cpu_s":
                proportional = [values[0] * n / papers[0] for n in papers]
                axes.plot(papers, proportional, color=style.theme.faint, lw=1, zorder=1, label="_")
        axes.set_xscale("log")
        panel.log_axis(axes, label)
    panels[1].axhline(MOST_GB, color=style.theme.grey, ls=":", lw=1)
    panels[1].text(papers[0], MOST_GB * 0.9, f"{MOST_GB} GB", va="top", size=style.points(7.5))
    panels[0].legend(loc="upper left")
    panels[1].xaxis.set_major_locator(FixedLocator(papers))
    panels[1].xaxis.set_minor_locator(NullLocator())
    panels[1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panels[1].set_xlabel("papers")
    return figure


def main() -> None:
    """Write table and figure. Raises UserError if nothing was measured."""
    report(__doc__, "size", KEYS, draw, (table,))


if __name__ == "__main__":
    run_main(main)
