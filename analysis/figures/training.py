"""The figures about training runs, each a function from run logs to a matplotlib figure.

analysis/plot_runs.py finds the logs, calls these and writes the files.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.figures.curves import draw, draw_marks, overall_validation, window
from analysis.readers.run_logs import RunLog

RUNS = {  # in the order of the paper's figures 1, 2, 3
    "run24": "a tenth of the data, constant rate",
    "run23": "all data, constant rate",
    "run20": "all data, cosine rate: the final recipe",
}
PAPER_FINAL_VALIDATION_NATS = 1.438  # arXiv 2602.17288, Run 20; comparable with scale full alone
OWN = "This project's own run, not the paper's curve."
LOSS = "loss (nats per token)"
LEGEND_ROOM = 1.5  # of the highest loss, so that the legend lies above the curves
REPEATS = 1.5  # passes over the data from which a run is said to repeat it
RAW = "every logged step"

Logs = dict[str, list[RunLog]]  # run → its seeds


def training_loss(logs: list[RunLog]) -> Figure:
    """Figures 1 to 3: the training loss of one run over tokens."""
    figure, (axes,) = start(logs, "training loss", passes(logs))
    colour = style.RUN_COLOURS.get(logs[0].run.run, style.BLUE)
    train = [log.train for log in logs]
    curve = draw(axes, train, "loss_nats", colour, raw=RAW, label=averaged("mean", logs))
    finish(axes, logs, f"training {LOSS}")
    last = float(curve["mean"].iloc[-1])
    style.end_labels(axes, [(last, f"{last:.3f}", colour)])
    return figure


def validation(logs: list[RunLog]) -> Figure:
    """Figure 4: training and validation loss of the final run, together and by domain."""
    figure, (left, right) = start(
        logs,
        "training and validation loss",
        "Validation uses the same batches every time; the curve is not smoothed. Training counts each domain "
        "by its share of the tokens, validation counts all alike: a large and easy domain parts the curves.",
        columns=2,
    )
    colour = style.RUN_COLOURS.get(logs[0].run.run, style.BLUE)
    train = [log.train for log in logs]
    draw(
        left, train, "loss_nats", colour, raw="training, " + RAW, label=f"training, {averaged('mean', logs)}"
    )
    points: dict[str, Any] = {"marker": "o", "ms": 2.6, "lw": 1.2, "smoothing": None, "markevery": 0.05}
    held_out = draw(
        left,
        [overall_validation(log.val) for log in logs],
        "loss_nats",
        style.INK,
        label="validation, all domains",
        **points,
    )
    domains = sorted({domain for log in logs for domain in log.domains})
    labels = []
    for domain in domains:
        colour = style.DOMAIN_COLOURS.get(domain, style.GREY)
        if all(f"loss_nats/{domain}" in frame for frame in train):
            draw(right, train, f"loss_nats/{domain}", colour, lw=0.9, alpha=0.55)
        ours = [log.val[log.val["domain"] == domain] for log in logs]
        if all(len(frame) for frame in ours):
            curve = draw(right, ours, "loss_nats", colour, **points)
            last = float(curve["mean"].iloc[-1])
            labels.append((last, f"{domain}\n{last:.3f}", colour))
    right.plot([], [], color=style.GREY, label="validation", marker="o", ms=2.6, lw=1.2)
    right.plot([], [], color=style.GREY, label=f"training, {averaged('mean', logs)}", lw=0.9, alpha=0.55)
    if logs[0].run.scale == "full":
        left.axhline(PAPER_FINAL_VALIDATION_NATS, color=style.GREY, lw=0.8, ls=(0, (4, 3)))
        left.annotate(
            f"paper: {PAPER_FINAL_VALIDATION_NATS} at the end",
            (0.02, PAPER_FINAL_VALIDATION_NATS),
            xycoords=left.get_yaxis_transform(),
            xytext=(0, -9),
            textcoords="offset points",
            size=7.5,
            color=style.GREY,
        )
    for axes in (left, right):
        finish(axes, logs, LOSS, marks=axes is left)
        axes.set_ylim(top=LEGEND_ROOM * axes.get_ylim()[1])
    ends = held_out["mean"].tail(1)  # none where the run was not validated yet
    style.end_labels(left, [(last, f"{last:.3f}", style.INK) for last in ends])
    style.end_labels(right, labels, lines=2)
    return figure


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
    clip = logs[0].header.get("clip_grad_norm")
    if clip:
        upper.axhline(clip, color=style.GREY, lw=0.8, ls=(0, (4, 3)), label=f"clipped above {clip:g}")
    finish(upper, logs, "gradient norm (L2)")
    upper.set_xlabel("")
    last = float(curve["mean"].iloc[-1])
    style.end_labels(upper, [(last, f"{last:.2f}", colour)])
    return figure


def together(logs: Logs) -> Figure:
    """Figure 6, this project's choice: the three runs' training loss, learning rate and throughput."""
    everything = [log for seeds in logs.values() for log in seeds]
    title = ", ".join(name(run).removeprefix("Run ") for run in logs)
    panels_shown = "loss, learning rate, throughput"
    figure, panels = style.new_figure(
        f"Runs {title} together: {panels_shown}" if len(logs) > 1 else f"Run {title}: {panels_shown}",
        subtitle(everything, seeds="–".join(map(str, sorted({len(seeds) for seeds in logs.values()})))),
        f"Loss: {averaged('mean', everything)} steps, throughput smoothed alike. {band(everything)}"
        f"The paper's sixth figure has no name: this choice is ours. {OWN}",
        heights_in=(2.5, 0.85, 0.85),
    )
    labels = []
    for run, seeds in logs.items():
        colour = style.RUN_COLOURS.get(run, style.GREY)
        loss = draw(panels[0], [log.train for log in seeds], "loss_nats", colour)
        draw(panels[1], [log.train for log in seeds], "lr", colour, smoothing=None)
        draw(panels[2], [log.perf for log in seeds], "tokens_per_s", colour)
        last = float(loss["mean"].iloc[-1])
        labels.append((last, f"{name(run)}\n{last:.3f}", colour))
    finish(panels[2], everything, "tokens/s", log=False, marks=False)
    finish(panels[1], everything, "learning rate", log=False, marks=False)
    finish(panels[0], everything, f"training {LOSS}")
    panels[1].ticklabel_format(axis="y", style="sci", scilimits=(-4, 4), useMathText=True)
    for axes in panels[1:]:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(style.MaxNLocator(3))
    for axes in panels[:2]:
        axes.set_xlabel("")
    style.end_labels(panels[0], labels, lines=2)
    figure.align_ylabels(panels)
    return figure


def passes(logs: Sequence[RunLog]) -> str:
    """A sentence on a run that repeats its data, whose loss falls in steps; empty for another."""
    unique = sum((logs[0].header.get("unique_tokens") or {}).values())
    n_passes = float(logs[0].train["tokens_seen"].max()) / unique if unique else 1.0
    if n_passes < REPEATS:
        return ""
    return f"{n_passes:.0f} passes over the same data: each lowers the loss by a step, as text is remembered."


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
    logs: list[RunLog], what: str, note: str = "", heights_in: Sequence[float] = (2.9,), columns: int = 1
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
