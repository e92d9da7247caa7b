"""Distinct n-grams before and after each filter of a corpus, which show a filter that removes too much.

A filter that drops 5 % of the n-grams but 20 % of the distinct ones removes what the corpus says only once.
The ledger's shards hold the K smallest distinct hashes of the n-grams for every verdict. The K smallest
hashes of several sets together are those of the sets' union, from which its size is estimated (k minimum
values: Bar-Yossef et al. 2002).
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

FOOTER, K = b"diversity", 1024  # as preprocess/quality/diversity.py writes them


@dataclass(frozen=True)
class FilterDiversity:
    """N-grams before and after one filter; the standard error of `distinct_…` is 1/sqrt(K) = 3 %."""

    filter: str
    ngrams_before: int
    ngrams_after: int
    distinct_before: int
    distinct_after: int
    distinct_lost: float  # share; standard error sqrt(share / K)


def n_distinct(smallest: np.ndarray) -> int:
    """Size of a set from the K smallest of its hashes (exact where it has fewer)."""
    return len(smallest) if len(smallest) < K else round((K - 1) * 2.0**64 / float(smallest[-1]))


def union(sketches: Iterable[np.ndarray]) -> np.ndarray:
    """Sketch of the union of sets."""
    return np.unique(np.concatenate([np.empty(0, np.uint64), *sketches]))[:K]


def read_diversity(ledger: Path) -> list[FilterDiversity]:
    """The filters of the stage with this ledger, in order, except those that dropped nothing."""
    n_grams: dict[str, int] = {}
    sketches: dict[str, np.ndarray] = {}
    for path in sorted(ledger.glob("*.parquet")):
        footer = (pq.read_metadata(path).metadata or {}).get(FOOTER)
        for verdict, counted in json.loads(footer or "{}").items():
            smallest = np.frombuffer(base64.b64decode(counted["smallest"]), "<u8")
            n_grams[verdict] = n_grams.get(verdict, 0) + counted["n_grams"]
            sketches[verdict] = union((sketches.get(verdict, smallest), smallest))
    order = list(n_grams)
    rows = []
    for i, verdict in enumerate(order[:-1]):  # the last is "": kept
        if not n_grams[verdict]:
            continue
        before, after = (union(sketches[name] for name in order[from_:]) for from_ in (i, i + 1))
        rows.append(
            FilterDiversity(
                filter=verdict,
                ngrams_before=sum(n_grams[name] for name in order[i:]),
                ngrams_after=sum(n_grams[name] for name in order[i + 1 :]),
                distinct_before=n_distinct(before),
                distinct_after=n_distinct(after),
                distinct_lost=float(1 - np.isin(before, after).mean()),
            )
        )
    return rows


def write_diversity(rows: list[FilterDiversity], path: Path) -> None:
    """Write a JSON list with one entry for each filter."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
