"""Which of many passages an n-gram stands in: sorted arrays, searched for a whole text at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocess.dedup.ngrams import expand_ranges

_MOST_FILTER_BITS = 26  # of hash: 64 MB


class NgramIndex:
    """An entry for each n-gram of each passage.

    hashes: uint64 [entries], ascending. passages: int32 [entries], whose n-gram it is. sizes: int64
    [passages].
    """

    def __init__(self, hashes: np.ndarray, passages: np.ndarray, sizes: np.ndarray) -> None:
        self.hashes, self.passages, self.sizes = hashes, passages, sizes
        # Most n-grams of a text stand in no passage: a look by their lower bits spares 15 of 16 the search.
        bits = min(_MOST_FILTER_BITS, max(10, (16 * len(hashes)).bit_length()))
        self._mask = np.uint64((1 << bits) - 1)
        self._filter = np.zeros(1 << bits, np.bool_)
        self._filter[hashes & self._mask] = True

    @classmethod
    def of_sets(cls, sets: Sequence[np.ndarray]) -> "NgramIndex":
        """The index of passages given as sets of n-gram hashes."""
        sizes = np.array([len(hashes) for hashes in sets], np.int64)
        hashes = np.concatenate([*sets, np.empty(0, np.uint64)])
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], np.repeat(np.arange(len(sets), dtype=np.int32), sizes)[order], sizes)

    def save(self, folder: Path) -> None:
        """Write the arrays to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("hashes", "passages", "sizes"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "NgramIndex":
        """The index in `folder`, shared between the processes that load it."""
        return cls(
            *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("hashes", "passages", "sizes"))
        )

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Entries whose n-grams are among `hashes`, a set: int64 [found], their places in the arrays."""
        hashes = hashes[self._filter[hashes & self._mask]]
        first = np.searchsorted(self.hashes, hashes)
        return expand_ranges(first, np.searchsorted(self.hashes, hashes, side="right"))[0]
