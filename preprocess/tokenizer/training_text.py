"""A seeded random sample of the training split with equally many bytes from each domain, in constant memory.

The first bits of a hash of its id put each document into a bucket. A first pass over the shards adds up the
bytes in each bucket of each domain. The sums say how many buckets of a domain the sample may contain, and a
second pass takes the documents in these buckets. In both passes each shard is read by itself, so the sample
does not depend on the number of processes.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

BUCKETS = 1 << 14  # the sample misses its size by at most 1/16,384 of a domain; the sums take 128 kB a domain


def bucket_of(paper_id: str, seed: int) -> int:
    """The bucket of a document, 0 to BUCKETS - 1; documents in low buckets enter the sample first."""
    return xxhash.xxh3_64_intdigest(paper_id.encode(), seed=seed) * BUCKETS >> 64


def bytes_by_bucket(shard: Path, seed: int) -> dict[str, np.ndarray]:
    """Bytes of training text in each bucket, int64 [BUCKETS], for each domain of a shard."""
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
    """How many buckets to take from each domain: an equal share of the bytes, or all if it has less.

    `sums`: int64 [BUCKETS] for each domain, summed over the shards. `sample_bytes`: size of the whole sample.
    """
    return {
        domain: int(np.searchsorted(np.cumsum(n_bytes), sample_bytes // len(sums), side="right"))
        for domain, n_bytes in sums.items()
    }


def sampled_texts(shard: Path, buckets: dict[str, int], seed: int) -> Iterator[str]:
    """The training texts of a shard that are in the sample. `buckets`: as `buckets_to_take` returns them."""
    with pq.ParquetFile(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=["id", "domain", "split", "text"]):
            columns = [batch[name].to_pylist() for name in ("id", "domain", "split")]
            for paper_id, domain, split, text in zip(*columns, batch["text"], strict=True):
                if split == "train" and bucket_of(paper_id, seed) < buckets[domain]:
                    yield text.as_py()
