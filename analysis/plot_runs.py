"""Draw the paper's six figures from training logs.

    python analysis/plot_runs.py [--scale full|mini|demo] [--logs DIR …] [--out DIR] [--runs run20,run23]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; where both hold a run, the
first. Out: analysis/out/<scale>/fig1…fig6 as PNG and PDF. A figure whose run has no log is not drawn, and the
console says which command would make it. Exit code 2 if nothing could be drawn.

The paper leaves its sixth figure unnamed; here it shows the three runs together: training loss, learning
rate and throughput.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import style
from analysis.curves import draw, draw_marks, overall_validation, window
from analysis.runlog import RunLog, find_runs, read_run
from configs.loader import UserError, default_runs_root, run_main

FINAL = "run20"
RUNS = {  # in the order of the paper's figures 1, 2, 3
    "run24": "a tenth of the data, constant rate",
    "run23": "all data, constant rate",
    "run20": "all data, cosine rate: the final recipe",
}
PAPER_FINAL_VALIDATION_NATS = 1.438  # arXiv 2602.17288, Run 20; comparable with scale full alone
OWN = "This project's own run, not the paper's curve."
LOSS = "loss (nats per token)"
RAW = "every logged step"

Logs = dict[str, list[RunLog]]  # run → its seeds


@dataclass(frozen=True)
class Spec:
    """A figure: its file name, the runs without which it is not drawn, and how it is drawn."""

    stem: str
    needs: tuple[str, ...]
    draw: Callable[[Logs], Figure]


def specs(runs: Sequence[str]) -> list[Spec]:
    """The figures that show `runs`: the paper's, then a training loss for each run that it does not show."""
    paper = [
        Spec(f"fig{number}_training_loss_{run}", (run,), partial(of_run, run, training_loss))
        for number, run in enumerate(RUNS, start=1)
    ]
    paper += [
        Spec(f"fig4_training_and_validation_{FINAL}", (FINAL,), partial(of_run, FINAL, validation)),
        Spec(f"fig5_gradient_norm_{FINAL}", (FINAL,), partial(of_run, FINAL, gradient_norm)),
        Spec("fig6_runs_together", (), together),
    ]
    others = [
        Spec(f"training_loss_{run}", (run,), partial(of_run, run, training_loss))
        for run in runs
        if run not in RUNS
    ]
    return [spec for spec in paper + others if set(spec.needs) <= set(runs)]


def of_run(run: str, draw_run: Callable[[list[RunLog]], Figure], logs: Logs) -> Figure:
    """A figure about one of the runs."""
    return draw_run(logs[run])


def training_loss(logs: list[RunLog]) -> Figure:
    """Figures 1 to 3: the training loss of one run over tokens."""
    figure, (axes,) = start(logs, "training loss")
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
        logs, "training and validation loss", "Validation is on fixed batches and not averaged.", columns=2
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
    finish(upper, logs, "gradient norm (L2)")
    upper.set_xlabel("")
    last = float(curve["mean"].iloc[-1])
    style.end_labels(upper, [(last, f"{last:.2f}", colour)])
    return figure


def together(logs: Logs) -> Figure:
    """Figure 6, this project's choice: the three runs' training loss, learning rate and throughput."""
    everything = [log for seeds in logs.values() for log in seeds]
    title = ", ".join(name(run).removeprefix("Run ") for run in logs)
    figure, panels = style.new_figure(
        f"Run{'s' if len(logs) > 1 else ''} {title} together: loss, learning rate, throughput",
        subtitle(everything, seeds="–".join(map(str, sorted({len(seeds) for seeds in logs.values()})))),
        f"Loss and throughput: {averaged('mean', everything)}. {band(everything)}"
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


def choose_scale(found: Sequence[str], asked: str | None, roots: Sequence[Path]) -> str:
    """The scale to draw: the one asked for, else the only one there is."""
    if asked or len(found) == 1:
        return asked or found[0]
    where = " and ".join(map(str, roots))
    if found:
        raise UserError(f"{where} hold logs of the scales {', '.join(found)}: choose one with --scale")
    raise UserError(f"{where}: no logs here; `make demo` trains a small model and writes some")


def main() -> int:
    """Draw what there are logs for. Returns 0 if that is at least one figure."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--scale", help="full, mini or demo (default: the only one with logs)")
    parser.add_argument("--logs", type=Path, nargs="+", help="roots of logs (default: $ARXIV_RUNS and logs/)")
    parser.add_argument("--out", type=Path, help="folder of the figures (default: analysis/out/<scale>)")
    parser.add_argument("--runs", default=",".join(RUNS), help=f"default: {','.join(RUNS)}")
    args = parser.parse_args()

    roots = args.logs or [default_runs_root(), Path("logs")]
    found = find_runs(roots)
    scale = choose_scale(sorted({run.scale for run in found}), args.scale, roots)
    out = args.out or Path("analysis/out") / scale
    runs = args.runs.split(",")

    logs: Logs = {}
    for run, files in found.items():
        if run.scale == scale and run.run in runs:
            log = read_run(run, files)
            for note in log.notes:
                print(f"note: {note}")
            if log.train["loss_nats"].notna().any():
                print(f"{run}: {len(log.train):,} training rows, {log.train['step'].max():,} steps")
                logs.setdefault(run.run, []).append(log)
    for run in runs:
        if run not in logs:
            print(
                f"{run} is not drawn: no training rows of it at scale {scale} under "
                f"{' or '.join(map(str, roots))}. Make them: make study SCALE={scale} RUNS_LIST={run}"
            )
    if not logs:
        raise UserError(f"no figure could be drawn: no logs of {args.runs} at scale {scale}; see above")

    written: list[Path] = []
    for spec in specs([run for run in runs if run in logs]):
        written += style.save(spec.draw({run: logs[run] for run in runs if run in logs}), out / spec.stem)
    print(f"{len(written)} files written:", *written, sep="\n  ")
    return 0


if __name__ == "__main__":
    run_main(main)
