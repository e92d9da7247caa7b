"""Figures of what the instruments of a run measured: one function each, from a log to a figure."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import instrument_values as values
from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.curves import Smoothing, over_seeds
from analysis.instrument_values import PARTS
from analysis.readers.run_logs import RunLog

SMOOTHING_SHARE = 0.1  # of a run is the half-life: there are few measurements, and each is noisy
LOOKS = {  # part → colour's and dashes' number; so they differ in grey, too
    "all": 0,
    "embedding": 1,
    "attention": 2,
    "mlp": 3,
    "layer": 0,
}


def smoothing_of(log: RunLog) -> Smoothing:
    """The smoothing of cosines and of the noise scale."""
    return Smoothing(SMOOTHING_SHARE * float(log.train["tokens_seen"].max()))


def look(number: int) -> dict[str, object]:
    """Colour and dashes by number."""
    theme = style.theme
    return {
        "color": theme.colours[number % len(theme.colours)],
        "ls": style.DASHES[number % len(style.DASHES)],
    }


def start(log: RunLog, what: str, note: str, **layout: object) -> tuple[Figure, list[Axes]]:
    """An empty figure about one seed of a run."""
    return style.new_figure(
        f"{words.name(log.run.run)}: {what}",
        f"{words.subtitle([log], seeds='1').rpartition(' · ')[0]} · seed {log.run.seed}",
        words.note(note, words.OWN),
        **layout,  # type: ignore[arg-type]
    )


def tokens_axis(axes: Axes, log: RunLog) -> None:
    """The x axis of a panel over tokens."""
    panel.progress_axis(axes, float(log.train["tokens_seen"].max()))


def cosines(log: RunLog, by: str) -> Figure:
    """Cosines between the gradients of groups over tokens, a panel for each part of the model."""
    rows = values.rows_of(log, "cosine")
    rows = rows[rows["by"] == by]
    pairs, smoothing = values.cosine_pairs(rows), smoothing_of(log)
    fewest, most = int(rows["n_sequences"].min()), int(rows["n_sequences"].max())
    n_sequences = f"{fewest} to {most}" if fewest < most else f"{most}"
    note = (
        f"Cosine of the gradients of {n_sequences} unseen sequences of each group. Grey: the ceiling, the "
        "mean cosine of two halves of a group, from different documents, which noise keeps below 1. Dots: "
        "single measurements. " + words.smoothed(smoothing, [log])
    )
    # Three panels below each other are readable in a paper's column, three side by side are not.
    figure, panels = start(
        log,
        f"gradients by {by}",
        note,
        heights_in=(1.7, 1.7, 1.7),
        legend_rows=-(-(len(pairs) + 1) // style.LEGEND_COLUMNS),
    )
    for axes, part in zip(panels, ("embedding", "attention", "mlp"), strict=True):
        of_part = rows[rows["part"] == part]
        curve = over_seeds([values.ceiling(of_part)], "cosine", smoothing)
        axes.plot(curve["tokens"], curve["mean"], color=style.theme.grey, lw=2.4, alpha=0.7, label="ceiling")
        for number, (a, b) in enumerate(pairs):
            of_pair = of_part[(of_part["group"] == a) & (of_part["other"] == b)]
            curve = over_seeds([of_pair], "cosine", smoothing)
            line = look(number)
            axes.plot(
                of_pair["tokens_seen"],
                of_pair["cosine"],
                "o",
                ms=2,
                alpha=0.5,
                color=line["color"],
                clip_on=False,
            )
            axes.plot(curve["tokens"], curve["mean"], label=f"{a} – {b}", **line)  # type: ignore[arg-type]
        axes.axhline(0, color=style.theme.grey, lw=0.7)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylabel(f"{PARTS[part]}\ncosine")
    tokens_axis(panels[-1], log)
    panel.figure_legend(figure, panels[0])
    return figure


def noise_scale(log: RunLog) -> Figure:
    """The gradient noise scale over tokens, beside the batch and a quarter of it."""
    rows, smoothing = values.rows_of(log, "noise_scale"), smoothing_of(log)
    batch = float(rows["big_tokens"].iloc[-1])
    note = (
        "Noise scale: trace of the covariance of a token's gradient over the square of the mean gradient "
        "(McCandlish et al. 2018). Batches far below it lose no tokens, batches far above it average more "
        "than a step needs. "
        + words.smoothed(smoothing, [log])
        + " Trace and square are smoothed apart; a line has a gap where no signal was found."
    )
    figure, (axes,) = start(log, "gradient noise scale", note, legend_rows=2)
    for part, name in PARTS.items():
        curve = values.noise_scale(rows[rows["part"] == part], smoothing)
        width = style.theme.line_pt * (1.4 if part == "all" else 0.9)
        axes.plot(curve["tokens"], curve["noise_tokens"], label=name, lw=width, **look(LOOKS[part]))  # type: ignore[arg-type]
    for tokens in (batch, batch / 4):
        axes.axhline(tokens, color=style.theme.grey, lw=0.9, ls=(0, (4, 3)))
    drawn = np.concatenate([line.get_ydata() for line in axes.lines]).astype(float)
    axes.set_yscale("log")
    axes.set_ylim(np.nanmin(drawn) / 1.4, np.nanmax(drawn) * 1.4)
    tokens_axis(axes, log)
    panel.log_axis(axes, "noise scale (tokens)")
    grey = style.theme.grey
    panel.end_labels(axes, [(batch, "batch", grey), (batch / 4, "batch ÷ 4", grey)])
    panel.figure_legend(figure, axes)
    return figure


def losses(log: RunLog) -> Figure:
    """Validation loss of formulas and prose over tokens; at the end by frequency and by position."""
    rows = values.rows_of(log, "loss")
    note = (
        "Validation loss over all domains. Formulas: tokens in $…$, \\[…\\] and environments of mathematics. "
        "Deciles: each holds a tenth of the training tokens; 1 the most frequent ones, 10 the rarest."
    ).replace("$", r"\$")
    figure, (over, decile, position) = start(
        log, "what the loss is made of", note, heights_in=(2.0, 1.7, 1.7), share_x=False
    )
    by_text = values.loss_by(rows, "text")
    labels = []
    for number, name in enumerate(("formula", "prose")):
        curve, line = by_text[by_text["group"] == name], look(number)
        axes_line = {**line, "marker": "os"[number], "ms": 3}
        over.plot(curve["tokens_seen"], curve["loss_nats"], **axes_line)  # type: ignore[arg-type]
        last = float(curve["loss_nats"].iloc[-1])
        labels.append((last, f"{name}\n{last:.2f}", str(line["color"])))
    tokens_axis(over, log)
    low, high = over.get_ylim()
    over.set_ylim(0.95 * low, high)
    panel.log_axis(over, "loss\n(nats per token)")
    panel.end_labels(over, labels, lines=2)
    for axes, by, label in (
        (decile, "frequency_decile", "decile of token frequency"),
        (position, "position", "position in the window"),
    ):
        last_rows = values.last_of(values.loss_by(rows, by))
        names = list(last_rows["group"])
        if by == "frequency_decile":
            last_rows = last_rows.sort_values("group", key=lambda column: column.astype(int))
            names = list(last_rows["group"])
        places = np.arange(len(names))
        axes.plot(places, last_rows["loss_nats"], marker="o", ms=3.5, **look(0))  # type: ignore[arg-type]
        axes.set_xticks(places, [name.split("-")[0] + ("–" if "-" in name else "") for name in names])
        axes.set_ylim(0, 1.1 * float(last_rows["loss_nats"].max()))
        axes.set_ylabel("loss\n(nats per token)")
        axes.set_xlabel(label)
    return figure


def norms(log: RunLog) -> Figure:
    """Norms of weights, of updates and of activations over tokens: mean over layers, band of all layers."""
    rows = values.rows_of(log, "norm")
    note = (
        "Line: mean over the layers; band: lowest to highest layer. Weights: L2 norm. Update: L2 norm of a "
        "step's change over that of the weights. Activations: root mean square of the output."
    )
    figure, panels = start(log, "norms by layer", note, heights_in=(1.7, 1.7, 1.7), legend_rows=2)
    columns = (
        ("weight_norm", "weights", ("embedding", "attention", "mlp")),
        ("update_ratio", "update ÷ weights", ("embedding", "attention", "mlp")),
        ("activation_rms", "activations", ("embedding", "attention", "mlp", "layer")),
    )
    names = {**PARTS, "layer": "layer's output"}
    for axes, (column, label, parts) in zip(panels, columns, strict=True):
        for part in parts:
            curve, line = values.norms(rows, part, column), look(LOOKS[part])
            axes.fill_between(
                curve["tokens"], curve["low"], curve["high"], color=str(line["color"]), alpha=0.15, lw=0
            )
            axes.plot(curve["tokens"], curve["mean"], label=names[part], **line)  # type: ignore[arg-type]
        panel.log_axis(axes, label)
    tokens_axis(panels[-1], log)
    panel.figure_legend(figure, panels[-1])
    return figure


def energy(log: RunLog) -> Figure:
    """Power over tokens, and energy since the beginning."""
    frame: pd.DataFrame = values.energy(log)
    note = (
        "Power of all GPUs: that of the main process's GPU, read every few steps, times the processes. "
        "Energy: the power over the time of the log, with validation and checkpoints."
    )
    figure, (upper, lower) = start(log, "power and energy", note, heights_in=(1.6, 1.8))
    upper.plot(frame["tokens"], frame["watts"], **look(0))  # type: ignore[arg-type]
    upper.set_ylim(bottom=0)
    upper.set_ylabel("power (W)")
    lower.plot(frame["tokens"], frame["kwh"], **look(1))  # type: ignore[arg-type]
    lower.set_ylim(bottom=0)
    lower.set_ylabel("energy (kWh)")
    tokens_axis(lower, log)
    last = float(frame["kwh"].iloc[-1])
    panel.end_labels(lower, [(last, f"{last:.3g}", str(look(1)["color"]))])
    return figure


DRAWN: dict[str, Callable[[RunLog], Figure]] = {
    "noise_scale": noise_scale,
    "loss": losses,
    "norm": norms,
}
