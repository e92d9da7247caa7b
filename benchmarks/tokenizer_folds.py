"""Cross-validation of a tokenizer: each paper is measured by one that was trained without its fold."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import xxhash

from analysis.tokenizers.encoders import load
from analysis.tokenizers.stability import Measures, commands, measure, select, summarise

Row = dict[str, Any]
FOLDS = 5
MIN_PAPERS = 3  # a command in as many training papers counts as seen


def by_paper(rows: list[tuple[str, Row]]) -> dict[str, int]:
    """Fold of each paper by a hash of its id."""
    return {row["id"]: xxhash.xxh3_64_intdigest(row["id"].encode()) % FOLDS for _, row in rows}


def by_repository(rows: list[tuple[str, Row]], provenance: Path) -> dict[str, int]:
    """Fold of each paper so that no repository is divided: the largest goes where there is least."""
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
    """Ratios over all papers; those of commands also apart by whether the training papers have them."""
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
