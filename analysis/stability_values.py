"""How stable a run was, in numbers of one log (analysis/preregistration.md defines each).

Pure functions from a `RunLog` to floats; NaN where the log cannot say.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from analysis.effects import validation_curve
from analysis.readers.run_logs import RunLog

WINDOW = 31  # steps of the running median
SPIKE_DEVIATIONS = 6.0  # robust standard deviations above the running median
TO_DEVIATION = 1.4826  # times the median absolute deviation: the standard deviation of normal noise
FIRST_STEPS = 50


def warmup_steps(log: RunLog) -> int:
    """Steps until the learning rate first reached its peak."""
    rates = log.train["lr"].to_numpy(float)
    return int(log.train["step"].iloc[int(rates.argmax())])


def _around_median(log: RunLog) -> pd.Series:
    """The training loss less its running median, in nats."""
    loss = log.train["loss_nats"].astype(float)
    return loss - loss.rolling(WINDOW, center=True, min_periods=WINDOW // 2).median()


def is_spike(log: RunLog) -> pd.Series:
    """For each training row after the warm-up whether its loss is a spike."""
    noise = _around_median(log)[log.train["step"] > warmup_steps(log)]
    deviation = TO_DEVIATION * float((noise - noise.median()).abs().median())
    return noise > SPIKE_DEVIATIONS * deviation


def spikes_per_1000(log: RunLog) -> float:
    """Spikes of the training loss after the warm-up, for each 1,000 steps."""
    found = is_spike(log)
    return 1000 * float(found.mean()) if len(found) else float("nan")


def oscillation(log: RunLog) -> float:
    """Standard deviation of the loss around its running median over the second half, in nats."""
    half = log.train["step"] > log.train["step"].max() / 2
    return float(_around_median(log)[half].std(ddof=1))


def _late_norms(log: RunLog) -> np.ndarray:
    return log.train.loc[log.train["step"] > warmup_steps(log), "grad_norm"].dropna().to_numpy(float)


def late_norm_ratio(log: RunLog) -> float:
    """99th percentile of the gradient norm after the warm-up, divided by its median there."""
    norms = _late_norms(log)
    return float(np.quantile(norms, 0.99) / np.median(norms)) if len(norms) else float("nan")


def late_norm_median(log: RunLog) -> float:
    """Median of the gradient norm after the warm-up."""
    norms = _late_norms(log)
    return float(np.median(norms)) if len(norms) else float("nan")


def first_norm_peak(log: RunLog) -> float:
    """The largest gradient norm of the first 50 steps."""
    return float(log.train.loc[log.train["step"] <= FIRST_STEPS, "grad_norm"].max())


def clipped_share(log: RunLog) -> float:
    """The share of steps whose gradient was clipped."""
    return float(log.train["clipped"].mean())


def validation_rise(log: RunLog) -> float:
    """The final validation less the lowest one, in bits per byte."""
    curve = validation_curve(log)["bits_per_byte"]
    return float(curve.iloc[-1] - curve.min())


def _gap_at(log: RunLog, step: int) -> float:
    """Validation less training loss at a validation, in nats, means over the domains.

    The training loss of each domain is its mean over the WINDOW steps before.
    """
    val = log.val[(log.val["step"] == step) & (log.val["domain"] != "all")].set_index("domain")["loss_nats"]
    before = log.train[(log.train["step"] <= step) & (log.train["step"] > step - WINDOW)]
    names = [f"loss_nats/{domain}" for domain in val.index]
    if not set(names) <= set(before):
        return float("nan")
    return float(val.mean() - before[names].mean().mean())


def gap(log: RunLog) -> float:
    """Validation less training loss at the end, in nats."""
    return _gap_at(log, int(log.val["step"].max()))


def gap_growth(log: RunLog) -> float:
    """How much the gap between validation and training loss grew over the second half, in nats."""
    steps = np.sort(log.val["step"].unique())
    middle = steps[np.abs(steps - steps[-1] / 2).argmin()]
    return gap(log) - _gap_at(log, int(middle))


def data_wait_share(log: RunLog) -> float:
    """Time waiting for data, divided by the time of the steps."""
    if not len(log.perf) or "data_wait_s" not in log.perf:
        return float("nan")
    return float(log.perf["data_wait_s"].sum() / log.perf["step_s"].sum())


MEASURES: dict[str, Callable[[RunLog], float]] = {
    measure.__name__: measure
    for measure in (
        *(spikes_per_1000, oscillation, late_norm_ratio, late_norm_median, first_norm_peak),
        *(clipped_share, validation_rise, gap, gap_growth, data_wait_share),
    )
}
UNITS = {
    "spikes_per_1000": "steps",
    "oscillation": "nats",
    "gap": "nats",
    "gap_growth": "nats",
    "validation_rise": "bits per byte",
}


def diverged(log: RunLog) -> str:
    """Why the run counts as diverged; empty if it does not."""
    loss = log.train["loss_nats"].astype(float)
    if not np.isfinite(loss.to_numpy()).all():
        return "a loss is not finite"
    curve = validation_curve(log)["bits_per_byte"]
    if len(curve) and curve.iloc[-1] > curve.iloc[0]:
        return "the last validation is worse than the first"
    return ""
