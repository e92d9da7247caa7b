"""Which documents stand for which: pairs are measured in full, then each rule says what it drops.

Near-duplicates: Jaccard similarity of the 5-word n-grams of at least 0.8; the preferred one of the two stays.
Contained: at least 0.8 of a document's n-grams stand in another that has more; the container stays,
whichever came first, since the rest of it stands nowhere else. Whatever is dropped was itself compared with
the one named for it: similarity is not passed on along a chain.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from preprocess.dedup.minhash import NGRAM_WORDS
from preprocess.dedup.ngrams import distinct_ngrams, n_shared

MIN_JACCARD = 0.8  # as in SlimPajama
MIN_CONTAINMENT = 0.8
MIN_RELATED = 0.5  # containment of relatives: both may stay, but not one in training and one in validation


class Place(NamedTuple):
    """Where a document's text lies."""

    shard: Path
    row: int


class Match(NamedTuple):
    """Two documents by their order of preference (the smaller number stays) and their n-grams."""

    one: int
    two: int
    n_one: int
    n_two: int
    n_both: int

    @property
    def jaccard(self) -> float:
        """Common n-grams of all."""
        return self.n_both / (self.n_one + self.n_two - self.n_both)

    @property
    def containment(self) -> float:
        """Common n-grams of those of the smaller document."""
        return self.n_both / min(self.n_one, self.n_two)


class Duplicate(NamedTuple):
    """Why a document is dropped: what stands for it and how similar the two are."""

    reason: str
    of: int
    similarity: float


def measure(pairs: Sequence[tuple[int, int]], places: Mapping[int, Place]) -> list[Match]:
    """The pairs that are related at all. `places`: where each document of `pairs` lies."""
    rows: defaultdict[Path, dict[int, int]] = defaultdict(dict)
    for document, place in places.items():
        rows[place.shard][place.row] = document
    ngrams = {}
    for shard, documents in rows.items():
        for row, text in _read_texts(shard, sorted(documents)):
            ngrams[documents[row]] = distinct_ngrams(text, NGRAM_WORDS)
    matches = (
        Match(one, two, len(ngrams[one]), len(ngrams[two]), n_shared(ngrams[one], ngrams[two]))
        for one, two in pairs
    )
    return [match for match in matches if match.containment >= MIN_RELATED]


def _read_texts(shard: Path, rows: Sequence[int]) -> Iterable[tuple[int, str]]:
    """(row, text) of some rows; only their row groups are read."""
    with pq.ParquetFile(shard) as file:
        first = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if wanted := [row for row in rows if first <= row < end]:
                texts = file.read_row_group(group, columns=["text"])["text"]
                yield from ((row, texts[row - first].as_py()) for row in wanted)
            first = end


def judge(matches: Iterable[Match], near: bool, contained: bool) -> dict[int, Duplicate]:
    """The documents to drop: first near-duplicates, then those contained in one that is left.

    No two that stay are duplicates by a rule that is on. What stands for near-duplicates may be contained.
    """
    size: dict[int, int] = {}
    senior: defaultdict[int, list[Duplicate]] = defaultdict(list)
    container: defaultdict[int, list[Duplicate]] = defaultdict(list)
    for match in sorted(matches):
        size[match.one], size[match.two] = match.n_one, match.n_two
        if near and match.jaccard >= MIN_JACCARD:
            senior[match.two].append(Duplicate("near_duplicate", match.one, match.jaccard))
        elif contained and match.containment >= MIN_CONTAINMENT:
            outer, inner = match[:2] if match.n_one >= match.n_two else match[1::-1]
            container[inner].append(Duplicate("contained", outer, match.containment))
    for options in container.values():
        options.sort(key=lambda option: (-size[option.of], option.of))

    dropped: dict[int, Duplicate] = {}

    def settle(document: int, options: Iterable[Duplicate]) -> None:
        for option in options:
            if option.of not in dropped:
                dropped[document] = option
                return

    # Whoever could stand for a document is settled before it: the older ones first, then the larger ones.
    for document in sorted(senior):
        settle(document, senior[document])
    for document in sorted(
        container.keys() - dropped.keys(), key=lambda document: (-size[document], document)
    ):
        settle(document, container[document])
    return dropped


def groups(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected sets of at least two documents, each in ascending order."""
    root: dict[int, int] = {}

    def find(document: int) -> int:
        while (above := root.setdefault(document, document)) != document:
            root[document] = document = root[above]
        return document

    for one, two in links:
        root[find(two)] = find(one)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for document in sorted(root):
        members[find(document)].append(document)
    return list(members.values())


def equal_keys(keys: np.ndarray) -> list[tuple[int, int]]:
    """(document, first document with the same key) of all but the first: `keys` is uint64 [documents, 2]."""
    by_key = np.lexsort((keys[:, 1], keys[:, 0]))  # a stable sort: the first of each run is the preferred one
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = np.any(keys[by_key][1:] != keys[by_key][:-1], axis=1)
    firsts = by_key[np.maximum.accumulate(np.where(is_first, np.arange(len(keys)), 0))]
    return list(zip(by_key[~is_first].tolist(), firsts[~is_first].tolist(), strict=True))
