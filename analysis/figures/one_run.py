"""Figures about the training of one run: its loss (1 to 3) and its gradient norm (5)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.curves import Smoothing, clip_threshold, default_half_life
from analysis.figures.drawing import draw, draw_marks, finish
from analysis.readers.run_logs import RunLog

AXIS_MARGIN = 1.04  # above the highest and below the lowest loss of an axis that several figures share
MOST_PASS_LINES = 30  # more of them would fill the panel


def start(
    logs: list[RunLog],
    what: str,
    note: str,
    heights_in: Sequence[float] = (2.9,),
    columns: int = 1,
    legend_rows: int = 0,
) -> tuple[Figure, list[Axes]]:
    """An empty figure about one run, titled and annotated."""
    run = logs[0].run.run
    about = f" · {words.RUNS[run]}" if run in words.RUNS else ""
    return style.new_figure(
        f"{words.name(run)}: {what}",
        words.subtitle(logs, seeds=str(len(logs))) + about,
        words.note(note, words.band(logs), words.other_validation(logs), words.own(logs)),
        heights_in,
        columns,
        legend_rows=legend_rows,
    )


def training_loss(
    logs: list[RunLog], beside: Sequence[RunLog] = (), half_life: float | None = None
) -> Figure:
    """Figures 1 to 3: the training loss of one run over tokens.

    beside: logs of the runs in the figures next to this one; all get the same axes and can be compared.
    """
    smoothing = Smoothing(half_life or default_half_life(logs))
    note = words.note(words.passes(logs), words.smoothed(smoothing, logs))
    figure, (axes,) = start(logs, "training loss", note)
    looks = style.looks(logs[0].run.run) | {"ls": "-"}
    train = [log.train for log in logs]
    curve = draw(axes, train, "loss_nats", smoothing, raw=words.RAW, label="smoothed", **looks)
    draw_passes(axes, logs)
    draw_marks(axes, logs)
    low, high = loss_range([*logs, *beside])
    axes.set_ylim(low / AXIS_MARGIN, high * AXIS_MARGIN)
    finish(axes, [*logs, *beside], f"training {words.LOSS}", marks=False)
    last = float(curve["mean"].iloc[-1])
    panel.end_labels(axes, [(last, f"{last:.3f}", looks["color"])])
    return figure


def loss_range(logs: Sequence[RunLog]) -> tuple[float, float]:
    """Lowest and highest training loss (nats per token) of some runs, without the steps a guard skipped."""
    lowest, highest = np.inf, -np.inf
    for log in logs:
        loss = log.train["loss_nats"].to_numpy(float)
        trained = loss[np.isfinite(loss) & (log.train["skipped"] != 1).to_numpy()]
        lowest, highest = min(lowest, trained.min()), max(highest, trained.max())
    return float(lowest), float(highest)


def draw_passes(axes: Axes, logs: Sequence[RunLog]) -> None:
    """A vertical line wherever a run that repeats its data begins another pass over it."""
    n_passes = words.passes_over_data(logs)
    if words.REPEATS <= n_passes <= MOST_PASS_LINES:
        tokens_a_pass = float(logs[0].train["tokens_seen"].max()) / n_passes
        for number in range(1, round(n_passes)):
            label = "a new pass over the data" if number == 1 else "_"
            axes.axvline(
                number * tokens_a_pass, color=style.theme.grey, lw=0.8, ls=(0, (1, 2)), zorder=1, label=label
            )


def gradient_norm(logs: list[RunLog], half_life: float | None = None) -> Figure:
    """Figure 5: gradient norm before clipping, and how often it was clipped."""
    smoothing = Smoothing(half_life or default_half_life(logs), geometric=True)
    note = words.note(
        "Before clipping. Shaded: warm-up, until the learning rate peaks.", words.smoothed(smoothing, logs)
    )
    figure, (upper, lower) = start(logs, "gradient norm", note, heights_in=(2.6, 0.8))
    looks = style.looks(logs[0].run.run) | {"ls": "-"}
    train = [log.train for log in logs]
    curve = draw(upper, train, "grad_norm", smoothing, raw=words.RAW, label="smoothed", **looks)
    clipped = [
        frame[["step", "tokens_seen"]].assign(percent=100.0 * frame["clipped"].astype(float))
        for frame in train
    ]
    draw(lower, clipped, "percent", Smoothing(smoothing.half_life), **looks)
    warm_up_tokens = train[0]["tokens_seen"].iloc[train[0]["lr"].argmax()]
    for axes in (upper, lower):
        axes.axvspan(0, warm_up_tokens, color=style.theme.faint, alpha=0.5, lw=0, zorder=0)
    finish(lower, logs, "clipped\n(% of steps)", log=False, marks=False, legend=False)
    lower.set_ylim(-4, 104)
    if clip := clip_threshold(logs):
        upper.axhline(clip, color=style.theme.grey, lw=0.8, ls=(0, (4, 3)), label=f"clipped above {clip:g}")
    finish(upper, logs, "gradient norm (L2)")
    upper.set_xlabel("")
    last = float(curve["mean"].iloc[-1])
    panel.end_labels(upper, [(last, f"{last:.2f}", looks["color"])])
    return figure
