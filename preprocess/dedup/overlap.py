"""How much of each validation paper stands in training papers, by n-grams of 8 words.

The n-grams of all validation papers are held at once (12 bytes each, shared between the workers): 160 bytes a
paper of the corpus where 0.2 % are validation.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from preprocess.dedup.ngram_index import NgramIndex
from preprocess.dedup.ngrams import distinct_ngrams
from preprocess.pipeline.shard import read_rows
from preprocess.pipeline.stage import Unit, progress, run_tasks

NGRAM_WORDS = 8
MAX_SHARE = 0.5  # of a validation paper's n-grams that may stand in training
# A paper that holds less than this of a validation paper shares phrases with it, and is not dropped for that.
MIN_PART = 0.02


class Part(NamedTuple):
    """What one training paper holds of one validation paper."""

    paper: str
    validation: int  # its place in the index
    entries: np.ndarray


class Verdict(NamedTuple):
    """Why a paper is left out."""

    reason: str
    detail: str


def find_overlaps(
    units: Sequence[Unit], validation: set[str], left_out: set[str], scratch: Path, workers: int
) -> dict[str, Verdict]:
    """The papers to drop, by id, so that at most MAX_SHARE of each validation paper stands in training.

    Training are all documents of `units` that are neither in `validation` nor `left_out`. `scratch` is a
    folder that is made, and removed at the end.
    """
    ngrams: dict[str, np.ndarray] = {}
    with progress("validation papers", units) as bar:
        for unit, some in run_tasks(_ngrams_of, [(unit, validation) for unit in units], workers):
            ngrams |= some
            bar.update(unit.n_bytes)
    ids = sorted(ngrams)
    index = NgramIndex.of_sets([ngrams.pop(paper_id) for paper_id in ids])
    in_phrases = np.zeros(len(index.hashes), np.bool_)
    parts: list[Part] = []
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left
    index.save(scratch)
    _load.cache_clear()
    try:
        tasks = [(unit, validation | left_out, scratch) for unit in units]
        with progress("training papers", units) as bar:
            for unit, bits, some in run_tasks(_parts_of, tasks, workers):
                in_phrases |= np.unpackbits(bits, count=len(in_phrases)).view(np.bool_)
                parts += some
                bar.update(unit.n_bytes)
    finally:
        shutil.rmtree(scratch)
    return judge(ids, index, in_phrases, parts)


def judge(
    ids: Sequence[str], index: NgramIndex, in_phrases: np.ndarray, parts: Iterable[Part]
) -> dict[str, Verdict]:
    """`find_overlaps` from what was found: bool [entries] of the index that stand in phrases, and parts.

    For each validation paper, papers with small parts of it are admitted first; one that would bring more
    than MAX_SHARE of it into training is dropped (`val_duplicate`). A validation paper of which phrases alone
    are more than that is dropped itself (`val_contained`).
    """
    held = in_phrases.copy()
    n_held = np.bincount(index.passages[held], minlength=len(ids))
    parts_of: defaultdict[int, list[Part]] = defaultdict(list)
    for part in parts:
        parts_of[part.validation].append(part)
    verdicts: dict[str, Verdict] = {}
    for number, paper_id in enumerate(ids):
        most = MAX_SHARE * index.sizes[number]
        if n_held[number] > most:
            share = n_held[number] / index.sizes[number]
            verdicts[paper_id] = Verdict(
                "val_contained", f"{share:.3f} of its {NGRAM_WORDS}-word n-grams are common in training"
            )
            continue
        for part in sorted(parts_of[number], key=lambda part: (len(part.entries), part.paper)):
            if part.paper in verdicts:
                continue
            new = part.entries[~held[part.entries]]
            if n_held[number] + len(new) > most:
                share = len(part.entries) / index.sizes[number]
                verdicts[part.paper] = Verdict(
                    "val_duplicate", f"{paper_id}: holds {share:.3f} of its {NGRAM_WORDS}-word n-grams"
                )
            else:
                held[new] = True
                n_held[number] += len(new)
    return verdicts


def _ngrams_of(unit: Unit, validation: set[str]) -> tuple[Unit, dict[str, np.ndarray]]:
    rows = read_rows(unit.inputs[0], ("id", "text"))
    return unit, {
        row["id"]: distinct_ngrams(row["text"], NGRAM_WORDS) for row in rows if row["id"] in validation
    }


def _parts_of(unit: Unit, left_out: set[str], folder: Path) -> tuple[Unit, np.ndarray, list[Part]]:
    """(shard, bits of the entries that stand in phrases, parts) of a shard's training papers."""
    index = _load(folder)
    in_phrases = np.zeros(len(index.hashes), np.bool_)
    parts: list[Part] = []
    for row in read_rows(unit.inputs[0], ("id", "text")):
        if row["id"] in left_out:
            continue
        entries = index.find(distinct_ngrams(row["text"], NGRAM_WORDS))
        passages = index.passages[entries]
        is_phrase = np.bincount(passages, minlength=len(index.sizes)) < MIN_PART * index.sizes
        in_phrases[entries[is_phrase[passages]]] = True
        parts += [
            Part(row["id"], int(number), entries[passages == number])
            for number in np.unique(passages)
            if not is_phrase[number]
        ]
    return unit, np.packbits(in_phrases), parts


@lru_cache(maxsize=1)
def _load(folder: Path) -> NgramIndex:
    return NgramIndex.load(folder)
