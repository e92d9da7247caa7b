"""Figure 4: training and validation loss of one run, by domain, and what the gap between them is made of."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.curves import (
    Smoothing,
    at_validation_weights,
    default_half_life,
    over_seeds,
    overall_validation,
)
from analysis.figures.drawing import MARKS, draw, finish
from analysis.figures.one_run import AXIS_MARGIN, start
from analysis.readers.run_logs import RunLog

PAPER_FINAL_VALIDATION_NATS = 1.438  # arXiv 2602.17288, Run 20; comparable with scale full alone


def validation(logs: list[RunLog], half_life: float | None = None) -> Figure:
    """Figure 4: training and validation loss of the final run, over all text and for each domain."""
    domains = [
        domain for domain in sorted({name for log in logs for name in log.domains}) if shown(logs, domain)
    ]
    smoothing = Smoothing(half_life or default_half_life(logs))
    note = words.note(
        "Validation uses the same text every time; its curve is not smoothed.",
        gap_in_words(logs, smoothing),
        words.smoothed(smoothing, logs).replace("Smoothed:", "Training smoothed:"),
    )
    heights_in = (2.1,) * math.ceil((1 + len(domains)) / 2)
    columns = 2 if domains else 1
    n_marks = len({event for log in logs for event in log.event["event"] if event in MARKS})
    legend_rows = math.ceil((4 + n_marks) / style.LEGEND_COLUMNS)  # 4: the curves of the first panel
    figure, panels = start(logs, "training and validation loss", note, heights_in, columns, legend_rows)
    colour = style.looks(logs[0].run.run)["color"]
    train = [log.train for log in logs]
    points: dict[str, Any] = {"marker": "o", "ms": 2.8, "lw": 1.2, "markevery": 0.05}
    labels: dict[Axes, list[tuple[float, str, str]]] = {}
    values: list[pd.Series] = []
    for axes, domain in zip(panels, ["all", *domains], strict=False):
        column = "loss_nats" if domain == "all" else f"loss_nats/{domain}"
        held_out = [
            overall_validation(log.val) if domain == "all" else log.val[log.val["domain"] == domain]
            for log in logs
        ]
        ends = []
        if all(column in frame for frame in train):
            curve = draw(
                axes,
                train,
                column,
                smoothing,
                raw=f"training, {words.RAW}",
                label="training, smoothed",
                color=colour,
            )
            values.append(curve["mean"])
            ends.append((float(curve["mean"].iloc[-1]), f"{curve['mean'].iloc[-1]:.3f}", colour))
        if domain == "all" and (weighted := at_validation_weights(logs, smoothing)):
            label = "training, at validation's shares"
            draw(axes, weighted, "loss_nats", None, color=colour, lw=1.2, ls=(0, (3, 1.5)), label=label)
        if all(len(frame) for frame in held_out):
            curve = draw(
                axes, held_out, "loss_nats", None, color=style.theme.ink, label="validation", **points
            )
            values.append(curve["mean"])
            ends.append((float(curve["mean"].iloc[-1]), f"{curve['mean'].iloc[-1]:.3f}", style.theme.ink))
        labels[axes] = ends
    if logs[0].run.scale == "full":
        mark_paper(panels[0])
    everything = pd.concat(values)  # a single unsmoothed step must not decide the axis
    for number, (axes, ends) in enumerate(labels.items()):
        axes.set_ylim(everything.min() / 1.15, everything.max() * AXIS_MARGIN)
        finish(axes, logs, words.LOSS if number % columns == 0 else "", marks=number == 0, legend=False)
        if number + columns < len(labels):
            axes.set_xlabel("")
            axes.tick_params(axis="x", labelbottom=False)
        title = ["all domains", *domains][number]
        axes.text(
            0.97,
            0.95,
            title,
            transform=axes.transAxes,
            ha="right",
            va="top",
            weight="bold",
            size=style.points(9),
        )
        panel.end_labels(axes, ends)
    for axes in panels[len(labels) :]:
        axes.remove()
    panel.figure_legend(figure, panels[0])
    return figure


def shown(logs: Sequence[RunLog], domain: str) -> bool:
    """Whether all logs hold a domain's training loss or all its validation loss."""
    return all(f"loss_nats/{domain}" in log.train for log in logs) or all(
        (log.val["domain"] == domain).any() for log in logs
    )


def mark_paper(axes: Axes) -> None:
    """The paper's final validation loss as a dashed line."""
    axes.axhline(PAPER_FINAL_VALIDATION_NATS, color=style.theme.grey, lw=0.8, ls=(0, (4, 3)))
    axes.annotate(
        f"paper: {PAPER_FINAL_VALIDATION_NATS} at the end",
        (0.02, PAPER_FINAL_VALIDATION_NATS),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, -9),
        textcoords="offset points",
        size=style.points(7.5),
        color=style.theme.grey,
    )


def gap_in_words(logs: Sequence[RunLog], smoothing: Smoothing) -> str:
    """How far validation ends above training, and how much of that the domains' shares explain."""
    weighted = at_validation_weights(logs, smoothing)
    if not weighted:
        return ""
    ends = [
        (
            float(over_seeds([log.train], "loss_nats", smoothing)["mean"].iloc[-1]),
            float(like["loss_nats"].iloc[-1]),
            float(overall_validation(log.val)["loss_nats"].iloc[-1]),
        )
        for log, like in zip(logs, weighted, strict=True)
    ]
    trained, like_validation, held_out = np.mean(ends, axis=0)
    return (
        f"Validation minus training at the end: {held_out - trained:+.2f} nats. "
        f"{like_validation - trained:+.2f} of it because training holds the domains in other shares than the "
        f"validation set (dashed: training loss at the validation set's shares of domains); "
        f"{held_out - like_validation:+.2f} within the domains."
    )
