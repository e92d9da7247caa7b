"""Finding benchmark questions in papers, by n-grams of words.

A benchmark is a JSONL file, an item a line; whatever its fields are called, every string in them, nested ones
too, is a passage. A paper is contaminated if it holds at least half of the n-grams of a passage; a passage
shorter than one n-gram cannot be looked for. A report says how many items of each file were found, and in
which papers.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import xxhash

from configs.loader import UserError
from preprocess.dedup.ngram_index import NgramIndex
from preprocess.dedup.ngrams import distinct_ngrams

# A quotation keeps most of a question, even with other notation; a common phrase is a small part of one.
MIN_SHARE = 0.5


class Hit(NamedTuple):
    """A benchmark item that stands in a paper."""

    file: int  # its place in the list of benchmarks
    line: int  # from 1
    share: float  # of the n-grams of that passage of the item that the paper has most of


@dataclass
class Benchmark:
    """One file: what can be looked for, what cannot."""

    path: Path
    n_items: int = 0
    n_without_ngram: int = 0  # items whose passages are all shorter than one n-gram
    malformed_lines: list[int] = field(default_factory=list)


class Benchmarks:
    """The passages of some files, ready to be looked for. Raises UserError where a file has none."""

    def __init__(self, paths: Sequence[Path], n_words: int) -> None:
        self.n_words = n_words
        self.files = [Benchmark(path) for path in paths]
        sets, items = [], []
        for number, file in enumerate(self.files):
            for line, passages in _items(file):
                found = [hashes for passage in passages if len(hashes := distinct_ngrams(passage, n_words))]
                file.n_items += 1
                file.n_without_ngram += not found
                sets += found
                items += [(number, line)] * len(found)
            if file.n_items == file.n_without_ngram:
                raise UserError(
                    f"{file.path}: no item holds {n_words} words in a row; JSONL is expected, an item a line"
                )
        self._index = NgramIndex.of_sets(sets)
        self._items = items

    def find(self, text: str) -> list[Hit]:
        """The items that stand in a text, in the order of files and lines."""
        entries = self._index.find(distinct_ngrams(text, self.n_words))
        passages, n_found = np.unique(self._index.passages[entries], return_counts=True)
        shares = n_found / self._index.sizes[passages]
        best: dict[tuple[int, int], float] = {}
        for passage, share in zip(passages.tolist(), shares.tolist(), strict=True):
            if share >= MIN_SHARE:
                best[self._items[passage]] = max(share, best.get(self._items[passage], 0.0))
        return [Hit(*item, share) for item, share in sorted(best.items())]

    def report(self, hits: Iterable[tuple[str, Sequence[Hit]]]) -> list[dict[str, Any]]:
        """For each file, how many of its items were found, and in which papers; `hits` by paper id."""
        found: defaultdict[int, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for paper_id, some in sorted(hits):
            for hit in some:
                found[hit.file][paper_id].append(hit.line)
        return [
            {
                "file": str(file.path),
                "items": file.n_items,
                "items_found": len({line for lines in found[number].values() for line in lines}),
                "items_too_short_to_look_for": file.n_without_ngram,
                "malformed_lines": file.malformed_lines,
                "papers": found[number],
            }
            for number, file in enumerate(self.files)
        ]


@lru_cache(maxsize=1)
def load_benchmarks(paths: tuple[Path, ...], n_words: int) -> Benchmarks:
    """`Benchmarks`, read once a process."""
    return Benchmarks(paths, n_words)


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of the files' content. Raises UserError where one is missing."""
    digest = xxhash.xxh3_128()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; `benchmarks` lists JSONL files") from None
    return digest.hexdigest()


def _items(file: Benchmark) -> Iterator[tuple[int, list[str]]]:
    """(line, passages) of each item; lines that are no JSON object are noted."""
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"), type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                file.malformed_lines.append(number)
                continue
            yield number, list(dict.fromkeys(_strings(item)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
