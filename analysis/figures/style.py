"""How every figure of this project looks: sizes, type, colours, axes in tokens, PNG and PDF alike."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

INK, GREY, FAINT = "#222222", "#6b6b6b", "#d9d9d9"

# Okabe & Ito (2008): told apart with every kind of colour blindness.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY = "#E69F00", "#56B4E9"
RUN_COLOURS = {"run20": BLUE, "run23": VERMILION, "run24": GREEN}
# In grey the three colours are nearly one: dashes tell the runs apart where several stand in one panel.
RUN_DASHES = {"run20": "-", "run23": "--", "run24": ":"}

WIDTH_IN = 6.8  # a text column and a half: legible when a page shows it at two thirds
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.72, 0.78, 0.72, 0.66  # right: room for labels at the ends of lines
ROW_GAP_IN, NOTE_LINE_IN, NOTE_CHARACTERS, LEGEND_ROW_IN = 0.22, 0.13, 130, 0.16
LEGEND_COLUMNS = 2

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ebebeb",
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text stays text: searchable, editable
}


def new_figure(
    title: str,
    subtitle: str,
    note: str,
    heights_in: Iterable[float] = (2.9,),
    columns: int = 1,
    left_in: float = LEFT_IN,
    right_in: float = RIGHT_IN,
    gap: float = 0.5,
    legend_rows: int = 0,
) -> tuple[Figure, list[Axes]]:
    """A titled figure and its panels, top to bottom (`heights_in`) or left to right (`columns`).

    `gap`: between panels side by side, in widths of a panel. `legend_rows`: room for `figure_legend`.
    """
    heights = list(heights_in)
    note_lines = [line for part in note.split("\n") for line in wrap(part, NOTE_CHARACTERS)]
    bottom = BOTTOM_IN + NOTE_LINE_IN * len(note_lines)
    top = TOP_IN + LEGEND_ROW_IN * legend_rows
    height = top + sum(heights) + ROW_GAP_IN * (len(heights) - 1) + bottom
    with mpl.rc_context(RC):
        figure = Figure(figsize=(WIDTH_IN, height))
        grid = figure.add_gridspec(
            len(heights),
            columns,
            height_ratios=heights,
            left=left_in / WIDTH_IN,
            right=1 - right_in / WIDTH_IN,
            top=1 - top / height,
            bottom=bottom / height,
            hspace=ROW_GAP_IN / (sum(heights) / len(heights)),
            wspace=gap,
        )
        axes: list[Axes] = []
        for row in range(len(heights)):
            for column in range(columns):
                share = axes[0] if columns == 1 and axes else None
                axes.append(figure.add_subplot(grid[row, column], sharex=share))
    for upper in axes[:-1] if columns == 1 else []:
        upper.tick_params(axis="x", labelbottom=False)
    x = 0.12 / WIDTH_IN
    figure.text(x, 1 - 0.12 / height, title, size=12, weight="bold", color=INK, va="top")
    figure.text(x, 1 - 0.36 / height, subtitle, size=9, color=GREY, va="top")
    figure.text(x, 0.1 / height, "\n".join(note_lines), size=7, color=GREY, va="bottom", linespacing=1.35)
    return figure, axes


def tokens_axis(axes: Axes, most_tokens: float) -> None:
    """The x axis in tokens seen, from 0 to `most_tokens`, in the unit that keeps its numbers short."""
    units = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"), (1.0, "single ones"))
    unit, name = next(((unit, name) for unit, name in units if most_tokens >= unit), units[-1])
    axes.set_xlim(0, most_tokens)
    axes.xaxis.set_major_locator(MaxNLocator(6 if axes.get_position().width > 0.5 else 4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: f"{tokens / unit:g}"))
    axes.set_xlabel(f"tokens seen ({name})")


# Numbers to name between the powers of ten, by how far the axis reaches: the narrower, the more.
NAMED = (
    (4.0, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8, 9)),
    (12.0, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (300.0, (1, 2, 5)),
    (float("inf"), (1,)),
)


def log_axis(axes: Axes, label: str) -> None:
    """A logarithmic y axis with plain numbers: the long tail of a loss shows beside its first fall."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    named = next(numbers for reach, numbers in NAMED if high / low < reach)
    axes.yaxis.set_major_locator(LogLocator(subs=named, numticks=30))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(label)


def legend(axes: Axes, above: bool = False) -> None:
    """A legend in the upper right corner, where a falling curve leaves room, or in a row above the panel."""
    if axes.get_legend_handles_labels()[0]:
        with mpl.rc_context(RC):
            if above:
                axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handlelength=0.9)
            else:
                axes.legend(loc="upper right", borderaxespad=0.2, handlelength=1.6)


def figure_legend(figure: Figure, axes: Axes, columns: int = LEGEND_COLUMNS) -> None:
    """The legend of one panel in rows below the subtitle, for all panels of a figure."""
    handles, labels = axes.get_legend_handles_labels()
    with mpl.rc_context(RC):
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.06 / WIDTH_IN, 1 - 0.55 / figure.get_size_inches()[1]),
            ncols=columns,
            handlelength=2.4,
            columnspacing=1.6,
            borderaxespad=0,
            labelspacing=0.25,
        )


def end_labels(axes: Axes, labels: Iterable[tuple[float, str, str]], lines: int = 1) -> None:
    """Texts (y in data units, text, colour) at the right border, moved apart where they would overlap.

    To be called last: it relies on the limits of both axes. `lines`: lines of text in the tallest label.
    """
    size_pt = 8.5
    height_pt = axes.get_window_extent().height * 72 / axes.figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = float("-inf")
    step = 1.25 * lines * size_pt / height_pt
    for y, text, colour in sorted(labels):
        at = max(float(to_axes.transform((axes.get_xlim()[1], y))[1]), placed + step)
        axes.annotate(
            text,
            (1.0, at),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            size=size_pt,
            va="center",
            linespacing=1.05,
        )
        placed = at


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.pdf, free of dates so that the same data gives the same bytes."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    with mpl.rc_context(RC):
        for file in files:
            figure.savefig(file, metadata={"CreationDate": None} if file.suffix == ".pdf" else None)
    return files
