"""Curves over tokens: several seeds of one run as a mean and a band, smoothed and raw.

Pure functions from log frames (analysis/runlog.py) to arrays and lines.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.runlog import RunLog

MOST_POINTS_RAW = 4000  # of a raw curve in a figure 6.8 in wide; the smoothed one uses all rows


def window(n_rows: int) -> int:
    """Rows that a smoothed value averages: 2 % of the run, at least 5, odd so that it is centred."""
    return max(5, n_rows // 50) | 1


def smooth(values: pd.Series, how: Literal["mean", "median"] = "mean") -> pd.Series:
    """Centred running mean or median. Missing and infinite values (skipped steps) do not count."""
    finite = values.astype(float).replace([np.inf, -np.inf], np.nan)
    return finite.rolling(window(len(finite)), center=True, min_periods=1).agg(how)


def over_seeds(
    frames: Sequence[pd.DataFrame], column: str, smoothing: Literal["mean", "median"] | None
) -> pd.DataFrame:
    """Columns `tokens mean low high` over the steps that all seeds have reached; low and high are extremes.

    Seeds are smoothed before they are averaged, so the band is the spread between seeds, not the noise of
    a step.
    """
    seeds, tokens = [], []
    for frame in frames:
        known = frame[frame[column].notna()].drop_duplicates("step").set_index("step")
        seeds.append(smooth(known[column], smoothing) if smoothing else known[column].astype(float))
        tokens.append(known["tokens_seen"])
    values = pd.concat(seeds, axis=1, join="inner")
    return pd.DataFrame(
        {
            "tokens": pd.concat(tokens, axis=1, join="inner").mean(axis=1),
            "mean": values.mean(axis=1),
            "low": values.min(axis=1),
            "high": values.max(axis=1),
        }
    )


def overall_validation(val: pd.DataFrame) -> pd.DataFrame:
    """Validation over all domains, a row a step: the log's own `all` rows, else the mean over tokens."""
    if (val["domain"] == "all").any():
        return val[val["domain"] == "all"]
    known = val.dropna(subset=["loss_nats", "n_tokens"])
    total = known.assign(nats=known["loss_nats"] * known["n_tokens"]).groupby("step")
    sums = total[["nats", "n_tokens"]].sum()
    return pd.DataFrame(
        {"tokens_seen": total["tokens_seen"].first(), "loss_nats": sums["nats"] / sums["n_tokens"]}
    ).reset_index()


def draw(
    axes: Axes,
    frames: Sequence[pd.DataFrame],
    column: str,
    colour: str,
    smoothing: Literal["mean", "median"] | None = "mean",
    raw: bool = True,
    **line: Any,
) -> pd.DataFrame:
    """Draw `column` over tokens: raw curves faint, smoothed mean, band over seeds. Returns `over_seeds`."""
    if raw and smoothing:
        for frame in frames:
            thin = frame.iloc[:: len(frame) // MOST_POINTS_RAW + 1]
            axes.plot(thin["tokens_seen"], thin[column], color=colour, lw=0.5, alpha=0.28, zorder=1.5)
    curve = over_seeds(frames, column, smoothing)
    if len(frames) > 1:
        axes.fill_between(
            curve["tokens"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0, zorder=1.8
        )
    axes.plot(curve["tokens"], curve["mean"], color=colour, **{"zorder": 2.5, **line})
    return curve


MARKS = {  # event → (marker, colour, height in the axes, what the legend calls it)
    "resume": ("v", "#6b6b6b", 0.985, "resumed from a checkpoint"),
    "skipped": ("x", "#D55E00", 0.025, "step skipped by the guard"),
    "spike": ("x", "#D55E00", 0.025, "step skipped by the guard"),
    "nan": ("X", "#000000", 0.025, "not finite, kept from the weights"),
}


def draw_marks(axes: Axes, logs: Sequence[RunLog]) -> None:
    """Where training was resumed (top) and where a guard kept a step from the weights (bottom)."""
    named: set[str] = set()
    for log in logs:
        skipped = log.train[log.train["skipped"] == 1].assign(event="skipped")
        happened = pd.concat([log.event, skipped])[["step", "tokens_seen", "event"]]
        # A skipped step is logged both in its row and as an event: one mark, the event's.
        for name, rows in happened.drop_duplicates("step").groupby("event"):
            if name not in MARKS:
                continue
            marker, colour, height, label = MARKS[str(name)]
            axes.plot(
                rows["tokens_seen"],
                [height] * len(rows),
                linestyle="",
                marker=marker,
                ms=4.5,
                color=colour,
                transform=axes.get_xaxis_transform(),
                label="_" if label in named else label,
                zorder=4,
            )
            named.add(label)
