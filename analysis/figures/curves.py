"""Curves over tokens: several seeds of one run as a mean and a band, smoothed and raw.

Pure functions from log frames (analysis/readers/run_logs.py) to arrays and lines.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.readers.run_logs import RunLog

MOST_POINTS_RAW = 4000  # of a raw curve in a figure 6.8 in wide; the smoothed one uses all rows


def window(n_rows: int) -> int:
    """Rows that a smoothed value averages: 2 % of the run within 5 and 101, odd so that it is centred.

    At full scale 2 % is more than the 500 steps of warm-up, in which the loss falls by half.
    """
    return min(max(5, n_rows // 50) | 1, 101)


def smooth(values: pd.Series, how: Literal["mean", "median"] = "mean") -> pd.Series:
    """Centred running mean or median. Missing and infinite values (skipped steps) do not count."""
    finite = values.astype(float).replace([np.inf, -np.inf], np.nan)
    return finite.rolling(window(len(finite)), center=True, min_periods=1).agg(how)


def over_seeds(
    frames: Sequence[pd.DataFrame], column: str, smoothing: Literal["mean", "median"] | None
) -> pd.DataFrame:
    """Columns `tokens mean low high` over the steps that all seeds have reached; low and high are extremes.

    Seeds are smoothed before they are averaged, so the band is the spread between seeds, not the noise of
    a step. Steps that a guard skipped never reached the weights and are left out.
    """
    seeds, tokens = [], []
    for frame in frames:
        trained = frame[frame["skipped"] != 1] if "skipped" in frame else frame
        known = trained[trained[column].notna()].drop_duplicates("step").set_index("step")
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


def at_validation_weights(logs: Sequence[RunLog]) -> list[pd.DataFrame]:
    """Each seed's smoothed training loss with the domains weighted as in its validation set.

    Training holds the domains in the corpus's shares, the validation set in others: only at equal shares can
    the two be compared. Returns copies of `train` with that loss (nats per token) as `loss_nats`; an empty
    list where a log does not tell the domains apart.
    """
    frames = []
    for log in logs:
        last = log.val[(log.val["step"] == log.val["step"].max()) & (log.val["domain"] != "all")]
        weights = last.set_index("domain")["n_tokens"].dropna()
        columns = [f"loss_nats/{domain}" for domain in weights.index]
        if not len(weights) or not set(columns) <= set(log.train):
            return []
        by_domain = np.column_stack([smooth(log.train[column]) for column in columns])
        loss = by_domain @ (weights / weights.sum()).to_numpy(float)
        frames.append(log.train.assign(loss_nats=loss))
    return frames


def clip_threshold(logs: Sequence[RunLog]) -> float | None:
    """The gradient norm above which a run clips: from its header or, in older logs, from what was clipped.

    In those the threshold lies between the highest norm left alone and the lowest one clipped; of the numbers
    between, the roundest is returned. None where these are more than a tenth apart, and where nothing or
    everything was clipped.
    """
    if "clip_grad_norm" in logs[0].header:
        threshold = logs[0].header["clip_grad_norm"]
        return None if threshold is None else float(threshold)
    train = pd.concat([log.train[["grad_norm", "clipped"]].dropna() for log in logs])
    was_clipped = train["clipped"].astype(bool)
    above, below = train.loc[was_clipped, "grad_norm"].min(), train.loc[~was_clipped, "grad_norm"].max()
    if not below <= above < 1.1 * below:
        return None
    middle = float(above + below) / 2
    return next((x for x in (round(middle, digits) for digits in range(6)) if below <= x <= above), middle)


def draw(
    axes: Axes,
    frames: Sequence[pd.DataFrame],
    column: str,
    colour: str,
    smoothing: Literal["mean", "median"] | None = "mean",
    raw: str | None = None,
    **line: Any,
) -> pd.DataFrame:
    """Draw `column` over tokens: smoothed mean and band over seeds. Returns `over_seeds`.

    `raw`: what the legend calls the unsmoothed values, which are then drawn faintly behind.
    """
    if raw:
        for frame in frames:
            thin = frame.iloc[:: len(frame) // MOST_POINTS_RAW + 1]
            axes.plot(
                thin["tokens_seen"],
                thin[column],
                color=colour,
                lw=0.5,
                alpha=0.3,
                zorder=1.5,
                label=raw if frame is frames[0] else "_",
            )
    curve = over_seeds(frames, column, smoothing)
    if len(frames) > 1:
        axes.fill_between(
            curve["tokens"], curve["low"], curve["high"], color=colour, alpha=0.2, lw=0, zorder=1.8
        )
    axes.plot(curve["tokens"], curve["mean"], color=colour, **{"zorder": 2.5, **line})
    return curve


MARKS = {  # event → (marker, colour, height in the axes, what the legend calls it)
    "resume": ("^", "#6b6b6b", 0.0, "resumed"),
    "spike": ("x", "#D55E00", 0.03, "spike, step skipped"),
    "nan": ("X", "#000000", 0.03, "not finite"),
}


def draw_marks(axes: Axes, logs: Sequence[RunLog]) -> None:
    """Where training was resumed, and where a guard kept a step from the weights."""
    named: set[str] = set()
    for log in logs:
        for name, rows in log.event[log.event["event"].isin(MARKS)].groupby("event"):
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
                clip_on=False,
                zorder=4,
            )
            named.add(label)
