"""The law of loss over data, L(D) = E + B / D^beta, fitted as in Hoffmann et al. 2022 (arXiv 2203.15556).

They minimise a Huber loss of log L over the three parameters, from many starts, and keep the best. Here the
scale of D is its geometric mean, so that B is a loss, and the minimum is found by reweighted Levenberg steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Points = Sequence[tuple[float, float]]  # (tokens, loss in nats per token)

LEAST_SIZES = 5  # three parameters through fewer sizes leave next to nothing that could contradict them
HUBER_DELTA = 1e-3  # of log L: Hoffmann et al. 2022, appendix D.3
N_STEPS = 200
BETA_RANGE = (0.01, 3.0)  # outside, the points show no law: a line in log D, or a step


@dataclass(frozen=True)
class Law:
    """L(D) = floor + scale * (D / unit)^-beta, in nats per token."""

    floor: float
    scale: float
    beta: float
    unit: float

    def __call__(self, tokens: Array) -> Array:
        return self.floor + self.scale * (tokens / self.unit) ** -self.beta


def fit_law(points: Points) -> Law | None:
    """The law through some runs; None with fewer than LEAST_SIZES sizes and where none describes them."""
    return _fit(points) if len({size for size, _ in points}) >= LEAST_SIZES else None


def left_out(points: Points) -> list[Law]:
    """The laws through all sizes but one: how far the exponent hangs on single sizes."""
    laws = (_fit([p for p in points if p[0] != size]) for size in sorted({size for size, _ in points}))
    return [law for law in laws if law]


def _fit(points: Points) -> Law | None:
    tokens, loss = (np.array(values, float) for values in zip(*points, strict=True))
    unit = float(np.exp(np.log(tokens).mean()))
    x, y = np.log(tokens / unit), np.log(loss)
    starts = [
        np.array([np.log(floor * loss.min()), np.log(max(loss.mean() - floor * loss.min(), 1e-3)), beta])
        for floor in (0.1, 0.5, 0.9)
        for beta in (0.1, 0.3, 0.6, 1.0, 2.0)
    ]
    _, (floor, scale, beta) = min((_descend(start, x, y) for start in starts), key=lambda found: found[0])
    if not BETA_RANGE[0] < beta < BETA_RANGE[1]:
        return None
    return Law(float(np.exp(floor)), float(np.exp(scale)), float(beta), unit)


def _huber(residual: Array) -> float:
    size = np.abs(residual)
    inner = size <= HUBER_DELTA
    return float(np.where(inner, size**2 / 2, HUBER_DELTA * (size - HUBER_DELTA / 2)).sum())


def _descend(start: Array, x: Array, y: Array) -> tuple[float, Array]:
    """(loss, parameters) at the minimum below a start; parameters are log E, log B, beta."""

    def parts(parameters: Array) -> tuple[Array, Array]:
        return np.full(len(x), parameters[0]), parameters[1] - parameters[2] * x

    here, damping = start, 1e-2
    residual = np.logaddexp(*parts(here)) - y
    best = _huber(residual)
    for _ in range(N_STEPS):
        low, high = parts(here)
        share = np.exp(high - np.logaddexp(low, high))  # of L that is not the floor
        jacobian = np.column_stack([1 - share, share, -share * x])
        weight = HUBER_DELTA / np.maximum(np.abs(residual), HUBER_DELTA)
        normal = jacobian.T @ (weight[:, None] * jacobian)
        step = np.linalg.solve(
            normal + damping * np.diag(normal.diagonal() + 1e-12), -jacobian.T @ (weight * residual)
        )
        there = here + np.clip(step, -1, 1)
        found = np.logaddexp(*parts(there)) - y
        if (value := _huber(found)) < best:
            here, residual, best, damping = there, found, value, max(damping / 3, 1e-12)
        elif damping > 1e9:
            break
        else:
            damping *= 4
    return best, here
