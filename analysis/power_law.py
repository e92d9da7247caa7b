"""Laws of the loss over sizes, L = E + sum of A_i / X_i^a_i, fitted as in Hoffmann et al. 2022.

The sizes X_i are tokens, or parameters and tokens. Hoffmann et al. (arXiv 2203.15556) minimise a Huber loss
of log L from many starts and keep the best; so does this module, by reweighted Levenberg steps that many
problems take together. The unit of a size is its geometric mean over the runs, so each A_i is a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Of each kind: three parameters through fewer leave next to nothing that could contradict them.
LEAST_SIZES = 5
HUBER_DELTA = 1e-3  # of log L: Hoffmann et al. 2022, appendix D.3
N_STEPS = 200
EXPONENTS = (0.01, 3.0)  # outside, the points show no law: a line in log X, or a step
N_RESAMPLED = 200
LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class Law:
    """L(X) = floor + sum_i scales[i] * (X_i / units[i])^-exponents[i]."""

    floor: float
    scales: tuple[float, ...]
    exponents: tuple[float, ...]
    units: tuple[float, ...]

    def __call__(self, *sizes: Array | float) -> Array:
        terms = zip(sizes, self.scales, self.exponents, self.units, strict=True)
        return np.asarray(self.floor + sum(s * (np.asarray(x) / u) ** -e for x, s, e, u in terms))

    def coefficient(self, index: int) -> float:
        """A_i, for sizes counted in ones."""
        return self.scales[index] * self.units[index] ** self.exponents[index]


def has_enough_sizes(sizes: Sequence[Sequence[float]]) -> bool:
    """Whether each kind of size takes at least LEAST_SIZES values; `sizes` holds one row for each kind."""
    return all(len(set(values)) >= LEAST_SIZES for values in sizes)


def fit(sizes: Sequence[Sequence[float]], losses: Sequence[float]) -> Law | None:
    """The law through runs; None with fewer than LEAST_SIZES values of a size and where none describes them.

    `sizes` holds for each kind of size its value in every run, `losses` the loss of every run.
    """
    return best_law(sizes, losses) if has_enough_sizes(sizes) else None


def best_law(sizes: Sequence[Sequence[float]], losses: Sequence[float]) -> Law | None:
    """As `fit`, for any number of sizes: to see how far a law hangs on single runs."""
    log_KN, units = _centred(sizes)
    log_loss_1N = np.log(np.asarray(losses, float))[None]
    start_SP = np.array(list(_starts(len(sizes), np.exp(log_loss_1N))))
    found_SP, huber_S = _descend(start_SP, log_KN, np.repeat(log_loss_1N, len(start_SP), axis=0))
    return _law(found_SP[huber_S.argmin()], units)


def left_out(sizes: Sequence[float], losses: Sequence[float]) -> list[Law]:
    """The laws over one kind of size through all its values but one: how far the exponent hangs on each."""
    laws = []
    for size in sorted(set(sizes)):
        kept = [(x, loss) for x, loss in zip(sizes, losses, strict=True) if x != size]
        laws.append(best_law([[x for x, _ in kept]], [loss for _, loss in kept]))
    return [law for law in laws if law]


def resampled(
    sizes: Sequence[Sequence[float]],
    losses: Sequence[float],
    law: Law,
    n_resampled: int = N_RESAMPLED,
    seed: int = 0,
) -> list[Law]:
    """Laws as they might have come out of other seeds of the same runs: a bootstrap over runs.

    Each run keeps its sizes and deviates from the law at random (normally), by as much as the runs do: the
    root mean square with what the parameters have taken of it, and, as in Student's distribution, with the
    uncertainty of few deviations. Drawing whole runs instead would lose sizes, and with them the exponent,
    where a ladder has a single run of each. Studies that are compared need different seeds.
    """
    random = np.random.default_rng(seed)
    log_KN, units = _centred(sizes)
    best_P = _parameters(law)
    fitted_N = _predict(best_P[None], log_KN)[0]
    n_runs, n_parameters = len(losses), len(best_P)
    left = max(1, n_runs - n_parameters)
    deviation_N = np.log(np.asarray(losses, float)) - fitted_N
    spread = np.sqrt((deviation_N**2).sum() / left)
    drawn_BN = spread * random.normal(size=(n_resampled, n_runs))
    drawn_BN *= np.sqrt(left / random.chisquare(left, size=(n_resampled, 1)))
    found_BP, _ = _descend(np.repeat(best_P[None], n_resampled, axis=0), log_KN, fitted_N + drawn_BN)
    return [_as_law(parameters, units) for parameters in found_BP]


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """The middle part of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compute_optimal(law: Law, flops: float) -> tuple[float, float]:
    """(parameters, tokens) of the lowest loss at 6 * parameters * tokens FLOPs (Hoffmann et al., equation 4).

    `law` is one over parameters and tokens, in this order.
    """
    (a, b), (alpha, beta) = (law.coefficient(0), law.coefficient(1)), law.exponents
    ratio = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    budget = flops / 6
    return ratio * budget ** (beta / (alpha + beta)), budget ** (alpha / (alpha + beta)) / ratio


# ---------------------------------------------------------------- parameters: log E, then log A_i and a_i


def _centred(sizes: Sequence[Sequence[float]]) -> tuple[Array, tuple[float, ...]]:
    log_KN = np.log(np.asarray(sizes, float))
    mean_K = log_KN.mean(axis=1)
    return log_KN - mean_K[:, None], tuple(float(unit) for unit in np.exp(mean_K))


def _starts(n_sizes: int, losses: Array) -> list[list[float]]:
    starts = []
    for floor in (0.1, 0.5, 0.9):
        above = max(float(losses.mean()) - floor * float(losses.min()), 1e-3) / n_sizes
        for exponents in product((0.1, 0.3, 0.6, 1.0, 2.0), repeat=n_sizes):
            terms = [value for exponent in exponents for value in (np.log(above), exponent)]
            starts.append([float(np.log(floor * losses.min())), *terms])
    return starts


def _law(parameters: Array, units: tuple[float, ...]) -> Law | None:
    law = _as_law(parameters, units)
    return law if all(EXPONENTS[0] < exponent < EXPONENTS[1] for exponent in law.exponents) else None


def _as_law(parameters: Array, units: tuple[float, ...]) -> Law:
    scales = tuple(float(np.exp(value)) for value in parameters[1::2])
    return Law(float(np.exp(parameters[0])), scales, tuple(float(e) for e in parameters[2::2]), units)


def _parameters(law: Law) -> Array:
    terms = [value for s, e in zip(law.scales, law.exponents, strict=True) for value in (np.log(s), e)]
    return np.array([np.log(law.floor), *terms])


def _terms(parameters_BP: Array, log_KN: Array) -> Array:
    """Logarithms of E and of every term, [problems, 1 + sizes, runs]."""
    exponents_BK1 = parameters_BP[:, 2::2, None]
    terms_BKN = parameters_BP[:, 1::2, None] - exponents_BK1 * log_KN
    floor_B1N = np.repeat(parameters_BP[:, :1, None], log_KN.shape[1], axis=2)
    return np.concatenate([floor_B1N, terms_BKN], axis=1)


def _predict(parameters_BP: Array, log_KN: Array) -> Array:
    return np.logaddexp.reduce(_terms(parameters_BP, log_KN), axis=1)


def _huber(residual_BN: Array) -> Array:
    size = np.abs(residual_BN)
    outer = HUBER_DELTA * (size - HUBER_DELTA / 2)
    return np.where(size <= HUBER_DELTA, size**2 / 2, outer).sum(axis=-1)


def _descend(start_BP: Array, log_KN: Array, log_loss_BN: Array) -> tuple[Array, Array]:
    """(parameters, Huber loss) at the minimum below the start of each problem."""
    here_BP, damping_B = start_BP.copy(), np.full(len(start_BP), 1e-2)
    residual_BN = _predict(here_BP, log_KN) - log_loss_BN
    best_B = _huber(residual_BN)
    n_parameters = here_BP.shape[1]
    active = np.arange(len(here_BP))  # problems that still move
    for _ in range(N_STEPS):
        here, damping, residual = here_BP[active], damping_B[active], residual_BN[active]
        terms_BTN = _terms(here, log_KN)
        share_BTN = np.exp(terms_BTN - np.logaddexp.reduce(terms_BTN, axis=1)[:, None])
        jacobian_BPN = np.empty((len(active), n_parameters, log_KN.shape[1]))
        jacobian_BPN[:, 0] = share_BTN[:, 0]
        jacobian_BPN[:, 1::2] = share_BTN[:, 1:]
        jacobian_BPN[:, 2::2] = -share_BTN[:, 1:] * log_KN
        weight_BN = HUBER_DELTA / np.maximum(np.abs(residual), HUBER_DELTA)
        weighted_BPN = jacobian_BPN * weight_BN[:, None]
        normal_BPP = weighted_BPN @ jacobian_BPN.transpose(0, 2, 1)
        gradient_BP1 = -weighted_BPN @ residual[:, :, None]
        diagonal = np.einsum("bpp->bp", normal_BPP)  # a view
        diagonal += damping[:, None] * (diagonal + 1e-12)
        step_BP = np.clip(np.linalg.solve(normal_BPP, gradient_BP1)[:, :, 0], -1, 1)
        there = here + step_BP
        found = _predict(there, log_KN) - log_loss_BN[active]
        value_B = _huber(found)
        better = value_B < best_B[active]
        moved = active[better]
        settled = better & (best_B[active] - value_B < 1e-10 * best_B[active])
        here_BP[moved], residual_BN[moved], best_B[moved] = there[better], found[better], value_B[better]
        damping_B[active] = np.where(better, np.maximum(damping / 3, 1e-12), damping * 4)
        active = active[(damping_B[active] < 1e9) & ~settled]
        if not len(active):
            break
    return here_BP, best_B
