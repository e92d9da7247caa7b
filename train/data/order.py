"""Which window sample k is: permutations, the interleaving of domains, and its change during a run.

All are functions of k, so nothing is stored, and a run can start at any sample in constant time.
"""

import functools
from dataclasses import dataclass

import numpy as np
import xxhash

# Blocks whose windows are shuffled together. 64 blocks of 64 windows are 4,096 samples of one domain: two
# steps of the full run, and 12.6 MB of page cache.
POOL_BLOCKS = 64
NEVER = 1 << 62  # a sample that no run reaches


def permutation(n: int, key: object) -> np.ndarray:
    """A permutation of range(n) (int64) that depends on `key` alone, not on a library's version.

    It sorts the numbers by their SplitMix64 values (Steele, Lea and Flood 2014, "Fast splittable pseudorandom
    number generators", figure 16). SplitMix64 is a bijection, so there are no ties.
    """
    seed = np.uint64(xxhash.xxh3_64_intdigest(repr(key).encode()))
    with np.errstate(over="ignore"):
        x = seed + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")


class WindowOrder:
    """The endless order of one domain's windows, epoch after epoch."""

    def __init__(
        self,
        n_windows: int,
        block_windows: int,
        unique_share: float,
        key: tuple[object, ...],
        block_scores: np.ndarray | None = None,
    ) -> None:
        """`unique_share`: share of the windows that is used at all. `key` seeds the permutations.

        `block_scores`: every epoch sorts the blocks by rising score instead of permuting them.
        """
        self.n_windows = max(1, round(n_windows * unique_share))  # of an epoch
        self.block_windows = block_windows
        self.key = key
        # A share below 1 takes blocks from all over the stream, whose beginning holds the oldest papers.
        chosen = np.arange(-(-n_windows // block_windows))
        if unique_share < 1 and (n_full := n_windows // block_windows):
            chosen = permutation(n_full, (*key, "share"))
            self.n_windows = min(self.n_windows, n_full * block_windows)
        self._blocks = chosen[: -(-self.n_windows // block_windows)]
        self._scores = block_scores
        self._epoch_blocks = functools.lru_cache(maxsize=2)(self._permute_blocks)
        self._pool_slots = functools.lru_cache(maxsize=4)(self._permute_pool)

    def windows(self, indices: np.ndarray) -> np.ndarray:
        """Window numbers (int64) at the positions `indices` (int64) of the order."""
        epoch, position = np.divmod(indices, self.n_windows)
        pool_windows = self.block_windows * POOL_BLOCKS
        pool, slot = np.divmod(position, pool_windows)
        windows = np.empty_like(position)
        for e, p in {(int(e), int(p)) for e, p in zip(epoch, pool, strict=True)}:
            here = (epoch == e) & (pool == p)
            shuffled = p * pool_windows + self._pool_slots(e, p)[slot[here]]
            block, offset = np.divmod(shuffled, self.block_windows)
            windows[here] = self._epoch_blocks(e)[block] * self.block_windows + offset
        return windows

    def _permute_blocks(self, epoch: int) -> np.ndarray:
        n_full = self.n_windows // self.block_windows  # a last, shorter block stays at the end
        order = permutation(n_full, (*self.key, "blocks", epoch))
        if self._scores is not None:
            order = order[np.argsort(self._scores[self._blocks[order]], kind="stable")]
        return np.concatenate([self._blocks[order], self._blocks[n_full:]])

    def _permute_pool(self, epoch: int, pool: int) -> np.ndarray:
        pool_windows = self.block_windows * POOL_BLOCKS
        size = min(pool_windows, self.n_windows - pool * pool_windows)
        return permutation(size, (*self.key, "pool", epoch, pool))


def interleave(samples: np.ndarray, weights: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(domain number, index within the domain) of each sample, in proportion to integer weights.

    The first domain takes its share of the samples, evenly spaced as in Bresenham's line algorithm (1965);
    the next takes its share of the rest, and so on. Among the first sum(weights) samples each domain has
    exactly its weight.
    """
    domain = np.full(samples.shape, len(weights) - 1)
    index = samples.copy()  # among the samples that no earlier domain took
    open_ = np.ones(samples.shape, dtype=bool)
    total = sum(weights)
    for number, weight in enumerate(weights[:-1]):
        if not total:
            break
        before = index * weight // total
        takes = open_ & ((index + 1) * weight // total > before)
        domain[takes] = number
        index = np.where(takes, before, np.where(open_, index - before, index))
        open_ &= ~takes
        total -= weight
    return domain, index


@dataclass(frozen=True)
class Mixture:
    """Weights of the domains, and other weights from sample `anneal_from` on.

    Annealing changes the weights only: each domain continues in its own order where it was.
    """

    weights: list[int]
    anneal_weights: list[int]
    anneal_from: int

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(domain number, index within the domain) of each sample."""
        late = samples >= self.anneal_from
        domain, index = interleave(samples, self.weights)
        if late.any():
            domain[late], later = interleave(samples[late] - self.anneal_from, self.anneal_weights)
            index[late] = later + np.array(shares(self.anneal_from, self.weights))[domain[late]]
        return domain, index

    def counts(self, n_samples: int) -> list[int]:
        """How many of the first `n_samples` belong to each domain."""
        early = shares(min(n_samples, self.anneal_from), self.weights)
        late = shares(max(0, n_samples - self.anneal_from), self.anneal_weights)
        return [a + b for a, b in zip(early, late, strict=True)]


def shares(n_samples: int, weights: list[int]) -> list[int]:
    """How many of the first `n_samples` belong to each domain when `interleave` uses these weights."""
    counts, left, total = [], n_samples, sum(weights)
    for weight in weights[:-1]:
        counts.append(left * weight // total if total else 0)
        left -= counts[-1]
        total -= weight
    return [*counts, left]
