"""Skip steps whose loss or gradient norm is not finite or far above that of recent steps.

The method follows OLMo-core's SkipStepOptimizer, with medians in place of means.
"""

import math
import statistics
from collections.abc import Sequence

from pydantic import Field

from configs.loader import Config

WINDOW_STEPS = 128  # rolling window, as in OLMo-core; spikes are looked for once it is half full
MAX_FAULTS = 5  # within WINDOW_STEPS: so many point to the run itself and not to single batches
# The standard deviation of a normal distribution is 1 / Phi^-1(3/4) = 1.4826 median absolute deviations
# (Rousseeuw and Croux 1993, section 1).
MAD_TO_SIGMA = 1.4826


class GuardState(Config):
    """The history that decides whether a step is skipped; part of a checkpoint."""

    log_losses: list[float] = Field(default_factory=list)  # of the last WINDOW_STEPS updates, log of nats
    log_norms: list[float] = Field(default_factory=list)  # of the same updates
    fault_steps: list[int] = Field(default_factory=list)  # faulty steps among the last WINDOW_STEPS
    skipped: int = 0  # faulty steps since the run began


class Guard:
    """Judges each step before its update. All ranks hold the same history and reach the same verdict."""

    def __init__(self, sigma: float | None, state: GuardState) -> None:
        """`sigma`: standard deviations that make a spike; None: only non-finite values are faults."""
        self.sigma, self.state = sigma, state

    def judge(self, loss_nats: float, grad_norm: float) -> str:
        """Why a step must not update the weights; empty if it may. The norm is the one before clipping."""
        for what, value, history in (
            ("loss", loss_nats, self.state.log_losses),
            ("gradient norm", grad_norm, self.state.log_norms),
        ):
            if not math.isfinite(value):
                return f"the {what} is {value}"
            if self.sigma is not None and (deviation := deviation_above(_log(value), history)) > self.sigma:
                return f"the {what} is {value:.4g}, {deviation:.1f} sigma above that of recent steps"
        return ""

    def record(self, step: int, loss_nats: float, grad_norm: float, fault: str) -> None:
        """Add a judged step to the history. Values of faulty steps are left out of the statistics."""
        state = self.state
        faults = [past for past in state.fault_steps if past > step - WINDOW_STEPS]
        losses, norms = state.log_losses, state.log_norms
        if fault:
            faults.append(step)
        else:
            losses = [*losses, _log(loss_nats)][-WINDOW_STEPS:]
            norms = [*norms, _log(grad_norm)][-WINDOW_STEPS:]
        self.state = GuardState(
            log_losses=losses, log_norms=norms, fault_steps=faults, skipped=state.skipped + bool(fault)
        )

    @property
    def too_many_faults(self) -> bool:
        """Whether so many recent steps were faulty that the run must stop."""
        return len(self.state.fault_steps) >= MAX_FAULTS


def deviation_above(value: float, history: Sequence[float]) -> float:
    """By how many standard deviations a value lies above its history; 0 while the history is short.

    The median and the median absolute deviation replace mean and standard deviation, so that one spike does
    not hide the next. The result is negative for a value below its history.
    """
    if len(history) < WINDOW_STEPS // 2:
        return 0.0
    middle = statistics.median(history)
    sigma = MAD_TO_SIGMA * statistics.median(abs(past - middle) for past in history)
    return (value - middle) / max(sigma, 1e-6)  # the deviation of a constant history is 0


def _log(value: float) -> float:
    """Natural logarithm: gradient norms are nearly log-normal. The floor keeps a norm of 0 finite."""
    return math.log(max(value, 1e-12))
