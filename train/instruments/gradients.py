"""Gradients of groups of sequences: dot products between groups, and the gradient noise scale.

Both are measured on samples that the weights have not seen yet: those of the steps that follow.

Memory, for P parameters: on the device one fp32 gradient more than training holds (4 P bytes: 5.4 GB for
1.36 B parameters); on the main process's host two gradients for each group of the largest grouping (three
domains: 6 x 5.4 = 33 GB). Projections onto fewer dimensions would take less, but would not be exact. Time:
the noise scale takes that of a step, cosines that of half a step a group.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.data.batches import TrainingData, step_samples
from train.instruments.groups import Grouping, choose_samples, pairs
from train.log import finite
from train.parallel.ddp import DataParallel
from train.parallel.gradients import Gradient, gradient_of, sum_over_processes

PARTS = ("all", "embedding", "attention", "mlp")
SHARE_OF_BATCH = 4  # a half of a group has a quarter of a step's sequences
LOOK_AHEAD_STEPS = 16  # steps of samples in which the sequences of a rare group are looked for
SMALL_BATCHES = 8  # small batches in a step, at least: their mean square norm is an average of so many
_CHUNK = 1 << 22  # elements of a gradient that are multiplied at once: 32 MB in fp64, times the gradients


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to; scales of norms belong to none but `all`."""
    if "embed_tokens" in name or "lm_head" in name:
        return "embedding"
    return "attention" if ".self_attn." in name else "mlp" if ".mlp." in name else "other"


class GradientMeter:
    """Measures gradients of a strategy that holds all weights on every process."""

    def __init__(self, strategy: DataParallel, data: TrainingData, groupings: Sequence[Grouping]) -> None:
        self._strategy, self._data, self._groupings = strategy, data, groupings
        self._world, recipe = strategy.world, strategy.run.recipe
        self._batch = recipe.global_batch_size
        self._micro = recipe.micro_batch_size
        self._bf16 = recipe.precision == "bf16"
        self._parts = [part_of(name) for name, _ in strategy.model.named_parameters()]

    # ---------------------------------------------------------------- cosines

    def cosines(self, step: int) -> Iterator[dict[str, Any]]:
        """Rows of dot products between groups after a step. All processes must call it.

        Every group has two halves, of different documents. `dot` of two groups is the mean over the pairs of
        their halves, `dot` of a group with itself is that of its two halves: no product contains the same
        noise twice. `cosine` is the mean cosine of the same pairs. That of a group with itself, the
        split-half cosine, is what noise leaves of 1, and thus the ceiling of the others.
        """
        for grouping in self._groupings:
            first = step * self._batch
            per_half = max(1, self._batch // SHARE_OF_BATCH)
            halves = choose_samples(self._data, grouping, first, per_half, LOOK_AHEAD_STEPS * self._batch)
            there = [group for group, (one, _) in enumerate(halves) if len(one)]
            gradients = [self._mean_gradient(half) for group in there for half in halves[group]]
            if not self._world.is_main:
                continue
            gram = gram_matrices(gradients, self._parts)
            for part, products in gram.items():
                for a, b in pairs(len(there)):
                    yield {
                        "measure": "cosine",
                        "by": grouping.by,
                        "part": part,
                        "group": grouping.names[there[a]],
                        "other": grouping.names[there[b]],
                        "n_sequences": len(halves[there[a]][0]),
                        **between(products, a, b),
                    }

    def _mean_gradient(self, samples: np.ndarray) -> Gradient:
        """Gradient of the samples' mean loss, on the main process's host; elsewhere an empty list."""
        total = self._summed_gradient(samples, self._micro, lambda own, gradient: None)
        return [tensor.cpu() for tensor in total] if self._world.is_main else []

    def _summed_gradient(
        self, samples: np.ndarray, size: int, look: Callable[[np.ndarray, Gradient], None]
    ) -> Gradient:
        """Gradient of the samples' mean loss, in batches of `size` that all processes share.

        `look` sees this process's batches: the sample numbers, and their part of the gradient.
        """
        n_targets = self._data.count_targets(samples)
        total: Gradient | None = None
        for own in self._shares(samples, size):
            gradient = self._gradient(own, n_targets)
            look(own, gradient)
            if total is None:
                total = gradient
            else:
                torch._foreach_add_(total, gradient)
        total = total or [torch.zeros_like(weight) for weight in self._strategy.model.parameters()]
        sum_over_processes(total, self._world)
        return total

    def _shares(self, samples: np.ndarray, size: int) -> list[np.ndarray]:
        """This process's part of the samples, in batches of `size`."""
        batches = [samples[first : first + size] for first in range(0, len(samples), size)]
        return batches[self._world.rank :: self._world.size]

    def _gradient(self, samples: np.ndarray, n_targets: int) -> Gradient:
        batch = self._data.batch(samples).to(self._world.device)
        inputs_BT, targets_BT = batch.input_ids_BT, batch.targets_BT
        return gradient_of(self._strategy.model, self._bf16, inputs_BT, targets_BT, n_targets)[0]

    # ---------------------------------------------------------------- noise scale

    def noise_scale(self, step: int) -> list[dict[str, Any]]:
        """Rows of the gradient noise scale after a step, one for each part. All processes must call it."""
        samples = step_samples(step + 1, self._strategy.run)
        size = small_batch(self._batch, self._micro)
        n_targets = self._data.count_targets(samples)
        squares = torch.zeros(len(PARTS), dtype=torch.float64, device=self._world.device)

        def add_square(own: np.ndarray, gradient: Gradient) -> None:
            share = self._data.count_targets(own) / n_targets
            squares.add_(self._squares(gradient) / share**2 * (len(own) / len(samples)))

        total = self._summed_gradient(samples, size, add_square)
        small, big = self._world.sum(squares).tolist(), self._squares(total).tolist()
        small_tokens = n_targets * size / len(samples)
        rows = []
        for part, small_square, big_square in zip(PARTS, small, big, strict=True):
            signal, trace = noise_estimates(small_square, big_square, small_tokens, n_targets)
            rows.append(
                {
                    "measure": "noise_scale",
                    "part": part,
                    "small_tokens": small_tokens,
                    "big_tokens": n_targets,
                    "small_square": finite(small_square),
                    "big_square": finite(big_square),
                    "signal_square": finite(signal),
                    "noise_trace": finite(trace),
                }
            )
        return rows

    def _squares(self, gradient: Gradient) -> Tensor:
        """Square norms of a gradient's PARTS (fp64)."""
        by_tensor = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float64) ** 2 for g in gradient])
        chosen = [[part in ("all", own) for own in self._parts] for part in PARTS]
        return torch.tensor(chosen, dtype=torch.float64, device=by_tensor.device) @ by_tensor


def small_batch(batch: int, micro: int) -> int:
    """Sequences of a small batch: a micro-batch, but at most an eighth of the step."""
    return max(1, min(micro, batch // SMALL_BATCHES))


def noise_estimates(
    small_square: float, big_square: float, small_tokens: float, big_tokens: float
) -> tuple[float, float]:
    """Unbiased (square norm of the true gradient, trace of a token's gradient covariance).

    From the mean square norms of gradients of two batch sizes (McCandlish et al. 2018, arXiv 1812.06162,
    appendix A.1). Either may be negative where noise is large; the noise scale, trace / square in tokens, is
    to be taken of means over several steps.
    """
    signal = (big_tokens * big_square - small_tokens * small_square) / (big_tokens - small_tokens)
    trace = (small_square - big_square) / (1 / small_tokens - 1 / big_tokens)
    return signal, trace


def gram_matrices(gradients: Sequence[Gradient], parts: Sequence[str]) -> dict[str, np.ndarray]:
    """Dot products between all gradients (K, K; fp64) for each of PARTS. `parts`: the part of each tensor."""
    grams = {part: np.zeros((len(gradients), len(gradients))) for part in PARTS}
    for index, part in enumerate(parts):
        flat = [gradient[index].flatten() for gradient in gradients]
        for first in range(0, len(flat[0]) if flat else 0, _CHUNK):
            matrix_KN = torch.stack([tensor[first : first + _CHUNK] for tensor in flat]).double()
            products = (matrix_KN @ matrix_KN.T).numpy()
            for name in {"all", part} & set(PARTS):
                grams[name] += products
    return grams


def between(products: np.ndarray, a: int, b: int) -> dict[str, float | None]:
    """`dot` and `cosine` of groups a and b from the products (2 K, 2 K) of their halves; see `cosines`."""
    chosen = [(2 * a, 2 * a + 1)] if a == b else [(2 * a + i, 2 * b + j) for i in (0, 1) for j in (0, 1)]
    dots = [products[i, j] for i, j in chosen]
    norms = [np.sqrt(products[i, i] * products[j, j]) for i, j in chosen]
    cosines = [one / norm if norm > 0 else np.nan for one, norm in zip(dots, norms, strict=True)]
    return {"dot": finite(float(np.mean(dots))), "cosine": finite(float(np.mean(cosines)))}
