"""Cross-validation of a tokenizer: each paper is encoded by one that was trained without the paper's fold."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import xxhash

from analysis.tokenization.encoders import load
from analysis.tokenization.stability import Measures, commands, measure, select, summarise

Row = dict[str, Any]
FOLDS = 5
MIN_PAPERS = 3  # a command counts as seen if it occurs in so many training papers


def by_paper(rows: list[tuple[str, Row]]) -> dict[str, int]:
    """The fold of each paper, from a hash of its id."""
    return {row["id"]: xxhash.xxh3_64_intdigest(row["id"].encode()) % FOLDS for _, row in rows}


def by_repository(rows: list[tuple[str, Row]], provenance: Path) -> dict[str, int]:
    """The fold of each paper, with all papers of a repository in one fold.

    Repositories are assigned in order of size, each to the smallest fold so far.
    """
    with provenance.open(newline="") as file:
        home = {row["id"]: row["repo"] for row in csv.DictReader(file, delimiter="\t")}
    sizes: Counter[str] = Counter()
    for _, row in rows:
        sizes[home[row["id"]]] += len(row["text"])
    loads, fold = [0] * FOLDS, {}
    for repository, size in sizes.most_common():
        fold[repository] = loads.index(min(loads))
        loads[fold[repository]] += size
    return {row["id"]: fold[home[row["id"]]] for _, row in rows}


def cross_validate(
    rows: list[tuple[str, Row]],
    fold_of: dict[str, int],
    train: Callable[[Iterable[tuple[str, Row]]], Path],
) -> dict[str, Any]:
    """Measures over all papers, and separately those of commands that the training papers have or lack."""
    whole, seen, unseen = Measures(), Measures(), Measures()
    for fold in range(FOLDS):
        training = [(tar, row | {"split": "train"}) for tar, row in rows if fold_of[row["id"]] != fold]
        _, encode = load(train(training))
        papers: Counter[str] = Counter()
        for _, row in training:
            papers.update({name for _, _, name, _ in commands(row["text"])})
        common = {name for name, n in papers.items() if n >= MIN_PAPERS}
        held_out = sum(
            (measure(row["text"], encode) for _, row in rows if fold_of[row["id"]] == fold), Measures()
        )
        whole += held_out
        seen += select(held_out, common.__contains__)
        unseen += select(held_out, lambda command, common=common: command not in common)  # type: ignore[misc]
    names = ("command_occurrences", "commands_whole", "commands_crossed", "entropy_bits")
    return {
        "papers": whole.documents,
        **summarise(whole),
        f"seen_in_{MIN_PAPERS}_training_papers": {name: summarise(seen)[name] for name in names},
        "unseen": {name: summarise(unseen)[name] for name in names},
    }
