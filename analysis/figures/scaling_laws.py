"""The fitted laws of the ladder: loss over tokens and parameters, and where compute is best spent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.figures import axes as panel
from analysis.figures import style, words
from analysis.figures.scaling import tokens_log_axis
from analysis.power_law import Law, compute_optimal, interval
from analysis.readers.run_logs import RunLog

BEYOND = 1.3  # how far lines go beyond the outermost runs


@dataclass(frozen=True)
class Fitted:
    """A law, the points that it was fitted to, and the laws of resampled studies."""

    sizes: list[list[float]]  # one row for each kind of size
    losses: list[float]
    law: Law
    others: list[Law]

    def exponent(self, index: int = 0) -> str:
        """An exponent with its interval, as words."""
        low, high = interval([law.exponents[index] for law in self.others])
        return f"{self.law.exponents[index]:.3g} ({low:.3g} to {high:.3g})"


def scaling_laws(fitted: Fitted, logs: Sequence[RunLog], target: tuple[float, float], note: str) -> Figure:
    """L(N, D): loss over tokens, loss over parameters, and the compute-optimal line.

    `target`: (parameters, tokens) of the run whose place is judged.
    """
    parameters, tokens = (np.array(values) for values in fitted.sizes)
    base_n, base_d = (_most_common(values) for values in fitted.sizes)
    figure, (over_d, over_n, plane) = style.new_figure(
        "The fitted laws, and where compute is best spent",
        words.subtitle(logs, seeds=str(max(1, len({log.run.seed for log in logs})))),
        note,
        heights_in=(2.0, 2.0, 2.2),
        share_x=False,
    )
    losses = np.array(fitted.losses)
    _curve(over_d, fitted, 1, tokens[parameters == base_n], losses[parameters == base_n], fixed=base_n)
    _curve(over_n, fitted, 0, parameters[tokens == base_d], losses[tokens == base_d], fixed=base_d)
    for axes, what in (
        (over_d, f"{words.short(base_n)} parameters"),
        (over_n, f"{words.short(base_d)} tokens"),
    ):
        panel.log_axis(axes, "validation loss")
        axes.plot([], [], ls="", label=f"at {what}")
        panel.legend(axes)
    tokens_log_axis(over_d, "tokens")
    tokens_log_axis(over_n, "parameters")

    plane.plot(tokens, parameters, "o", ms=5, color=style.theme.colours[0], label="runs", ls="")
    flops = np.geomspace(
        6 * (parameters * tokens).min(), 6 * max((parameters * tokens).max(), np.prod(target)), 60
    )
    flops *= np.geomspace(1 / BEYOND, BEYOND, 60)
    optimal = np.array([compute_optimal(fitted.law, value) for value in flops])
    others = np.array([[compute_optimal(law, value) for value in flops] for law in fitted.others])
    plane.plot(
        optimal[:, 1],
        optimal[:, 0],
        color=style.theme.grey,
        ls="--",
        lw=1.4,
        label="least loss for its FLOPs",
    )
    low, high = np.quantile(np.log(others[:, :, 0] / others[:, :, 1]), (0.025, 0.975), axis=0)
    for bound in (low, high):  # along N D = C / 6 the ratio N / D decides both
        plane.plot(
            np.sqrt(flops / 6 / np.exp(bound)),
            np.sqrt(flops / 6 * np.exp(bound)),
            color=style.theme.grey,
            ls=":",
            lw=1.0,
        )
    plane.plot(target[1], target[0], "*", ms=11, color=style.theme.colours[1], ls="", label=_point(target))
    plane.set_yscale("log")
    tokens_log_axis(plane, "tokens")
    plane.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plane.yaxis.set_major_formatter(lambda value, _: words.short(value))
    plane.yaxis.set_minor_formatter(NullFormatter())
    plane.set_ylabel("parameters")
    panel.legend(plane, above=True)
    figure.align_ylabels([over_d, over_n, plane])
    return figure


def in_bytes(pairs: Sequence[tuple[str, Fitted]], logs: Sequence[RunLog], note: str) -> Figure:
    """Bits per byte over bytes of text, of the ladders of two tokenizers."""
    figure, (axes,) = style.new_figure(
        "Bits per byte over bytes of text, by tokenizer",
        words.subtitle(logs, seeds=str(max(1, len({log.run.seed for log in logs})))),
        note,
    )
    looks = zip(("o", "s"), ("-", "--"), style.theme.colours, strict=False)
    for (name, fitted), (marker, dashes, colour) in zip(pairs, looks, strict=True):
        sizes = np.array(fitted.sizes[0])
        _line(axes, fitted, np.geomspace(sizes.min() / BEYOND, sizes.max() * BEYOND, 100), colour, dashes)
        axes.plot(
            sizes,
            fitted.losses,
            marker,
            ms=5,
            color=colour,
            ls="",
            label=f"tokenizer {name}: {fitted.exponent()}",
        )
    panel.log_axis(axes, "bits per byte")
    tokens_log_axis(axes, "bytes of text seen")
    panel.legend(axes)
    return figure


def _curve(
    axes: Axes, fitted: Fitted, kind: int, sizes: np.ndarray, losses: np.ndarray, fixed: float
) -> None:
    """Runs that differ in one kind of size, with the law and the band of the resampled ones."""
    grid = np.geomspace(sizes.min() / BEYOND, sizes.max() * BEYOND, 100)
    both = (grid, np.full_like(grid, fixed)) if kind == 0 else (np.full_like(grid, fixed), grid)
    low, high = np.quantile([law(*both) for law in fitted.others], (0.025, 0.975), axis=0)
    colour = style.theme.colours[0]
    axes.fill_between(grid, low, high, color=style.theme.faint, lw=0)
    exponent = f"exponent {fitted.exponent(kind)}"
    axes.plot(grid, fitted.law(*both), color=style.theme.grey, ls="--", lw=1.4, label=exponent)
    axes.plot(sizes, losses, "o", ms=5, color=colour, ls="", zorder=3)


def _line(axes: Axes, fitted: Fitted, grid: np.ndarray, colour: str, dashes: str) -> None:
    low, high = np.quantile([law(grid) for law in fitted.others], (0.025, 0.975), axis=0)
    axes.fill_between(grid, low, high, color=style.theme.faint, lw=0, alpha=0.6)
    axes.plot(grid, fitted.law(grid), color=colour, ls=dashes, lw=1.4)


def _most_common(values: Sequence[float]) -> float:
    return max(set(values), key=list(values).count)


def _point(target: tuple[float, float]) -> str:
    return f"{words.short(target[0])} x {words.short(target[1])}"
