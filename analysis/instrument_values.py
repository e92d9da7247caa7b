"""What the instruments of a run measured, as numbers: pure functions of a log's frames."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.figures.curves import Smoothing, over_seeds
from analysis.readers.run_logs import RunLog

PARTS = {"all": "whole model", "embedding": "embedding", "attention": "attention", "mlp": "MLP"}
SETTLED = 0.5  # values of a whole run are means over its last half: gradients change fastest at the beginning
JOULES_PER_KWH = 3.6e6


def rows_of(log: RunLog, measure: str) -> pd.DataFrame:
    """The rows of one measure: cosine, noise_scale, loss, norm."""
    return log.instrument[log.instrument["measure"] == measure]


def settled(frame: pd.DataFrame, log: RunLog) -> pd.DataFrame:
    """The rows of the last half of a run."""
    return frame[frame["tokens_seen"] > SETTLED * float(log.train["tokens_seen"].max())]


def noise_scale(rows: pd.DataFrame, smoothing: Smoothing) -> pd.DataFrame:
    """Columns `tokens noise_tokens`: smoothed noise over smoothed signal, NaN where no signal is left.

    `rows`: those of one part. A ratio of means, because a single step's estimates may be negative (McCandlish
    et al. 2018, appendix A.1).
    """
    trace, signal = (over_seeds([rows], key, smoothing) for key in ("noise_trace", "signal_square"))
    ratio = trace["mean"] / signal["mean"].where(signal["mean"] > 0)
    return pd.DataFrame({"tokens": trace["tokens"], "noise_tokens": ratio.where(ratio > 0)})


def mean_noise_scale(rows: pd.DataFrame) -> float:
    """Noise scale in tokens of all the rows together; NaN without a signal."""
    trace, signal = rows["noise_trace"].mean(), rows["signal_square"].mean()
    return float(trace / signal) if signal > 0 else float("nan")


def tokens_saved(batch_tokens: float, other_batch_tokens: float, noise_tokens: float) -> float:
    """Tokens for the same loss at one batch size over those at another, each with its best learning rate.

    A loss takes tokens in proportion to 1 + batch / noise scale (McCandlish et al. 2018, section 2.3).
    """
    return (1 + batch_tokens / noise_tokens) / (1 + other_batch_tokens / noise_tokens)


def cosine_pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs of different groups in the rows of one grouping, in the order of the log."""
    apart = rows[rows["group"] != rows["other"]]
    return list(dict.fromkeys(zip(apart["group"], apart["other"], strict=True)))


def ceiling(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns `step tokens_seen cosine`: mean split-half cosine of the groups, from rows of one part."""
    within = rows[rows["group"] == rows["other"]]
    return within.groupby("step", as_index=False)[["tokens_seen", "cosine"]].mean()


def mean_cosines(rows: pd.DataFrame, pair: tuple[str, str]) -> tuple[float, float, float]:
    """(cosine, ceiling, cosine without noise) of a pair, from rows of one grouping and one part.

    The ceiling is the root of the product of both split-half cosines. The last is the ratio of the mean dot
    products, which hold no noise twice; NaN where a group has no signal. Sampling may take it beyond 1.
    """

    def mean(a: str, b: str, column: str) -> float:
        return float(rows[(rows["group"] == a) & (rows["other"] == b)][column].mean())

    a, b = pair
    halves, signals = ((mean(a, a, c), mean(b, b, c)) for c in ("cosine", "dot"))
    top = np.sqrt(halves[0] * halves[1]) if min(halves) > 0 else float("nan")
    clean = mean(a, b, "dot") / np.sqrt(signals[0] * signals[1]) if min(signals) > 0 else float("nan")
    return mean(a, b, "cosine"), float(top), float(clean)


def loss_by(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Columns `step tokens_seen group loss_nats n_tokens` of a division, over all domains."""
    known = rows[rows["by"] == by]
    sums = known.assign(nats=known["loss_nats"] * known["n_tokens"]).groupby(["step", "group"], sort=False)
    found = sums[["nats", "n_tokens"]].sum()
    found["loss_nats"] = found["nats"] / found["n_tokens"]
    return found.assign(tokens_seen=sums["tokens_seen"].first()).reset_index()


def last_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last measured step."""
    return frame[frame["step"] == frame["step"].max()]


def norms(rows: pd.DataFrame, part: str, column: str) -> pd.DataFrame:
    """Columns `tokens mean low high` over the layers of a part; `column` may be `update_ratio`."""
    found = rows[rows["part"] == part]
    found = found.assign(update_ratio=found["update_norm"] / found["weight_norm"])
    # The row of the weights and that of the activations are two rows of the same place.
    grouped = found.dropna(subset=[column]).groupby("step")
    values = grouped[column].agg(["mean", "min", "max"]).set_axis(["mean", "low", "high"], axis=1)
    return values.assign(tokens=grouped["tokens_seen"].first())


def energy(log: RunLog) -> pd.DataFrame:
    """Columns `tokens watts kwh`: power of all GPUs, and energy since the beginning; empty without a GPU.

    The log holds the power of the main process's GPU every few steps. Others are taken to draw the same, and
    the power to change linearly between two readings. What restarts repeated counts only once.
    """
    known = log.perf.dropna(subset=["watts"])
    frames = []
    for restart, segment in enumerate(log.segments):
        rows, processes = known[known["restart"] == restart], int(segment.header.get("world_size", 1))
        if rows.empty:
            continue
        watts, seconds = rows["watts"].to_numpy() * processes, rows["wall_s"].to_numpy()
        # The first reading stands for all of the time before it.
        joules = np.concatenate([[watts[0] * seconds[0]], np.diff(seconds) * (watts[1:] + watts[:-1]) / 2])
        frames.append(pd.DataFrame({"tokens": rows["tokens_seen"], "watts": watts, "joules": joules}))
    if not frames:
        return pd.DataFrame(columns=["tokens", "watts", "kwh"])
    joined = pd.concat(frames, ignore_index=True)
    return joined.assign(kwh=joined["joules"].cumsum() / JOULES_PER_KWH)[["tokens", "watts", "kwh"]]


def groupings(rows: pd.DataFrame) -> Sequence[str]:
    """What divided the sequences, in the order of the log."""
    return list(dict.fromkeys(rows["by"]))
