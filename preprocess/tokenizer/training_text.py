"""A seeded sample of the training split, the same bytes from each domain, in memory that does not grow.

A document's place is a hash of its id. One pass over the shards adds up the bytes of each domain by the first
bits of that hash; from the sums follows how many of these buckets a domain may give; a second pass takes the
documents in them. Neither pass needs another shard's result: any number of processes, the same sample.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

BUCKETS = 1 << 14  # a sample ends within 1/16,384 of a domain of what was asked for; 128 kB a domain


def bucket_of(paper_id: str, seed: int) -> int:
    """A document's place in the order in which documents enter the sample."""
    return xxhash.xxh3_64_intdigest(paper_id.encode(), seed=seed) * BUCKETS >> 64


def bytes_by_bucket(shard: Path, seed: int) -> dict[str, np.ndarray]:
    """Bytes of training text in each bucket (int64, shape (BUCKETS,)) of each domain of a shard."""
    sums: dict[str, np.ndarray] = {}
    with pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=["id", "domain", "split", "text"]):
            lengths = pc.binary_length(batch["text"]).to_numpy()
            columns = [batch[name].to_pylist() for name in ("id", "domain", "split")]
            for paper_id, domain, split, n_bytes in zip(*columns, lengths, strict=True):
                if split == "train":
                    into = sums.setdefault(domain, np.zeros(BUCKETS, np.int64))
                    into[bucket_of(paper_id, seed)] += n_bytes
    return sums


def buckets_to_take(sums: dict[str, np.ndarray], sample_bytes: int) -> dict[str, int]:
    """How many buckets each domain gives: an equal share of the bytes, or all where it has less."""
    return {
        domain: int(np.searchsorted(np.cumsum(n_bytes), sample_bytes // len(sums), side="right"))
        for domain, n_bytes in sums.items()
    }


def sampled_texts(shard: Path, buckets: dict[str, int], seed: int) -> Iterator[str]:
    """The texts of a shard that are in the sample."""
    with pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=["id", "domain", "split", "text"]):
            columns = [batch[name].to_pylist() for name in ("id", "domain", "split")]
            for paper_id, domain, split, text in zip(*columns, batch["text"], strict=True):
                if split == "train" and bucket_of(paper_id, seed) < buckets[domain]:
                    yield text.as_py()
