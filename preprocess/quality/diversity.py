"""How many distinct n-grams documents hold, by verdict: small sketches that add up over shards.

A filter that drops a twentieth of the text and a fifth of its distinct n-grams takes what the corpus has
only once. The K smallest distinct hashes of a set tell its size (bottom-k sketch, Bar-Yossef et al. 2002) and
those of a union follow from those of its parts, so that every shard is counted alone and in any order.
analysis/readers/distinct_ngrams.py reads them.
"""

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

N = 3  # words
# Distinct n-grams to 1/sqrt(K) = 3 % and a filter's share of them to sqrt(share / K), for 11 kB a verdict.
K = 1024
FOOTER = "diversity"  # key in the footer of the ledger's shards


class Diversity:
    """Sketches of one shard's documents by their verdict ("" for kept)."""

    def __init__(self) -> None:
        self._smallest: defaultdict[str, np.ndarray] = defaultdict(lambda: np.empty(0, np.uint64))
        self._n_grams: Counter[str] = Counter()

    def add(self, verdict: str, hashes: np.ndarray) -> None:
        """Count a document's n-grams (uint64, uniform, in any order)."""
        self._n_grams[verdict] += len(hashes)
        smallest = self._smallest[verdict]
        if len(smallest) == K:
            hashes = hashes[hashes < smallest[-1]]
        self._smallest[verdict] = np.union1d(smallest, hashes)[:K]

    def to_json(self, verdicts: Iterable[str]) -> str:
        """`{verdict: {n_grams, smallest}}` in the order of `verdicts`; `smallest` is base64 of `<u8`."""
        return json.dumps(
            {
                verdict: {
                    "n_grams": self._n_grams[verdict],
                    "smallest": base64.b64encode(self._smallest[verdict].astype("<u8").tobytes()).decode(),
                }
                for verdict in verdicts
            }
        )
