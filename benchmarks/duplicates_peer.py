"""MinHash with rensa, the peer of benchmarks/duplicates.py; runs in the benchmarks' environment.

    .venv-bench/bin/python benchmarks/duplicates_peer.py TEXTS

In:  TEXTS, JSONL with one text on each line.
Out: on standard output {"seconds": CPU seconds for words and signatures, "pairs": [[i, j], ...]}.

A signature has 128 permutations of 5-word n-grams. Pairs are those that agree in one of 32 bands of 4 rows;
at a Jaccard similarity J of 0.8 this misses (1 - J^4)^32, 5 of 10^8 pairs (Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", section 3.4).
"""

import itertools
import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

from rensa import RMinHash

BANDS, ROWS = 32, 4


def main() -> None:
    """Compute signatures, find pairs, print."""
    texts = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    began = time.process_time()
    signatures = []
    for text in texts:
        words = re.findall(r"[^\W_]+", text.lower())
        minhash = RMinHash(num_perm=BANDS * ROWS, seed=42)
        minhash.update([" ".join(words[i : i + 5]) for i in range(len(words) - 4)])
        signatures.append(minhash.digest())
    seconds = time.process_time() - began
    pairs = set()
    for band in range(0, BANDS * ROWS, ROWS):
        buckets = defaultdict(list)
        for number, signature in enumerate(signatures):
            buckets[tuple(signature[band : band + ROWS])].append(number)
        pairs |= {pair for some in buckets.values() for pair in itertools.combinations(some, 2)}
    print(json.dumps({"seconds": seconds, "pairs": sorted(pairs)}))


if __name__ == "__main__":
    main()
