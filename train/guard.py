"""What keeps a bad step from the weights: one that is not finite, or far outside of its recent history."""

import math
import statistics
from collections.abc import Sequence

from pydantic import Field

from configs.loader import Config

WINDOW_STEPS = 128  # OLMo-core's rolling interval for the same purpose; nothing is judged before half of it
MAX_FAULTS = 5  # of the last WINDOW_STEPS: by then it is the run that is at fault, not a batch
# A median absolute deviation times this is the standard deviation of a normal distribution.
MAD_TO_SIGMA = 1.4826


class GuardState(Config):
    """The history that a judgement depends on; part of a checkpoint."""

    log_losses: list[float] = Field(default_factory=list)  # of updated steps, the last WINDOW_STEPS
    log_norms: list[float] = Field(default_factory=list)
    fault_steps: list[int] = Field(default_factory=list)  # within the last WINDOW_STEPS
    skipped: int = 0  # steps since the run began that did not update the weights


class Guard:
    """Judges each step before its update. All ranks hold the same history and come to the same judgement."""

    def __init__(self, sigma: float | None, state: GuardState) -> None:
        """`sigma`: how many standard deviations make a spike; None: only what is not finite is a fault."""
        self.sigma, self.state = sigma, state

    def judge(self, loss_nats: float, grad_norm: float) -> str:
        """Why a step must not reach the weights; empty if it may."""
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
        """Add a judged step to the history; a faulty one does not count for what is usual."""
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
    def gives_up(self) -> bool:
        """Whether so many recent steps were faulty that going on is a waste."""
        return len(self.state.fault_steps) >= MAX_FAULTS


def deviation_above(value: float, history: Sequence[float]) -> float:
    """By how many standard deviations a value lies above its history; 0 while that is short.

    Median and median absolute deviation stand for mean and standard deviation: the spike of today must not
    hide that of tomorrow. A falling loss lies below its history, which is no fault.
    """
    if len(history) < WINDOW_STEPS // 2:
        return 0.0
    middle = statistics.median(history)
    sigma = MAD_TO_SIGMA * statistics.median(abs(past - middle) for past in history)
    return (value - middle) / max(sigma, 1e-6)  # a constant history has no deviation to divide by


def _log(value: float) -> float:
    """In logarithms a gradient's norm is nearly normal, and its trend is a line."""
    return math.log(max(value, 1e-12))
