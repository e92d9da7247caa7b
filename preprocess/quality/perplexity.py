"""A small n-gram model of the corpus itself, and how well it predicts each document.

The model counts n-grams of bytes, in formulas as in prose, in the middle of each sampled document. The
documents fall into two halves, and each half is judged by a model of the other half. So no model judges a
document that it was trained on, and sampled documents are judged like all others. Hashes of names decide
which shards and documents are sampled and which half a document is in, so the model depends neither on the
order nor on the division of the work.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xxhash

from preprocess.pipeline.parts import document_rows, hash_of
from preprocess.pipeline.stage import Unit

MODEL_FILE = "_NGRAMS.npz"  # beside the shards of the stage
ORDER = 5
WINDOW_BYTES = 1 << 14  # less than half of the median paper; scoring it takes 2 ms
# Together at most 33 MB of text with 3 million different 5-grams, which mostly fall into different slots of a
# table of 2^22. The number of shards is limited so that a task of an array reads at most 10 GB first.
SAMPLE_SHARDS, SAMPLE_DOCUMENTS = 256, 2048
_SLOT_BITS = 22
# Weight of the shorter context, in counts (Dirichlet smoothing). Of 1, 3, 10 and 30, 30 predicts papers best.
_PRIOR = 30.0
_SIZES = [1 << min(8 * order, _SLOT_BITS) for order in range(1, ORDER + 1)]
_FIRST_SLOT = np.cumsum([0, *_SIZES[:-1]])
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing


@dataclass(frozen=True)
class NgramModel:
    """The n-gram counts of each half, and the bounds between which a document is kept."""

    counts: np.ndarray  # uint32 [2, slots]
    low: float  # bits per byte
    high: float

    def bits_per_byte(self, window: bytes, half: int) -> float:
        """Mean bits per byte of `window`, the text of a document in `half` (0 or 1).

        Interpolates orders 1 to ORDER: p_k = (count(context + byte) + prior * p_(k-1)) / (count(context) +
        prior), p_0 = 1/256. A window of ORDER bytes or fewer has 0 bits.
        """
        slots = _slots(window)
        if slots.shape[1] < 2:
            return 0.0
        counts = self.counts[1 - half]
        total = float(counts[: _SIZES[0]].sum())
        p = np.full(slots.shape[1] - 1, 1 / 256)
        seen_context = np.full_like(p, total)
        for slot in slots:
            seen = counts[slot].astype(np.float64)
            # If two n-grams share a slot, one may seem more frequent than its own context: limit p to 1.
            p = np.minimum((seen[1:] + _PRIOR * p) / (seen_context + _PRIOR), 1)
            seen_context = seen[:-1]
        return float(-np.log2(p).mean())


def window_of(text: bytes) -> bytes:
    """The middle WINDOW_BYTES of a document, or all of a shorter one."""
    start = max(0, (len(text) - WINDOW_BYTES) // 2)
    return text[start : start + WINDOW_BYTES]


def half_of(paper_id: str) -> int:
    """The half, 0 or 1, that a document is in, by a hash of its id."""
    return _rank(paper_id) & 1


def _rank(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode(), seed=ORDER)


def _slots(window: bytes) -> np.ndarray:
    """Slots of the n-grams of each order that end at each byte: int64 [ORDER, bytes - ORDER + 1].

    Short n-grams have a slot of their own; longer ones are hashed into 2^22 slots of their order.
    """
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
    """Train on (id, window) pairs; the bounds are percentiles of the pairs' own bits per byte."""
    pairs = sorted(sample)
    counts = np.zeros((2, sum(_SIZES)), np.uint32)
    for paper_id, window in pairs:
        np.add.at(counts[half_of(paper_id)], _slots(window).ravel(), 1)
    model = NgramModel(counts, 0.0, 0.0)
    scores = [model.bits_per_byte(window, half_of(paper_id)) for paper_id, window in pairs]
    low, high = np.percentile(scores or [0.0], percentiles)
    return NgramModel(counts, float(low), float(high))


def sampled_documents(units: Sequence[Unit]) -> dict[str, set[str]]:
    """Ids of the documents to train on, by the name of their shard."""
    chosen = sorted(units, key=lambda unit: _rank(unit.name))[:SAMPLE_SHARDS]
    ranked = [
        (_rank(row["id"]), row["id"], unit.name)
        for unit in chosen
        for row in document_rows(unit.inputs, ("id",))
    ]
    ids: dict[str, set[str]] = {}
    for _, paper_id, name in sorted(ranked)[:SAMPLE_DOCUMENTS]:
        ids.setdefault(name, set()).add(paper_id)
    return ids


def fingerprint(units: Sequence[Unit], *recipe: str) -> str:
    """Hash of everything that the model depends on: all documents of the stage before, and `recipe`."""
    parts = [*recipe, *(f"{unit.name} {hash_of(unit.inputs)}" for unit in units)]
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode())


def train_if_missing(path: Path, made_from: str, task: int, make: Callable[[], NgramModel]) -> None:
    """Call `make` and write its model to `path`, unless the model there has the same hash `made_from`.

    Tasks of an array that start together all train the same model; each writes a temporary file of its own
    (named by `task`) and renames it.
    """
    if path.is_file():
        with np.load(path) as saved:
            if str(saved["made_from"]) == made_from:
                return
    model = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{task}.tmp")  # the next try of a killed task overwrites it
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
    """Read the model at `path`. `made_from`: its hash, so that the cache never returns an older model."""
    with np.load(path) as saved:
        assert str(saved["made_from"]) == made_from, path
        counts = np.zeros((2, sum(_SIZES)), np.uint32)
        counts.flat[saved["used"]] = saved["counts"]
        return NgramModel(counts, *map(float, saved["bounds"]))
