"""Which duplicates to drop: compare all n-grams of each candidate pair, then apply the rules.

Near-duplicate: the 5-word n-grams of two documents have a Jaccard similarity of at least 0.8; the preferred
one of the two stays. Contained: at least 0.8 of a document's n-grams are in another document that has more;
the larger one stays, whichever came first, because no other document has the rest of it. A dropped document
was compared directly with the one that is kept in its place; being similar to a similar document is not
enough.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preprocess.dedup.minhash import NGRAM_WORDS
from preprocess.dedup.ngrams import distinct_ngrams, n_shared
from preprocess.pipeline.parts import texts_of

MIN_JACCARD = 0.8  # the threshold of SlimPajama (Soboleva et al. 2023)
MIN_CONTAINMENT = 0.8  # the same share, of the smaller document
MIN_RELATED = 0.5  # containment; relatives may both stay, but are not divided between training and validation


class TextLocation(NamedTuple):
    """Where a document's text is stored."""

    shard: Path
    id: str


class Match(NamedTuple):
    """Two documents by their rank of preference, `one` < `two`, and how many n-grams they have."""

    one: int
    two: int
    n_one: int
    n_two: int
    n_both: int  # common n-grams

    @property
    def jaccard(self) -> float:
        """Number of common n-grams over the number of n-grams in either document."""
        return self.n_both / (self.n_one + self.n_two - self.n_both)

    @property
    def containment(self) -> float:
        """Number of common n-grams over the number in the smaller document."""
        return self.n_both / min(self.n_one, self.n_two)


class Duplicate(NamedTuple):
    """Why a document is dropped, and for which other document."""

    reason: str
    of: int  # the document that is kept in its place
    similarity: float  # Jaccard similarity or containment


def measure(pairs: Sequence[tuple[int, int]], locations: Mapping[int, TextLocation]) -> list[Match]:
    """Compare all n-grams of each pair; return the pairs with a containment of at least MIN_RELATED.

    `locations`: where the text of each document in `pairs` is stored.
    """
    by_shard: defaultdict[Path, dict[str, int]] = defaultdict(dict)
    for document, location in locations.items():
        by_shard[location.shard][location.id] = document
    ngrams = {}
    for shard, documents in by_shard.items():
        for paper_id, text in texts_of(shard, documents):
            ngrams[documents[paper_id]] = distinct_ngrams(text, NGRAM_WORDS)
    matches = (
        Match(one, two, len(ngrams[one]), len(ngrams[two]), n_shared(ngrams[one], ngrams[two]))
        for one, two in pairs
    )
    return [match for match in matches if match.containment >= MIN_RELATED]


def judge(matches: Iterable[Match], near: bool, contained: bool) -> dict[int, Duplicate]:
    """The documents to drop: first near-duplicates, then documents contained in one that stays.

    `near`, `contained`: which rules are on. Afterwards no two documents that stay are duplicates by these
    rules. A document that is kept in place of near-duplicates may itself be dropped as contained.
    """
    size: dict[int, int] = {}
    originals: defaultdict[int, list[Duplicate]] = defaultdict(list)  # by near-duplicate
    container: defaultdict[int, list[Duplicate]] = defaultdict(list)  # by contained document
    for match in sorted(matches):
        size[match.one], size[match.two] = match.n_one, match.n_two
        if near and match.jaccard >= MIN_JACCARD:
            originals[match.two].append(Duplicate("near_duplicate", match.one, match.jaccard))
        elif contained and match.containment >= MIN_CONTAINMENT:
            outer, inner = match[:2] if match.n_one >= match.n_two else match[1::-1]
            container[inner].append(Duplicate("contained", outer, match.containment))
    for options in container.values():
        options.sort(key=lambda option: (-size[option.of], option.of))

    dropped: dict[int, Duplicate] = {}

    def drop_for_first_kept(document: int, options: Iterable[Duplicate]) -> None:
        for option in options:
            if option.of not in dropped:
                dropped[document] = option
                return

    # The order makes sure that a document's options are decided before it: preferred documents come first
    # among near-duplicates, larger ones among contained documents.
    for document in sorted(originals):
        drop_for_first_kept(document, originals[document])
    for document in sorted(
        container.keys() - dropped.keys(), key=lambda document: (-size[document], document)
    ):
        drop_for_first_kept(document, container[document])
    return dropped


def connected_components(links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of a graph given by its edges, each in ascending order (union-find)."""
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
    """(document, first document with the same key) of each document whose key occurred before.

    keys: uint64 [documents, 2], in the order of preference.
    """
    by_key = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: of equal keys the preferred comes first
    is_first = np.ones(len(keys), np.bool_)
    is_first[1:] = np.any(keys[by_key][1:] != keys[by_key][:-1], axis=1)
    firsts = by_key[np.maximum.accumulate(np.where(is_first, np.arange(len(keys)), 0))]
    return list(zip(by_key[~is_first].tolist(), firsts[~is_first].tolist(), strict=True))
