"""Which of many passages contain an n-gram: sorted arrays, searched with all n-grams of a text at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preprocess.dedup.ngrams import expand_ranges, sorted_distinct

_MOST_FILTER_BITS = 30  # bits of the hash; a table of 2^30 bits is 128 MB
_ARRAYS = ("hashes", "passages", "sizes", "table")
_SEVEN, _BITS_OF_EIGHT = np.uint64(7), np.uint64(3)


class NgramIndex:
    """An entry for each n-gram of each passage.

    hashes: uint64 [entries], ascending. passages: int32 [entries], the passage that the n-gram is from.
    sizes: int64 [passages], number of n-grams. table: uint8 [bytes], a bit for each value of the hashes' low
    bits: whether there is such a hash. Most n-grams of a text are in no passage, and the table excludes 15 of
    16 of them without a search.
    """

    def __init__(
        self, hashes: np.ndarray, passages: np.ndarray, sizes: np.ndarray, table: np.ndarray
    ) -> None:
        self.hashes, self.passages, self.sizes, self.table = hashes, passages, sizes, table
        self._mask = np.uint64(8 * len(table) - 1)

    @classmethod
    def of_sets(cls, sets: Sequence[np.ndarray]) -> "NgramIndex":
        """The index of passages given as sets of n-gram hashes."""
        sizes = np.array([len(hashes) for hashes in sets], np.int64)
        hashes = np.concatenate([*sets, np.empty(0, np.uint64)])
        order = np.argsort(hashes, kind="stable")
        bits = min(_MOST_FILTER_BITS, max(10, (16 * len(hashes)).bit_length()))
        table = np.zeros((1 << bits) // 8, np.uint8)
        low = hashes & np.uint64((1 << bits) - 1)
        np.bitwise_or.at(table, low >> _BITS_OF_EIGHT, np.uint8(1) << (low & _SEVEN).astype(np.uint8))
        passages = np.repeat(np.arange(len(sets), dtype=np.int32), sizes)
        return cls(hashes[order], passages[order], sizes, table)

    def save(self, folder: Path) -> None:
        """Write the arrays to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "NgramIndex":
        """Map the index in `folder` into memory; processes that load it share the memory."""
        # As plain arrays: indexing a np.memmap takes longer.
        return cls(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _ARRAYS))

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Positions of the entries whose n-grams are in `hashes` (uint64, in any order): int64 [found]."""
        low = hashes & self._mask
        bit = self.table[low >> _BITS_OF_EIGHT] >> (low & _SEVEN).astype(np.uint8) & np.uint8(1)
        hashes = sorted_distinct(hashes[bit.view(np.bool_)])
        first = np.searchsorted(self.hashes, hashes)
        return expand_ranges(first, np.searchsorted(self.hashes, hashes, side="right"))[0]
