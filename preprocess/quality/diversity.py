"""How many distinct n-grams the documents of each verdict hold, in small sketches that can be merged.

The counts show what a filter costs: if it drops a twentieth of the text but a fifth of the distinct n-grams,
it removes what the corpus has only once. The K smallest distinct hashes of a set give an estimate of its size
(bottom-k sketch, Bar-Yossef et al. 2002). The sketch of a union follows from the sketches of its parts, so
each shard is counted by itself. analysis/readers/distinct_ngrams.py merges and reads the sketches.
"""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from preprocess.dedup.ngrams import sorted_distinct

N = 3  # words
# The standard error is 1/sqrt(K) = 3 % for the number of distinct n-grams and sqrt(share / K) for a filter's
# share of them. A sketch takes 11 kB per verdict.
K = 1024
FOOTER = "diversity"  # key in the footer of the ledger's shards


class Diversity:
    """The sketches of one shard's documents by verdict: the reason to drop, or "" for kept ones."""

    def __init__(self) -> None:
        self._smallest: defaultdict[str, np.ndarray] = defaultdict(lambda: np.empty(0, np.uint64))
        self._n_grams: Counter[str] = Counter()

    def add(self, verdict: str, hashes: np.ndarray) -> None:
        """Count a document's n-grams. hashes: uint64 [n-grams], uniformly distributed, in any order."""
        self._n_grams[verdict] += len(hashes)
        smallest = self._smallest[verdict]
        if len(smallest) == K:
            hashes = hashes[hashes < smallest[-1]]
        self._smallest[verdict] = sorted_distinct(np.concatenate((smallest, hashes)))[:K]

    def to_json(self, verdicts: Iterable[str]) -> str:
        """JSON `{verdict: {n_grams, smallest}}` in the order of `verdicts`.

        `n_grams`: all n-grams, repeated ones included. `smallest`: the K smallest distinct hashes as base64
        of little-endian uint64.
        """
        return json.dumps(
            {
                verdict: {
                    "n_grams": self._n_grams[verdict],
                    "smallest": base64.b64encode(self._smallest[verdict].astype("<u8").tobytes()).decode(),
                }
                for verdict in verdicts
            }
        )
