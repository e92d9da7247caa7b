"""Which of many passages contain an n-gram: sorted arrays, searched with all n-grams of a text at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocess.dedup.ngrams import expand_ranges, sorted_distinct

_MOST_FILTER_BITS = 26  # bits of the hash; a table of 2^26 bytes is 64 MB


class NgramIndex:
    """An entry for each n-gram of each passage.

    hashes: uint64 [entries], ascending. passages: int32 [entries], the passage that the n-gram is from.
    sizes: int64 [passages], number of n-grams.
    """

    def __init__(self, hashes: np.ndarray, passages: np.ndarray, sizes: np.ndarray) -> None:
        self.hashes, self.passages, self.sizes = hashes, passages, sizes
        # Most n-grams of a text are in no passage. A table of the hashes' low bits excludes 15 of 16 of them
        # without a search.
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
        """Map the index in `folder` into memory; processes that load it share the memory."""
        return cls(
            *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("hashes", "passages", "sizes"))
        )

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Positions of the entries whose n-grams are in `hashes` (uint64, in any order): int64 [found]."""
        hashes = sorted_distinct(hashes[self._filter[hashes & self._mask]])
        first = np.searchsorted(self.hashes, hashes)
        return expand_ranges(first, np.searchsorted(self.hashes, hashes, side="right"))[0]
