"""MinHash sketches of documents, and the pairs of documents that are worth comparing.

A sketch has two parts: a bottom-k MinHash (Broder 1997), the SMALLEST smallest hashes of a document's
n-grams; and all hashes below a threshold, one n-gram in SAMPLE (FracMinHash, Irber et al. 2022). The first
part finds near-duplicates of any length. The second grows with the document, so that a chapter's hashes are
in its book's sketch; a MinHash of fixed size would miss them.
The index takes 8 bytes x (n-grams / SAMPLE + SMALLEST + 1) per document.
"""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from configs.loader import UserError
from preprocess.dedup.ngrams import combine, expand_ranges, sorted_distinct, word_hashes

NGRAM_WORDS = 5
SMALLEST = 32
SAMPLE = 100  # 0.9 KB for a paper of 90 KB; a chapter of 1,000 words still has 10 hashes in its book's sketch
THRESHOLD = np.uint64(2**64 // SAMPLE)
# A pair is compared if it shares at least this part of the hashes that it could share, and two of four or
# more. Of the pairs with 0.8 of their n-grams in common, chance gives less to one in 40 if it could share 4
# hashes, to one in 10^4 if it could share 10, to one in 10^10 if it could share 32 (binomial tail).
WORTHWHILE, TWO_OF = 0.3, 4
# A single hash, of those with fewer, counts only if at most RARE documents have it. Otherwise a short
# document, which shows a long one few hashes, would be compared with all that have one of its phrases, and
# the number of such pairs grows faster than the corpus: more and more phrases have many users.
RARE = 16
# Partners of a document that one n-gram may yield, preferred papers first. It limits phrases that all use.
MOST_PARTNERS = 32
_AT_A_TIME = 1024  # documents whose pairs are counted together: at most 16 MB of them
_LOOKED_UP_AT_A_TIME = 64 * _AT_A_TIME
_ENTRIES_AT_A_TIME = 1 << 20  # 8 MB
_NONE = np.uint64(2**64 - 1)  # stands for "no hash" and "no entry"
# An entry of the index is the hash's lower 40 bits, then the document's number. Among 4 x 10^8 entries (all
# of arXiv) a given hash meets a different hash with the same 40 bits with p = 4e-4.
_NUMBER_BITS = np.uint64(24)
_NUMBER = np.uint64(2**24 - 1)


def sketch(words: bytes) -> np.ndarray:
    """The sketch of a document: uint64 [hashes], ascending; all n-gram hashes if there are few.

    `words`: as `word_bytes` returns them.
    """
    hashes = combine(word_hashes(words), NGRAM_WORDS)
    sampled = sorted_distinct(hashes[hashes < THRESHOLD])
    if len(sampled) >= SMALLEST:  # as in most documents: there is no need to sort all hashes
        return sampled
    return sorted_distinct(hashes)[:SMALLEST].copy()  # a view would keep all hashes in memory


class SketchIndex:
    """The sketches of the whole corpus, searchable by hash. `add` numbers the documents from 0."""

    def __init__(self) -> None:
        # array.array grows in place; joining a list of numpy arrays would need twice the memory.
        self._probes = array("Q")  # SMALLEST hashes per document, the ones that are looked up
        self._entries = array("Q")  # all hashes of all sketches, with the document's number
        self._limits = array("Q")  # per document: its sketch has all of its hashes up to this one

    def __len__(self) -> int:
        return len(self._limits)

    def add(self, hashes: np.ndarray, lengths: np.ndarray) -> None:
        """Add the sketches of further documents, one after the other in `hashes`, uint64 [hashes].

        lengths: int64 [documents], of the sketches. Raises UserError beyond 2^24 - 1 documents.
        """
        if len(self) + len(lengths) > int(_NUMBER):
            raise UserError(f"the corpus has more than {int(_NUMBER):,} documents; deduplicate it in parts")
        start = np.cumsum(lengths) - lengths
        numbers = np.arange(len(self), len(self) + len(lengths), dtype=np.uint64)
        self._entries.frombytes((hashes << _NUMBER_BITS | np.repeat(numbers, lengths)).tobytes())
        at, document = expand_ranges(start, start + np.minimum(lengths, SMALLEST))
        probes = np.full((len(lengths), SMALLEST), _NONE)
        probes[document, at - start[document]] = hashes[at]
        self._probes.frombytes(probes.tobytes())
        limits = np.full(len(lengths), _NONE - np.uint64(1))
        more = np.flatnonzero(lengths >= SMALLEST)  # the others have no further n-grams
        limits[more] = np.maximum(hashes[start[more] + lengths[more] - 1], THRESHOLD - np.uint64(1))
        self._limits.frombytes(limits.tobytes())

    def candidates(self, order: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the pairs worth comparing: int64 [n, 2], positions in `order`, smaller first, some twice.

        order: int64 [documents], the numbers of the documents to compare, preferred ones first. The pairs do
        not depend on the order of `add`. Call this only once: it renumbers the index in place.
        """
        all_probes = np.frombuffer(self._probes, np.uint64).reshape(-1, SMALLEST)
        limits = np.frombuffer(self._limits, np.uint64)[order]
        entries = self._renumbered(order)
        shared = _shared_runs(entries)
        if not len(shared.key):
            return
        for looked_up in range(0, len(order), _LOOKED_UP_AT_A_TIME):
            many_probes = all_probes[order[looked_up : looked_up + _LOOKED_UP_AT_A_TIME]]
            runs = _runs(many_probes, shared)
            for at in range(0, len(many_probes), _AT_A_TIME):
                probes, start = many_probes[at : at + _AT_A_TIME], looked_up + at
                in_every_sketch = np.count_nonzero(probes < THRESHOLD, axis=1)
                row, partner, n_shared, has_rare = _partners(runs.of_rows(at, at + _AT_A_TIME), entries)
                # Cheap tests first: count only the probes that any sketch would have. Afterwards count those
                # that this partner's sketch would have.
                enough = (n_shared >= _needed(in_every_sketch)[row]) & (has_rare | (n_shared > 1))
                enough &= partner != row + start
                row, partner, n_shared = row[enough], partner[enough], n_shared[enough]
                shown = np.count_nonzero(probes[row] <= limits[partner, None], axis=1)
                enough = n_shared >= _needed(shown)
                yield np.sort(np.stack((row + start, partner), axis=1)[enough], axis=1)

    def _renumbered(self, order: np.ndarray) -> np.ndarray:
        """The entries of the documents in `order`, ascending, with positions in `order` as numbers."""
        position = np.full(len(self), _NONE)
        position[order] = np.arange(len(order), dtype=np.uint64)
        entries = np.frombuffer(self._entries, np.uint64)
        for start in range(0, len(entries), _ENTRIES_AT_A_TIME):  # in place
            part = entries[start : start + _ENTRIES_AT_A_TIME]
            at = position[part & _NUMBER]
            part[:] = np.where(at == _NONE, _NONE, part & ~_NUMBER | at)
        entries.sort()
        return entries[: np.searchsorted(entries, _NONE)]


def _needed(n_possible: np.ndarray) -> np.ndarray:
    """How many hashes a pair must share to be compared, by the number that it could share."""
    return np.where(n_possible < TWO_OF, 1, np.maximum(2, np.floor(WORTHWHILE * n_possible)))


class _Runs(NamedTuple):
    """Ranges of the entries, which are ascending, that have one hash and several documents.

    key: [runs]; from `_shared_runs` uint64, the entries without the documents' numbers, ascending; from
    `_runs` int64, the row of the probe with the hash, ascending. first, last: int64 [runs]; `last` is behind
    the last entry.
    """

    key: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def of_rows(self, start: int, stop: int) -> "_Runs":
        """The runs of the rows from `start` to `stop`, which become rows from 0 on."""
        some = slice(*np.searchsorted(self.key, (start, stop)).tolist())
        return _Runs(self.key[some] - start, self.first[some], self.last[some])


def _shared_runs(entries: np.ndarray) -> _Runs:
    """The runs of all hashes that several documents have.

    They are few, as most hashes are in one document only: a search among them takes a third of the time of a
    search among all entries, and its time hardly grows with the corpus.
    """
    goes_on = np.zeros(len(entries) + 1, np.bool_)  # whether an entry has the hash of the one before it
    for start in range(1, len(entries), _ENTRIES_AT_A_TIME):
        part = entries[start - 1 : start + _ENTRIES_AT_A_TIME]
        goes_on[start : start + len(part) - 1] = part[1:] ^ part[:-1] <= _NUMBER
    first = np.flatnonzero(goes_on[1:] & ~goes_on[:-1])
    last = np.flatnonzero(goes_on[:-1] & ~goes_on[1:]) + 1
    return _Runs(entries[first] & ~_NUMBER, first, last)


def _runs(probes: np.ndarray, shared: _Runs) -> _Runs:
    """The runs of the probes that several documents have, in the order of the rows.

    probes: uint64 [rows, SMALLEST]. shared: of `_shared_runs`.
    """
    keys = probes.ravel() << _NUMBER_BITS
    # In this order, neighbours in the search are neighbours in memory; numpy sorts 16 bits by their values.
    order = np.argsort((keys >> np.uint64(48)).astype(np.uint16), kind="stable")
    at = np.empty(len(keys), np.int64)
    at[order] = np.searchsorted(shared.key[:-1], keys[order])  # never behind the last
    found = np.flatnonzero((shared.key[at] == keys) & (probes.ravel() != _NONE))
    return _Runs(found // probes.shape[1], shared.first[at[found]], shared.last[at[found]])


def _partners(runs: _Runs, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(row, position of a document, number of hashes they share, whether one is RARE), each [pairs].

    runs: of some rows. A row is also paired with its own document.
    """
    is_rare = runs.last - runs.first <= RARE
    at, run = expand_ranges(runs.first, np.minimum(runs.last, runs.first + MOST_PARTNERS))
    pairs = (runs.key << 25 | is_rare)[run] | (entries[at] & _NUMBER).view(np.int64) << 1
    pairs.sort(kind="stable")  # it merges the runs, each of them ascending, in a third of the time
    ends = np.flatnonzero(np.diff(pairs >> 1, append=-1))  # of each pair's hashes; rare ones come last
    n_shared = np.diff(ends, prepend=-1)
    pairs = pairs[ends]
    return pairs >> 25, pairs >> 1 & int(_NUMBER), n_shared, (pairs & 1).astype(np.bool_)
