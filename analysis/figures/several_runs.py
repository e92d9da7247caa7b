"""Figures of several runs in the same panels: any of them overlaid, and figure 7, the paper's three."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.curves import Smoothing, default_half_life, overall_validation
from analysis.figures.drawing import MARKS, draw, finish
from analysis.figures.words import Logs
from analysis.readers.run_logs import RunLog

MOST_END_LABELS = 5  # more would not fit beside a panel; the legend has the numbers, too


def overlay(logs: Logs, half_life: float | None = None) -> Figure:
    """Training and validation loss of some runs, each with its band over seeds."""
    return _together(logs, half_life, "", (2.6, 2.2))


def overview(logs: Logs, half_life: float | None = None) -> Figure:
    """Figure 7, this project's choice: losses, learning rate and throughput of the paper's runs."""
    figure = _together(logs, half_life, ", rate, speed", (2.1, 1.5, 0.8, 0.8))
    smoothing = Smoothing(half_life or default_half_life(_all(logs)))
    rate, speed = figure.axes[2:]
    for run, seeds in logs.items():
        looks = style.looks(run, logs)
        draw(rate, [log.train for log in seeds], "lr", None, **looks)
        if all(len(log.perf) for log in seeds):
            draw(speed, [log.perf for log in seeds], "tokens_per_s", smoothing, **looks)
    finish(speed, _all(logs), "tokens/s", log=False, marks=False, legend=False)
    finish(rate, _all(logs), "rate", log=False, marks=False, legend=False)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=True)
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(panel.MaxNLocator(2))
    rate.set_xlabel("")
    figure.axes[1].set_xlabel("")
    figure.align_ylabels(figure.axes)
    return figure


def _together(logs: Logs, half_life: float | None, more: str, heights_in: tuple[float, ...]) -> Figure:
    everything = _all(logs)
    smoothing = Smoothing(half_life or default_half_life(everything))
    names = [words.name(run).removeprefix("Run ") for run in logs]
    paper_only = all(words.name(run).startswith("Run ") for run in logs)
    title = (f"Run{'s' if len(logs) > 1 else ''} " if paper_only else "") + ", ".join(names)
    marks = {event for log in everything for event in log.event["event"] if event in MARKS}
    figure, panels = style.new_figure(
        f"{title}: losses{more}",
        words.subtitle(everything, words.n_seeds(logs)),
        words.note(
            words.smoothed(smoothing, everything),
            "Faint: every logged step. Validation is not smoothed. n: number of seeds.",
            words.band(everything),
            words.other_validation(everything),
            words.own(everything),
        ),
        heights_in,
        legend_rows=-(-(len(logs) + len(marks)) // style.LEGEND_COLUMNS),
    )
    ends: dict[Axes, list[tuple[float, str, str]]] = {panels[0]: [], panels[1]: []}
    levels: list[float] = []
    for run, seeds in logs.items():
        looks: dict[str, Any] = style.looks(run, logs)
        train = [log.train for log in seeds]
        label = f"{words.name(run)}, n = {len(seeds)}"
        curve = draw(panels[0], train, "loss_nats", smoothing, raw="_", label=label, **looks)["mean"]
        levels += [float(curve.min()), float(curve.max())]
        ends[panels[0]].append((float(curve.iloc[-1]), f"{curve.iloc[-1]:.3f}", looks["color"]))
        held_out = [overall_validation(log.val) for log in seeds]
        if all(len(frame) for frame in held_out):
            curve = draw(panels[1], held_out, "loss_nats", None, marker="o", ms=2.8, **looks)["mean"]
            ends[panels[1]].append((float(curve.iloc[-1]), f"{curve.iloc[-1]:.3f}", looks["color"]))
    panels[0].set_ylim(min(levels) / 1.1, max(levels) * 1.04)  # a raw spike must not decide the axis
    if not ends[panels[1]]:
        panels[1].text(0.5, 0.5, "no validation logged", transform=panels[1].transAxes, ha="center")
    finish(panels[1], everything, "validation loss", log=bool(ends[panels[1]]), marks=False, legend=False)
    finish(panels[0], everything, f"training {words.LOSS}", legend=False)
    panels[0].set_xlabel("")
    panel.figure_legend(figure, panels[0])
    for axes, labels in ends.items():
        if len(labels) <= MOST_END_LABELS:
            panel.end_labels(axes, labels)
    figure.align_ylabels(panels)
    return figure


def _all(logs: Logs) -> list[RunLog]:
    return [log for seeds in logs.values() for log in seeds]
