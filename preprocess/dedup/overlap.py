"""How much of each validation paper is in training papers, by n-grams of 8 words.

An index holds the n-grams of all validation papers in memory that the workers share: 12 bytes each, which
makes 160 bytes per paper of the corpus if 0.2 % of the papers are validation.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from preprocess.dedup.ngram_index import NgramIndex
from preprocess.dedup.ngrams import distinct_ngrams, ngram_hashes
from preprocess.pipeline.job import Job
from preprocess.pipeline.parts import document_rows, texts_of
from preprocess.pipeline.shard import temporary_beside
from preprocess.pipeline.stage import Unit, progress, run_tasks, share_of

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
    job: Job,
) -> dict[str, Verdict] | None:
    """The papers to drop, by id, so that at most MAX_SHARE of each validation paper is in training papers.

    Training papers are all documents of `units` except those in `validation` and `left_out`, which hold ids
    by the name of the unit. `scratch`: a folder for what the tasks of an array find, named after all that it
    depends on; the caller removes it. None: other tasks have not found their part yet.
    """
    if scratch.parent.is_dir():
        for other in scratch.parent.iterdir():  # of other inputs
            if other != scratch:
                shutil.rmtree(other, ignore_errors=True)
    nothing: Set[str] = frozenset()

    def missing(kind: str, some: Sequence[Unit]) -> list[Unit]:
        return [unit for unit in some if not _file(scratch, kind, unit).is_file()]

    holding = [unit for unit in units if validation.get(unit.name)]
    tasks = [
        (unit.inputs[0], validation[unit.name], _file(scratch, "ngrams", unit))
        for unit in missing("ngrams", share_of(job, holding))
    ]
    for _ in run_tasks(_write_ngrams, tasks, job.workers):
        pass
    if missing("ngrams", holding):
        return None
    ids = sorted(set().union(*validation.values()))
    index_folder = _index_in(scratch, ids, holding)
    _load.cache_clear()
    todo = missing("overlaps", share_of(job, units))
    overlap_tasks = [
        (
            unit,
            validation.get(unit.name, nothing) | left_out.get(unit.name, nothing),
            index_folder,
            _file(scratch, "overlaps", unit),
        )
        for unit in todo
    ]
    with progress("training papers", todo) as bar:
        for unit in run_tasks(_write_overlaps, overlap_tasks, job.workers):
            bar.update(unit.n_bytes)
    if missing("overlaps", units):
        return None
    index = _load(index_folder)
    in_phrases = np.zeros(len(index.hashes), np.bool_)
    overlaps: list[Overlap] = []
    for unit in units:
        with np.load(_file(scratch, "overlaps", unit)) as saved:
            in_phrases[saved["in_phrases"]] = True
            parts = np.split(saved["entries"], np.cumsum(saved["lengths"])[:-1])
            overlaps += map(Overlap, saved["papers"].tolist(), saved["validation"].tolist(), parts)
    return judge(ids, index, in_phrases, overlaps)


def _file(scratch: Path, kind: str, unit: Unit) -> Path:
    return scratch / kind / f"{unit.name}.npz"


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _index_in(scratch: Path, ids: Sequence[str], holding: Sequence[Unit]) -> Path:
    """The folder with the index of the validation papers `ids`; the first task that needs it writes it."""
    folder = scratch / "index"
    if not folder.is_dir():
        ngrams: dict[str, np.ndarray] = {}
        for unit in holding:
            with np.load(_file(scratch, "ngrams", unit)) as saved:
                ngrams |= saved
        temporary = scratch / f".index-{os.uname().nodename}-{os.getpid()}"
        NgramIndex.of_sets([ngrams.pop(paper_id) for paper_id in ids]).save(temporary)
        try:
            temporary.replace(folder)
        except OSError:  # another task has just written the same one
            shutil.rmtree(temporary)
            if not folder.is_dir():
                raise
    return folder


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


def _write_ngrams(shard: Path, ids: Set[str], to: Path) -> None:
    """Write the distinct n-grams of some documents of a shard, by their ids."""
    _write(to, {paper_id: distinct_ngrams(text, NGRAM_WORDS) for paper_id, text in texts_of(shard, ids)})


def _write_overlaps(unit: Unit, left_out: Set[str], index_folder: Path, to: Path) -> Unit:
    """Write the overlaps of a shard's training papers, and the entries of the index in common phrases."""
    index = _load(index_folder)
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
    found = {
        "in_phrases": np.flatnonzero(in_phrases),
        "papers": np.array([overlap.paper for overlap in overlaps], np.str_),
        "validation": np.array([overlap.validation for overlap in overlaps], np.int64),
        "lengths": np.array([len(overlap.entries) for overlap in overlaps], np.int64),
        "entries": np.concatenate([np.empty(0, np.int64), *(overlap.entries for overlap in overlaps)]),
    }
    _write(to, found)
    return unit


@lru_cache(maxsize=1)
def _load(folder: Path) -> NgramIndex:
    return NgramIndex.load(folder)
