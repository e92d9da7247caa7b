"""Finding benchmark questions in papers by their word n-grams.

A benchmark is a JSONL file with one item per line. Every string in an item is a passage, whatever its field
is called and however deeply it is nested. A paper is contaminated if it holds at least half of the n-grams of
a passage. A passage shorter than one n-gram cannot be found. A report says how many items of each file were
found, and in which papers.
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
from preprocess.dedup.ngrams import distinct_ngrams, ngram_hashes

# A quotation with other notation still has most of a question's n-grams; a common phrase has only a few.
MIN_SHARE = 0.5


class Hit(NamedTuple):
    """A benchmark item that a paper contains."""

    file: int  # position in the list of benchmarks
    line: int  # from 1
    share: float  # largest share of a passage's n-grams in the paper, over the item's passages


@dataclass
class Benchmark:
    """One benchmark file and what it holds."""

    path: Path
    n_items: int = 0
    n_without_ngram: int = 0  # items whose passages are all shorter than one n-gram
    malformed_lines: list[int] = field(default_factory=list)


class Benchmarks:
    """An index of the passages of some files.

    Raises UserError if a file has no passage of at least `n_words` words.
    """

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
                    f"{file.path}: no item has a passage of {n_words} words; JSONL is expected, an item per "
                    "line. Take the file out of `benchmarks`, or set benchmark_words lower"
                )
        self._index = NgramIndex.of_sets(sets)
        self._items = items

    def find(self, text: str) -> list[Hit]:
        """The items that a text contains, in the order of files and lines."""
        entries = self._index.find(ngram_hashes(text, self.n_words))
        passages, n_found = np.unique(self._index.passages[entries], return_counts=True)
        shares = n_found / self._index.sizes[passages]
        best: dict[tuple[int, int], float] = {}
        for passage, share in zip(passages.tolist(), shares.tolist(), strict=True):
            if share >= MIN_SHARE:
                best[self._items[passage]] = max(share, best.get(self._items[passage], 0.0))
        return [Hit(*item, share) for item, share in sorted(best.items())]

    def report(self, hits: Iterable[tuple[str, Sequence[Hit]]]) -> list[dict[str, Any]]:
        """For each file, how many of its items were found, and in which papers: contamination.json.

        `hits`: (paper id, items found in the paper).
        """
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
    """The `Benchmarks` of these files, read once per process."""
    return Benchmarks(paths, n_words)


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of the files' content. Raises UserError if a file cannot be read."""
    digest = xxhash.xxh3_128()
    for path in paths:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror}; `benchmarks` must list readable JSONL files"
            ) from None
    return digest.hexdigest()


def _items(file: Benchmark) -> Iterator[tuple[int, list[str]]]:
    """(line number, passages) of each item; adds other lines to `malformed_lines`."""
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
