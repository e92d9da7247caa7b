"""A small n-gram model of the corpus itself, and how well it predicts each document.

It counts n-grams of bytes, formulas and prose alike, in a window of the middle of sampled documents. Each
half of the documents has its own model, trained on the other half: no document is predicted by a model that
has read it, so that one in the sample is judged like any other. Which shards, documents and half are taken
follows from hashes of their names: neither order nor division of the work changes the model.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xxhash

from preprocess.pipeline.shard import content_hash, read_rows
from preprocess.pipeline.stage import Unit

MODEL_FILE = "_NGRAMS.npz"  # beside the shards of the stage
ORDER = 5
WINDOW_BYTES = 1 << 14  # less than half of the median paper, and scored in 2 ms
# 33 MB of text, whose 3 million different 5-grams a table of 2^22 mostly tells apart, from shards so few that
# a task of an array reads at most 10 GB before it begins.
SAMPLE_SHARDS, SAMPLE_DOCUMENTS = 256, 2048
_SLOT_BITS = 22
# Weight of the shorter context, in counts (Dirichlet smoothing): of 1, 3, 10 and 30 it predicts papers best.
_PRIOR = 30.0
_SIZES = [1 << min(8 * order, _SLOT_BITS) for order in range(1, ORDER + 1)]
_FIRST_SLOT = np.cumsum([0, *_SIZES[:-1]])
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing


@dataclass(frozen=True)
class NgramModel:
    """Counts of each half, and the bounds between which a document is kept, in bits per byte."""

    counts: np.ndarray  # uint32 [2, slots]
    low: float
    high: float

    def bits_per_byte(self, window: bytes, half: int) -> float:
        """How many bits the model needs for a byte of `window`, a document's of `half`."""
        slots = _slots(window)
        if slots.shape[1] < 2:
            return 0.0
        counts = self.counts[1 - half]
        total = float(counts[: _SIZES[0]].sum())
        p = np.full(slots.shape[1] - 1, 1 / 256)
        seen_context = np.full_like(p, total)
        for slot in slots:
            seen = counts[slot].astype(np.float64)
            # Two n-grams may share a slot: then the longer one seems more frequent than its beginning.
            p = np.minimum((seen[1:] + _PRIOR * p) / (seen_context + _PRIOR), 1)
            seen_context = seen[:-1]
        return float(-np.log2(p).mean())


def window_of(text: bytes) -> bytes:
    """The middle of a document."""
    start = max(0, (len(text) - WINDOW_BYTES) // 2)
    return text[start : start + WINDOW_BYTES]


def half_of(paper_id: str) -> int:
    """0 or 1."""
    return _rank(paper_id) & 1


def _rank(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode(), seed=ORDER)


def _slots(window: bytes) -> np.ndarray:
    """Where the n-gram of each order that ends at each byte is counted: int64 [ORDER, bytes - ORDER + 1]."""
    data = np.frombuffer(window, np.uint8).astype(np.uint64)
    n = max(0, len(data) - ORDER + 1)
    slots = np.empty((ORDER, n), np.int64)
    packed = np.zeros(n, np.uint64)
    for k in range(ORDER):
        packed += data[ORDER - 1 - k : len(data) - k][:n] << np.uint64(8 * k)
        exact = 8 * (k + 1) <= _SLOT_BITS
        slots[k] = packed if exact else (packed * _ODD) >> np.uint64(64 - _SLOT_BITS)
    return slots + _FIRST_SLOT[:, None]


def train(sample: Iterable[tuple[str, bytes]], percentiles: tuple[float, float]) -> NgramModel:
    """The model of (id, window) pairs; the bounds are percentiles of how it predicts them."""
    pairs = sorted(sample)
    counts = np.zeros((2, sum(_SIZES)), np.uint32)
    for paper_id, window in pairs:
        np.add.at(counts[half_of(paper_id)], _slots(window).ravel(), 1)
    model = NgramModel(counts, 0.0, 0.0)
    scores = [model.bits_per_byte(window, half_of(paper_id)) for paper_id, window in pairs]
    low, high = np.percentile(scores or [0.0], percentiles)
    return NgramModel(counts, float(low), float(high))


def sampled_documents(units: Sequence[Unit]) -> dict[str, set[str]]:
    """Ids of the documents to train on, by shard."""
    chosen = sorted(units, key=lambda unit: _rank(unit.name))[:SAMPLE_SHARDS]
    ranked = [
        (_rank(row["id"]), row["id"], unit.name)
        for unit in chosen
        for row in read_rows(unit.inputs[0], ("id",))
    ]
    ids: dict[str, set[str]] = {}
    for _, paper_id, name in sorted(ranked)[:SAMPLE_DOCUMENTS]:
        ids.setdefault(name, set()).add(paper_id)
    return ids


def fingerprint(units: Sequence[Unit], *recipe: str) -> str:
    """Hash of what the model follows from: all documents of the stage before, and `recipe`."""
    parts = [*recipe, *(f"{unit.name} {content_hash(unit.inputs[0])}" for unit in units)]
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode())


def make_unless_there(path: Path, made_from: str, task: int, make: Callable[[], NgramModel]) -> None:
    """Write the model to `path` unless the one there was `made_from` the same.

    Tasks of an array that begin at the same time each write the same file aside and rename it.
    """
    if path.is_file():
        with np.load(path) as saved:
            if str(saved["made_from"]) == made_from:
                return
    model = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{task}.tmp")  # a killed task's is overwritten by its next try
    try:
        with temporary.open("wb") as file:
            used = np.flatnonzero(model.counts)
            bounds = np.array([model.low, model.high])
            np.savez(file, used=used, counts=model.counts.flat[used], bounds=bounds, made_from=made_from)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@cache
def load(path: Path, made_from: str) -> NgramModel:
    """The model at `path`; `made_from` keeps an older one from being taken from the cache."""
    with np.load(path) as saved:
        assert str(saved["made_from"]) == made_from, path
        counts = np.zeros((2, sum(_SIZES)), np.uint32)
        counts.flat[saved["used"]] = saved["counts"]
        return NgramModel(counts, *map(float, saved["bounds"]))
