"""Curves over tokens as numbers: seeds joined to a mean and extremes, smoothing, overall validation.

Pure functions from log frames (analysis/readers/run_logs.py) to arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.readers.run_logs import RunLog

Array = NDArray[np.float64]

MOST_POINTS = 8192  # of a curve; longer logs are averaged over that many ranges of steps
RAW_PAIRS = 1500  # lowest and highest value of a raw curve: more than a figure has pixels side by side
DEFAULT_SHARE = 0.005  # of a run is the default half-life: 166 of 33,200 steps, 6 at mini scale


@dataclass(frozen=True)
class Smoothing:
    """A kernel whose weights halve with every `half_life` tokens of distance, to both sides (no lag)."""

    half_life: float
    geometric: bool = False  # mean of the logarithms: a spike of a gradient norm counts less


def default_half_life(logs: Sequence[RunLog]) -> float:
    """The half-life in tokens where none is asked for: a share of the longest run."""
    return DEFAULT_SHARE * max(float(log.train["tokens_seen"].max()) for log in logs)


def over_seeds(frames: Sequence[pd.DataFrame], column: str, smoothing: Smoothing | None) -> pd.DataFrame:
    """Columns `tokens mean low high` over the steps that all seeds have reached; low and high are extremes.

    Seeds are smoothed before they are averaged, so the band is the spread between seeds, not the noise of
    a step. Steps that a guard skipped never reached the weights and are left out. Of curves with more than
    MOST_POINTS steps, each point is the mean of a range of steps.
    """
    longest = max(frames, key=len)
    last_step = int(longest["step"].max()) if len(longest) > MOST_POINTS else None
    seeds = [_curve(frame, column, smoothing, last_step) for frame in frames]
    values = pd.concat([seed["value"] for seed in seeds], axis=1, join="inner")
    tokens = pd.concat([seed["tokens"] for seed in seeds], axis=1, join="inner")
    return pd.DataFrame(
        {
            "tokens": tokens.mean(axis=1),
            "mean": values.mean(axis=1),
            "low": values.min(axis=1),
            "high": values.max(axis=1),
        }
    )


def _curve(
    frame: pd.DataFrame, column: str, smoothing: Smoothing | None, last_step: int | None
) -> pd.DataFrame:
    """`tokens value` of one seed, by step or, with `last_step`, by range of steps up to it."""
    kept = np.ones(len(frame), bool)
    if "skipped" in frame:
        kept = (frame["skipped"] != 1).to_numpy()
    step, tokens = frame["step"].to_numpy()[kept], frame["tokens_seen"].to_numpy(float)[kept]
    value = frame[column].to_numpy(float)[kept]
    if last_step is None:
        index, rows = np.unique(step, return_index=True)
        tokens, value = tokens[rows], value[rows]
        weight = np.isfinite(value).astype(float)
    else:
        index, tokens, value, weight = _averaged(step, tokens, value, last_step)
    if smoothing:
        value = _smoothed(tokens, value, weight, smoothing)
    return pd.DataFrame({"tokens": tokens, "value": value}, index=index)[np.isfinite(value)]


def _averaged(
    step: NDArray[np.int64], tokens: Array, value: Array, last_step: int
) -> tuple[NDArray[Any], Array, Array, Array]:
    """(range, mean tokens, mean of the finite values, their number) of MOST_POINTS ranges of steps."""
    part = np.clip((step - 1) * MOST_POINTS // last_step, 0, MOST_POINTS - 1)
    finite = np.isfinite(value)
    n_rows = np.bincount(part, minlength=MOST_POINTS)
    n_finite = np.bincount(part, finite, minlength=MOST_POINTS).astype(float)
    total = np.bincount(part, np.where(finite, value, 0.0), minlength=MOST_POINTS)
    sum_tokens = np.bincount(part, tokens, minlength=MOST_POINTS)
    there = np.flatnonzero(n_rows)
    mean = np.divide(total, n_finite, out=np.full(MOST_POINTS, np.nan), where=n_finite > 0)
    return there, sum_tokens[there] / n_rows[there], mean[there], n_finite[there]


def _smoothed(tokens: Array, value: Array, weight: Array, smoothing: Smoothing) -> Array:
    """The weighted mean with the kernel at each point; values of weight 0 do not count."""
    there = weight > 0
    known = np.where(there, value, 1.0)
    known = np.log(np.maximum(known, np.finfo(float).tiny)) if smoothing.geometric else known
    known = np.where(there, known, 0.0)
    decay = 0.5 ** (np.diff(tokens) / smoothing.half_life)

    def from_the_left(values: Array, decays: Array) -> Array:
        sums, total = np.empty(len(values)), 0.0
        for index, (one, fading) in enumerate(zip(values.tolist(), [0.0, *decays.tolist()], strict=True)):
            total = total * fading + one
            sums[index] = total
        return sums

    def both_sides(values: Array) -> Array:
        right = from_the_left(values[::-1], decay[::-1])[::-1]
        return from_the_left(values, decay) + right - values

    if not len(value):
        return value
    weights = both_sides(weight)
    mean = np.divide(both_sides(known * weight), weights, out=np.full(len(value), np.nan), where=weights > 0)
    return np.exp(mean) if smoothing.geometric else mean


def envelope(frame: pd.DataFrame, column: str) -> tuple[Array, Array]:
    """(tokens, values) of a raw curve; of a long one the lowest and the highest value of ranges of rows.

    So a step that stands out is seen, however long the log is.
    """
    tokens, value = frame["tokens_seen"].to_numpy(float), frame[column].to_numpy(float)
    if len(value) <= 2 * RAW_PAIRS:
        return tokens, value
    edges = np.arange(RAW_PAIRS) * len(value) // RAW_PAIRS
    extremes = np.column_stack([np.fmin.reduceat(value, edges), np.fmax.reduceat(value, edges)])
    return np.repeat(tokens[edges], 2), extremes.ravel()


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


def at_validation_weights(logs: Sequence[RunLog], smoothing: Smoothing) -> list[pd.DataFrame]:
    """Each seed's smoothed training loss with the domains weighted as in its validation set.

    Training holds the domains in the corpus's shares, the validation set in others: only at equal shares can
    the two be compared. Returns frames like `train` with that loss (nats per token) as `loss_nats`; an empty
    list where a log does not tell the domains apart.
    """
    frames = []
    for log in logs:
        last = log.val[(log.val["step"] == log.val["step"].max()) & (log.val["domain"] != "all")]
        weights = last.set_index("domain")["n_tokens"].dropna()
        columns = [f"loss_nats/{domain}" for domain in weights.index]
        if not len(weights) or not set(columns) <= set(log.train):
            return []
        curves = [over_seeds([log.train], column, smoothing) for column in columns]
        by_domain = pd.concat([curve["mean"] for curve in curves], axis=1, join="inner")
        loss = by_domain.to_numpy() @ (weights / weights.sum()).to_numpy(float)
        frames.append(
            pd.DataFrame(
                {
                    "step": by_domain.index,
                    "tokens_seen": curves[0]["tokens"].loc[by_domain.index],
                    "loss_nats": loss,
                }
            )
        )
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
