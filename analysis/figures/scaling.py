"""Figure 6: validation loss over tokens and over sizes of the data, with the fitted law."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.curves import overall_validation
from analysis.figures.drawing import draw
from analysis.figures.words import Logs
from analysis.power_law import LEAST_SIZES, Law, fit, left_out
from analysis.readers.run_logs import RunLog

# The ladder: each rung is run 20's recipe over its share of the data, once, with its schedule ending there.
LADDER = (
    *("ladder_data_16th", "ladder_data_8th", "ladder_data_quarter", "ladder_data_half"),
    "run20",
)

MARKERS = {"run20": "o", "run23": "s", "run24": "^"}  # diamonds: the ladder


def scaling(logs: Logs) -> Figure:
    """Learning curves of runs and of the ladder, and the loss at the end of each over its data."""
    everything = [log for seeds in logs.values() for log in seeds]
    rungs = [(data_tokens(log), final_loss(log)) for run in LADDER for log in logs.get(run, [])]
    n_sizes = len({size for size, _ in rungs})
    law = fit([[size for size, _ in rungs]], [loss for _, loss in rungs])
    figure, (curves, ends) = style.new_figure(
        "Validation loss over tokens and over sizes of the data",
        words.subtitle(everything, words.n_seeds(logs)),
        words.note(
            describe(law, rungs) if law else refusal(n_sizes),
            "Above: the loss while each run trains. Below: at its end, over the different tokens that it has "
            "seen (filled: seen once, open: repeated).",
            "The paper does not name its sixth figure; this choice is ours.",
            words.other_validation(everything),
            words.own(everything),
        ),
        heights_in=(2.2, 2.2),
        legend_rows=-(-len(logs) // style.LEGEND_COLUMNS),
        share_x=False,
    )
    for run, seeds in logs.items():
        looks = style.looks(run, logs)
        held_out = [overall_validation(log.val) for log in seeds]
        label = f"{words.name(run)}, n = {len(seeds)}"
        draw(curves, held_out, "loss_nats", None, marker="o", ms=2.4, label=label, **looks)
        for log in seeds:
            once = words.passes_over_data(seeds) < words.REPEATS
            ends.plot(
                data_tokens(log),
                final_loss(log),
                marker=MARKERS.get(run, "D"),
                ms=6,
                color=looks["color"],
                mfc=looks["color"] if once else style.theme.background,
                ls="",
                zorder=3,
            )
    if law:
        sizes = np.geomspace(min(size for size, _ in rungs) / 1.2, max(size for size, _ in rungs) * 1.2)
        ends.plot(
            sizes,
            law(sizes),
            color=style.theme.grey,
            lw=1.2,
            ls="--",
            label=f"{law.floor:.3g} + {law.scales[0]:.3g} (D / {words.short(law.units[0])})"
            f"^(–{law.exponents[0]:.3g})",
            zorder=2,
        )
        panel.legend(ends)
    for axes in (curves, ends):
        panel.log_axis(axes, "validation loss")
    tokens_log_axis(curves, "tokens seen")
    tokens_log_axis(ends, "different tokens seen")
    panel.figure_legend(figure, curves)
    figure.align_ylabels([curves, ends])
    return figure


def data_tokens(log: RunLog) -> float:
    """Different tokens that a run has seen: its length, or its data where it repeats them."""
    unique = sum((log.header.get("unique_tokens") or {}).values())
    seen = float(log.train["tokens_seen"].max())
    return min(seen, unique) if unique else seen


def final_loss(log: RunLog) -> float:
    """Validation loss over all domains at the end of a run, nats per token."""
    return float(overall_validation(log.val)["loss_nats"].iloc[-1])


def describe(law: Law, rungs: Sequence[tuple[float, float]]) -> str:
    """The law in words, with how much it hangs on single sizes."""
    sizes, losses = zip(*rungs, strict=True)
    exponents = [without.exponents[0] for without in left_out(sizes, losses)]
    return (
        f"Law: L(D) = E + B/D^β with E = {law.floor:.3g} nats, β = {law.exponents[0]:.3g} "
        f"({min(exponents):.3g} to {max(exponents):.3g} with one size left out), fitted to the ladder and "
        "Run 20 by a Huber loss on log L (Hoffmann et al. 2022)."
    )


def refusal(n_sizes: int) -> str:
    """Why no law is drawn."""
    if n_sizes >= LEAST_SIZES:
        return f"No law is fitted: over these {n_sizes} sizes the loss does not fall as E + B/D^β does."
    return (
        f"No law is fitted: its exponent needs {LEAST_SIZES} sizes of the data and there are logs of "
        f"{n_sizes or 'none'} on the ladder; `make ladder` trains them."
    )


def tokens_log_axis(axes: Axes, what: str) -> None:
    """A logarithmic x axis in tokens with short numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,), numticks=30))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: words.short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(what)
