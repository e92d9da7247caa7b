"""Effects of all runs of a study at once: one model, one residual variance, simultaneous intervals.

Pure functions from numbers to numbers. `effects.effect` judges two runs by themselves; with three to five
seeds its interval is wide, because it knows the spread from those seeds alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.effects import CONFIDENCE, t_quantile

N_DRAWS = 200_000  # of the largest |t|; the critical value then varies by less than 0.5 %
SEED = 0  # the same numbers give the same interval

Contrast = tuple[str, str]  # runs A and B: the effect is B - A


@dataclass(frozen=True)
class JointEffect:
    """The effect of run B against run A, with an interval that holds for its whole family at once."""

    mean: float
    low: float
    high: float
    n_pairs: int  # seeds that both runs have


@dataclass(frozen=True)
class Joint:
    """What `joint_effects` finds."""

    effects: dict[Contrast, JointEffect]
    residual_deviation: float  # of one run and seed, after its run's and its seed's effect
    degrees_of_freedom: int
    critical: float  # the half-width of an interval in standard errors

    def detectable(self, n_pairs: int, power: float = 0.8) -> float:
        """The effect that one contrast of `n_pairs` seeds finds with that probability, documents aside.

        (t_crit + t_power) · s · sqrt(2 / n), the usual approximation (Cohen 1988, chapter 2).
        """
        of_power = t_quantile(self.degrees_of_freedom, 2 * power - 1)
        return (self.critical + of_power) * self.residual_deviation * math.sqrt(2 / n_pairs)


def joint_effects(
    values: Mapping[str, Mapping[int, float]],
    contrasts: Sequence[Contrast],
    document_variance: Mapping[Contrast, float],
) -> Joint:
    """Effects in the model value = run + seed + residual, by least squares.

    `values`: run -> seed -> value. `contrasts`: one family, for which the intervals hold simultaneously with
    CONFIDENCE. With equal seeds and one common baseline that is Dunnett's procedure (Dunnett 1955); for other
    designs the critical value of max |t| comes from draws of the multivariate t distribution with the
    contrasts' correlations (Hothorn, Bretz and Westfall 2008). `document_variance` is added to the squared
    standard error of each contrast. Raises ValueError if a contrast has no seed in common, or if there are no
    more values than runs and seeds, so that nothing is left to judge the spread by.
    """
    for a, b in contrasts:
        if not values.get(a, {}).keys() & values.get(b, {}).keys():
            raise ValueError(f"{a} and {b}: no seed in common")
    runs = sorted(run for run in values if values[run])
    seeds = sorted({seed for of_run in values.values() for seed in of_run})
    cells = [(run, seed) for run in runs for seed in sorted(values[run])]
    y = np.array([values[run][seed] for run, seed in cells])
    design = np.zeros((len(cells), len(runs) + len(seeds) - 1))
    for row, (run, seed) in enumerate(cells):
        design[row, runs.index(run)] = 1
        if seed != seeds[0]:
            design[row, len(runs) + seeds.index(seed) - 1] = 1
    rank = int(np.linalg.matrix_rank(design))
    degrees = len(cells) - rank
    if degrees < 1:
        raise ValueError("every run needs two seeds or more: nothing is left to judge the spread by")
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residual = y - design @ coefficients
    variance = float(residual @ residual) / degrees

    weights = np.zeros((len(contrasts), design.shape[1]))
    for row, (a, b) in enumerate(contrasts):
        weights[row, runs.index(a)], weights[row, runs.index(b)] = -1, 1
    covariance = variance * weights @ inverse @ weights.T
    critical = _critical(covariance, degrees)
    effects = {}
    for row, (a, b) in enumerate(contrasts):
        mean = float(weights[row] @ coefficients)
        half = critical * math.sqrt(covariance[row, row] + document_variance.get((a, b), 0.0))
        n_pairs = len(values[a].keys() & values[b].keys())
        effects[a, b] = JointEffect(mean, mean - half, mean + half, n_pairs)
    return Joint(effects, math.sqrt(variance), degrees, critical)


def _critical(covariance: np.ndarray, degrees: int) -> float:
    """The c with P(max |t| <= c) = CONFIDENCE for contrasts with this covariance."""
    deviations = np.sqrt(np.diag(covariance))
    if len(covariance) == 1 or not deviations.all():
        return t_quantile(degrees)
    correlation = covariance / np.outer(deviations, deviations)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal((N_DRAWS, len(covariance))) @ root.T
    chi = np.sqrt(rng.chisquare(degrees, N_DRAWS) / degrees)
    return float(np.quantile(np.abs(normal).max(axis=1) / chi, CONFIDENCE))
