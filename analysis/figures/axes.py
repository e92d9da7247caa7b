"""Axes, legends and labels of a panel whose curves are drawn."""

from collections.abc import Iterable

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from analysis.figures import style

LABEL_PT = 8.5


def progress_axis(axes: Axes, most: float, what: str = "tokens seen") -> None:
    """The x axis from 0 to `most` tokens (or steps), in the unit that keeps its numbers short."""
    units = ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)"), (1.0, ""))
    unit, name = next(((unit, name) for unit, name in units if most >= unit), units[-1])
    axes.set_xlim(0, most)
    axes.xaxis.set_major_locator(MaxNLocator(6 if axes.get_position().width > 0.5 else 4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}"))
    axes.set_xlabel(what + name)


# Numbers to name between the powers of ten, by how far the axis reaches: the narrower, the more.
NAMED = (
    (1.25, tuple(one / 20 for one in range(20, 200))),
    (1.7, (*(one / 10 for one in range(10, 30)), *(one / 4 for one in range(12, 40)))),
    (4.0, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8, 9)),
    (12.0, (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (300.0, (1, 2, 5)),
    (float("inf"), (1,)),
)
LINE_IN = 0.16  # height of a line of type: the numbers of an axis do not overlap


def log_axis(axes: Axes, label: str) -> None:
    """A logarithmic y axis with plain numbers: the long tail of a loss shows beside its first fall."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    height_in = axes.get_window_extent().height / axes.figure.dpi
    room = max(2, height_in / (LINE_IN * style.theme.scale))
    fitting = (numbers for reach, numbers in NAMED if high / low < reach)
    named: tuple[float, ...] = next((n for n in fitting if _count(n, low, high) <= room), (1,))
    axes.yaxis.set_major_locator(LogLocator(subs=named, numticks=100))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(label)


def _count(numbers: Iterable[float], low: float, high: float) -> int:
    """How many of the numbers, times any power of ten, lie on an axis."""
    powers = [10.0**power for power in range(-9, 10)]
    return sum(low <= number * power <= high for number in set(numbers) for power in powers)


def legend(axes: Axes, above: bool = False) -> None:
    """A legend in the upper right corner, where a falling curve leaves room, or in a row above the panel."""
    if axes.get_legend_handles_labels()[0]:
        with mpl.rc_context(style.rc()):
            if above:
                axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handlelength=0.9)
            else:
                axes.legend(loc="upper right", borderaxespad=0.2, handlelength=1.6)


def figure_legend(figure: Figure, axes: Axes, columns: int = style.LEGEND_COLUMNS) -> None:
    """The legend of one panel in rows below the subtitle, for all panels of a figure."""
    handles, labels = axes.get_legend_handles_labels()
    lines_of_subtitle = sum(text.get_text().count("\n") for text in figure.texts[:2])
    below_in = style.theme.scale * (0.57 + 0.17 * lines_of_subtitle)
    with mpl.rc_context(style.rc()):
        figure.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(0.06 / style.WIDTH_IN, 1 - below_in / figure.get_size_inches()[1]),
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
    size_pt = style.points(LABEL_PT)
    height_pt = axes.get_window_extent().height * 72 / axes.figure.dpi
    to_axes = axes.transData + axes.transAxes.inverted()
    step = 1.25 * lines * size_pt / height_pt
    ordered = sorted(labels)
    places: list[float] = []
    for y, _, _ in ordered:
        at = float(to_axes.transform((axes.get_xlim()[1], y))[1])
        places.append(max(at, places[-1] + step) if places else at)
    # What was pushed above the panel comes down again, and pushes the labels below it.
    ceiling = max(1.0, float(to_axes.transform((0, ordered[-1][0]))[1])) if ordered else 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - step
    for (_, text, colour), at in zip(ordered, places, strict=True):
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
