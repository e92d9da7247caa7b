"""How much of each validation paper is in training papers, by n-grams of 8 words.

An index holds the n-grams of all validation papers in memory that the workers share: 12 bytes each, which
makes 160 bytes per paper of the corpus if 0.2 % of the papers are validation.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preprocess.dedup.ngram_index import NgramIndex
from preprocess.dedup.ngrams import distinct_ngrams, ngram_hashes
from preprocess.pipeline.parts import document_rows, texts_of
from preprocess.pipeline.stage import Unit, progress, run_tasks

NGRAM_WORDS = 8
MAX_SHARE = 0.5  # of a validation paper's n-grams that may be in training papers
# A training paper with a smaller share of a validation paper's n-grams only has common phrases from it and is
# not dropped for them.
MIN_OVERLAP = 0.02


class Overlap(NamedTuple):
    """What one training paper has in common with one validation paper."""

    paper: str  # id of the training paper
    validation: int  # passage of the index that is the validation paper
    entries: np.ndarray  # int64 [common n-grams], entries of the index


class Verdict(NamedTuple):
    """Why a paper is dropped: reason and detail of its ledger row."""

    reason: str
    detail: str


def find_overlaps(
    units: Sequence[Unit],
    validation: Mapping[str, Set[str]],
    left_out: Mapping[str, Set[str]],
    scratch: Path,
    workers: int,
) -> dict[str, Verdict]:
    """The papers to drop, by id, so that at most MAX_SHARE of each validation paper is in training papers.

    Training papers are all documents of `units` except those in `validation` and `left_out`, which hold ids
    by the name of the unit. `scratch`: a folder for the index; it is created here and removed at the end.
    """
    ngrams: dict[str, np.ndarray] = {}
    holding = [(unit.inputs[0], validation[unit.name]) for unit in units if validation.get(unit.name)]
    for some in run_tasks(_ngrams_of, holding, workers):
        ngrams |= some
    ids = sorted(ngrams)
    index = NgramIndex.of_sets([ngrams.pop(paper_id) for paper_id in ids])
    in_phrases = np.zeros(len(index.hashes), np.bool_)
    overlaps: list[Overlap] = []
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed process
    index.save(scratch)
    _load.cache_clear()
    try:
        nothing: Set[str] = frozenset()
        tasks = [
            (unit, validation.get(unit.name, nothing) | left_out.get(unit.name, nothing), scratch)
            for unit in units
        ]
        with progress("training papers", units) as bar:
            for unit, bits, some in run_tasks(_overlaps_of, tasks, workers):
                in_phrases |= np.unpackbits(bits, count=len(in_phrases)).view(np.bool_)
                overlaps += some
                bar.update(unit.n_bytes)
    finally:
        shutil.rmtree(scratch)
    return judge(ids, index, in_phrases, overlaps)


def judge(
    ids: Sequence[str], index: NgramIndex, in_phrases: np.ndarray, overlaps: Iterable[Overlap]
) -> dict[str, Verdict]:
    """The papers to drop, from the overlaps and `in_phrases`, bool [entries]: the n-grams of common phrases.

    `ids`: the validation papers in the order of the index. For each of them, training papers are admitted in
    the order of their overlap, smallest first; one that would bring more than MAX_SHARE of the validation
    paper into training is dropped (`val_duplicate`). If common phrases alone are more than MAX_SHARE, the
    validation paper itself is dropped (`val_contained`).
    """
    held = in_phrases.copy()  # n-grams that are in training papers so far
    n_held = np.bincount(index.passages[held], minlength=len(ids))
    overlaps_with: defaultdict[int, list[Overlap]] = defaultdict(list)
    for overlap in overlaps:
        overlaps_with[overlap.validation].append(overlap)
    verdicts: dict[str, Verdict] = {}
    for number, paper_id in enumerate(ids):
        most = MAX_SHARE * index.sizes[number]
        if n_held[number] > most:
            share = n_held[number] / index.sizes[number]
            verdicts[paper_id] = Verdict(
                "val_contained", f"{share:.3f} of its {NGRAM_WORDS}-word n-grams are common in training"
            )
            continue
        smallest_first = sorted(overlaps_with[number], key=lambda some: (len(some.entries), some.paper))
        for overlap in smallest_first:
            if overlap.paper in verdicts:
                continue
            new = overlap.entries[~held[overlap.entries]]
            if n_held[number] + len(new) > most:
                share = len(overlap.entries) / index.sizes[number]
                verdicts[overlap.paper] = Verdict(
                    "val_duplicate", f"{paper_id}: holds {share:.3f} of its {NGRAM_WORDS}-word n-grams"
                )
            else:
                held[new] = True
                n_held[number] += len(new)
    return verdicts


def _ngrams_of(shard: Path, ids: Set[str]) -> dict[str, np.ndarray]:
    return {paper_id: distinct_ngrams(text, NGRAM_WORDS) for paper_id, text in texts_of(shard, ids)}


def _overlaps_of(unit: Unit, left_out: Set[str], folder: Path) -> tuple[Unit, np.ndarray, list[Overlap]]:
    """(unit, packed bits of the entries in common phrases, overlaps) of a shard's training papers."""
    index = _load(folder)
    in_phrases = np.zeros(len(index.hashes), np.bool_)
    overlaps: list[Overlap] = []
    for row in document_rows(unit.inputs, ("id", "text")):
        if row["id"] in left_out:
            continue
        entries = index.find(ngram_hashes(row["text"], NGRAM_WORDS))
        passages = index.passages[entries]
        is_phrase = np.bincount(passages, minlength=len(index.sizes)) < MIN_OVERLAP * index.sizes
        in_phrases[entries[is_phrase[passages]]] = True
        overlaps += [
            Overlap(row["id"], int(number), entries[passages == number])
            for number in np.unique(passages)
            if not is_phrase[number]
        ]
    return unit, np.packbits(in_phrases), overlaps


@lru_cache(maxsize=1)
def _load(folder: Path) -> NgramIndex:
    return NgramIndex.load(folder)
