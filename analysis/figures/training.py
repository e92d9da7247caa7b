"""The figures about training runs, each a function from run logs to a matplotlib figure.

analysis/plot_runs.py finds the logs, calls these and writes the files.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.curves import (
    MARKS,
    at_validation_weights,
    clip_threshold,
    draw,
    draw_marks,
    overall_validation,
    smooth,
    window,
)
from analysis.readers.run_logs import RunLog

RUNS = {  # in the order of the paper's figures 1, 2, 3
    "run24": "a tenth of the data, constant rate",
    "run23": "all data, constant rate",
    "run20": "all data, cosine rate: the final recipe",
}
PAPER_FINAL_VALIDATION_NATS = 1.438  # arXiv 2602.17288, Run 20; comparable with scale full alone
OWN = "This project's own run, not the paper's curve."
LOSS = "loss (nats per token)"
AXIS_MARGIN = 1.04  # above the highest and below the lowest loss of an axis that several figures share
REPEATS = 1.5  # passes over the data from which a run is said to repeat it
MOST_PASS_LINES = 30  # more of them would fill the panel
RAW = "every logged step"

Logs = dict[str, list[RunLog]]  # run → its seeds


def training_loss(logs: list[RunLog], beside: Sequence[RunLog] = ()) -> Figure:
    """Figures 1 to 3: the training loss of one run over tokens.

    beside: logs of the runs in the figures next to this one; all get the same axes and can be compared.
    """
    figure, (axes,) = start(logs, "training loss", passes(logs))
    colour = style.RUN_COLOURS.get(logs[0].run.run, style.BLUE)
    train = [log.train for log in logs]
    curve = draw(axes, train, "loss_nats", colour, raw=RAW, label=averaged("mean", logs))
    draw_passes(axes, logs)
    draw_marks(axes, logs)
    low, high = loss_range([*logs, *beside])
    axes.set_ylim(low / AXIS_MARGIN, high * AXIS_MARGIN)
    finish(axes, [*logs, *beside], f"training {LOSS}", marks=False)
    last = float(curve["mean"].iloc[-1])
    style.end_labels(axes, [(last, f"{last:.3f}", colour)])
    return figure


def loss_range(logs: Sequence[RunLog]) -> tuple[float, float]:
    """Lowest and highest training loss (nats per token) of some runs, without the steps a guard skipped."""
    losses = pd.concat([log.train.loc[log.train["skipped"] != 1, "loss_nats"] for log in logs])
    finite = losses[np.isfinite(losses)]
    return float(finite.min()), float(finite.max())


def draw_passes(axes: Axes, logs: Sequence[RunLog]) -> None:
    """A vertical line wherever a run that repeats its data begins another pass over it."""
    n_passes = passes_over_data(logs)
    if REPEATS <= n_passes <= MOST_PASS_LINES:
        tokens_a_pass = float(logs[0].train["tokens_seen"].max()) / n_passes
        for number in range(1, round(n_passes)):
            label = "a new pass over the data" if number == 1 else "_"
            axes.axvline(
                number * tokens_a_pass, color=style.GREY, lw=0.8, ls=(0, (1, 2)), zorder=1, label=label
            )


def validation(logs: list[RunLog]) -> Figure:
    """Figure 4: training and validation loss of the final run, over all text and for each domain."""
    domains = [
        domain for domain in sorted({name for log in logs for name in log.domains}) if shown(logs, domain)
    ]
    note = f"Validation uses the same text every time; its curve is not smoothed. {gap_in_words(logs)}"
    heights_in = (2.1,) * math.ceil((1 + len(domains)) / 2)
    columns = 2 if domains else 1
    n_marks = len({event for log in logs for event in log.event["event"] if event in MARKS})
    legend_rows = math.ceil((4 + n_marks) / style.LEGEND_COLUMNS)  # 4: the curves of the first panel
    figure, panels = start(logs, "training and validation loss", note, heights_in, columns, legend_rows)
    colour = style.RUN_COLOURS.get(logs[0].run.run, style.BLUE)
    train = [log.train for log in logs]
    smoothed = f"training, {averaged('mean', logs)}"
    points: dict[str, Any] = {"marker": "o", "ms": 2.8, "lw": 1.2, "smoothing": None, "markevery": 0.05}
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
            curve = draw(axes, train, column, colour, raw=f"training, {RAW}", label=smoothed)
            values.append(curve["mean"])
            ends.append((float(curve["mean"].iloc[-1]), f"train {curve['mean'].iloc[-1]:.3f}", colour))
        if domain == "all" and (weighted := at_validation_weights(logs)):
            label = "training, domains weighted as in validation"
            draw(axes, weighted, "loss_nats", colour, None, lw=1.2, ls=(0, (3, 1.5)), label=label)
        if all(len(frame) for frame in held_out):
            curve = draw(axes, held_out, "loss_nats", style.INK, label="validation", **points)
            values.append(curve["mean"])
            ends.append((float(curve["mean"].iloc[-1]), f"val {curve['mean'].iloc[-1]:.3f}", style.INK))
        labels[axes] = ends
    if logs[0].run.scale == "full":
        mark_paper(panels[0])
    everything = pd.concat(values)  # a single unsmoothed step must not decide the axis
    for number, (axes, ends) in enumerate(labels.items()):
        axes.set_ylim(everything.min() / 1.15, everything.max() * AXIS_MARGIN)
        finish(axes, logs, LOSS if number % columns == 0 else "", marks=number == 0, legend=False)
        if number + columns < len(labels):
            axes.set_xlabel("")
            axes.tick_params(axis="x", labelbottom=False)
        title = ["all domains", *domains][number]
        axes.text(0.97, 0.95, title, transform=axes.transAxes, ha="right", va="top", weight="bold", size=9)
        style.end_labels(axes, ends)
    for axes in panels[len(labels) :]:
        axes.remove()
    style.figure_legend(figure, panels[0])
    return figure


def shown(logs: Sequence[RunLog], domain: str) -> bool:
    """Whether all logs hold a domain's training loss or all its validation loss."""
    return all(f"loss_nats/{domain}" in log.train for log in logs) or all(
        (log.val["domain"] == domain).any() for log in logs
    )


def mark_paper(axes: Axes) -> None:
    """The paper's final validation loss as a dashed line."""
    axes.axhline(PAPER_FINAL_VALIDATION_NATS, color=style.GREY, lw=0.8, ls=(0, (4, 3)))
    axes.annotate(
        f"paper: {PAPER_FINAL_VALIDATION_NATS} at the end",
        (0.02, PAPER_FINAL_VALIDATION_NATS),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, -9),
        textcoords="offset points",
        size=7.5,
        color=style.GREY,
    )


def gap_in_words(logs: Sequence[RunLog]) -> str:
    """How far validation ends above training, and how much of that the domains' shares explain."""
    weighted = at_validation_weights(logs)
    if not weighted:
        return ""
    ends = [
        (
            float(smooth(log.train["loss_nats"]).iloc[-1]),
            float(like["loss_nats"].iloc[-1]),
            float(overall_validation(log.val)["loss_nats"].iloc[-1]),
        )
        for log, like in zip(logs, weighted, strict=True)
    ]
    trained, like_validation, held_out = np.mean(ends, axis=0)
    return (
        f"Validation minus training at the end: {held_out - trained:+.2f} nats. "
        f"{like_validation - trained:+.2f} of it because training holds the domains in other shares than the "
        f"validation set (dashed: training loss at the validation set's shares); "
        f"{held_out - like_validation:+.2f} within the domains."
    )


def gradient_norm(logs: list[RunLog]) -> Figure:
    """Figure 5: gradient norm before clipping, and how often it was clipped."""
    note = "Before clipping. Shaded: warm-up, until the learning rate peaks."
    figure, (upper, lower) = start(logs, "gradient norm", note, heights_in=(2.6, 0.8))
    colour = style.RUN_COLOURS.get(logs[0].run.run, style.BLUE)
    train = [log.train for log in logs]
    label = averaged("median", logs)
    curve = draw(upper, train, "grad_norm", colour, smoothing="median", raw=RAW, label=label)
    clipped = [frame.assign(percent=100.0 * frame["clipped"].astype(float)) for frame in train]
    draw(lower, clipped, "percent", colour)
    warm_up_tokens = train[0]["tokens_seen"].iloc[train[0]["lr"].argmax()]
    for axes in (upper, lower):
        axes.axvspan(0, warm_up_tokens, color=style.FAINT, alpha=0.5, lw=0, zorder=0)
    finish(lower, logs, "clipped\n(% of steps)", log=False, marks=False, legend=False)
    lower.set_ylim(-4, 104)
    if clip := clip_threshold(logs):
        upper.axhline(clip, color=style.GREY, lw=0.8, ls=(0, (4, 3)), label=f"clipped above {clip:g}")
    finish(upper, logs, "gradient norm (L2)")
    upper.set_xlabel("")
    last = float(curve["mean"].iloc[-1])
    style.end_labels(upper, [(last, f"{last:.2f}", colour)])
    return figure


def together(logs: Logs) -> Figure:
    """Figure 6, our own choice: the runs' training and validation loss, learning rate and throughput."""
    everything = [log for seeds in logs.values() for log in seeds]
    title = ", ".join(name(run).removeprefix("Run ") for run in logs)
    figure, panels = style.new_figure(
        f"Run{'s' if len(logs) > 1 else ''} {title}: losses, learning rate, throughput",
        subtitle(everything, seeds="–".join(map(str, sorted({len(seeds) for seeds in logs.values()})))),
        f"Loss: {averaged('mean', everything)} steps, throughput smoothed alike; validation is not smoothed. "
        f"{band(everything)}The paper's sixth figure has no name: this choice is ours. {OWN}",
        heights_in=(2.1, 1.5, 0.8, 0.8),
    )
    losses, validations = [], []
    for run, seeds in logs.items():
        colour = style.RUN_COLOURS.get(run, style.GREY)
        dashes = style.RUN_DASHES.get(run, "-")
        train = [log.train for log in seeds]
        held_out = [overall_validation(log.val) for log in seeds]
        last = float(draw(panels[0], train, "loss_nats", colour, ls=dashes)["mean"].iloc[-1])
        losses.append((last, f"{name(run)}\n{last:.3f}", colour))
        if all(len(frame) for frame in held_out):
            curve = draw(panels[1], held_out, "loss_nats", colour, None, ls=dashes, marker="o", ms=2.8)
            validations.append((float(curve["mean"].iloc[-1]), f"{curve['mean'].iloc[-1]:.3f}", colour))
        draw(panels[2], train, "lr", colour, smoothing=None, ls=dashes)
        draw(panels[3], [log.perf for log in seeds], "tokens_per_s", colour, ls=dashes)
    finish(panels[3], everything, "tokens/s", log=False, marks=False)
    finish(panels[2], everything, "learning rate", log=False, marks=False)
    finish(panels[1], everything, "validation loss", log=bool(validations), marks=False)
    finish(panels[0], everything, f"training {LOSS}")
    panels[2].ticklabel_format(axis="y", style="sci", scilimits=(-4, 4), useMathText=True)
    for axes in panels[2:]:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(style.MaxNLocator(3))
    for axes in panels[:3]:
        axes.set_xlabel("")
    style.end_labels(panels[0], losses, lines=2)
    style.end_labels(panels[1], validations)
    figure.align_ylabels(panels)
    return figure


def passes_over_data(logs: Sequence[RunLog]) -> float:
    """How often a run goes over its data, from its header; 1 where an old log does not say."""
    unique = sum((logs[0].header.get("unique_tokens") or {}).values())
    return float(logs[0].train["tokens_seen"].max()) / unique if unique else 1.0


def passes(logs: Sequence[RunLog]) -> str:
    """A sentence on a run that repeats its data, whose loss falls in steps; empty for another."""
    n_passes = passes_over_data(logs)
    if n_passes < REPEATS:
        return ""
    return (
        f"The run goes over the same data {n_passes:.0f} times, so its loss falls in steps: what a pass "
        "teaches about a text shows when that text comes round again."
    )


def name(run: str) -> str:
    """`run20` as `Run 20`."""
    return f"Run {run.removeprefix('run')}"


def subtitle(logs: Sequence[RunLog], seeds: str) -> str:
    """Scale, size, length and number of seeds of what a figure shows."""
    parameters = logs[0].header.get("params_total")
    tokens = max(log.train["tokens_seen"].max() for log in logs)
    parts = [f"scale {logs[0].run.scale}"]
    parts += [f"{short(parameters)} parameters"] if parameters else []
    parts += [f"{short(tokens)} tokens", f"{seeds} seed{'' if seeds == '1' else 's'}"]
    return " · ".join(parts)


def short(count: float) -> str:
    """A count with its unit: 1358006272 as `1.36 B`."""
    for unit, letter in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"


def averaged(how: str, logs: Sequence[RunLog]) -> str:
    """What the legend calls a smoothed line."""
    return f"running {how} of {window(max(len(log.train) for log in logs))}"


def band(logs: Sequence[RunLog]) -> str:
    """A sentence on the band for a figure with several seeds."""
    return (
        "Line: mean of the seeds; band: lowest to highest. "
        if len({log.run.seed for log in logs}) > 1
        else ""
    )


def start(
    logs: list[RunLog],
    what: str,
    note: str = "",
    heights_in: Sequence[float] = (2.9,),
    columns: int = 1,
    legend_rows: int = 0,
) -> tuple[Figure, list[Axes]]:
    """An empty figure about one run, titled and annotated."""
    run = logs[0].run.run
    about = f" · {RUNS[run]}" if run in RUNS else ""
    return style.new_figure(
        f"{name(run)}: {what}",
        subtitle(logs, seeds=str(len(logs))) + about,
        f"{note} {band(logs)}{OWN}".strip(),
        heights_in,
        columns,
        legend_rows=legend_rows,
    )


def finish(
    axes: Axes, logs: Sequence[RunLog], label: str, log: bool = True, marks: bool = True, legend: bool = True
) -> None:
    """Axes, marks and legend of a panel whose curves are drawn."""
    style.tokens_axis(axes, max(float(entry.train["tokens_seen"].max()) for entry in logs))
    if log:
        style.log_axis(axes, label)
    else:
        axes.set_ylabel(label)
    if marks:
        draw_marks(axes, logs)
    if legend:
        style.legend(axes)
