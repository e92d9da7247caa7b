"""MinHash with rensa, for benchmarks/duplicates.py; runs in the benchmarks' environment, on nothing of ours.

    .venv-bench/bin/python benchmarks/duplicates_peer.py TEXTS

In:  TEXTS, JSONL, a text a line.
Out: on stdout {"seconds": CPU seconds of splitting into words and of the signatures, "pairs": [[i, j], ...]}.
128 permutations over 5-word n-grams; pairs that agree in one of 32 bands of 4, which finds all but 5 in 10^8
of those with a Jaccard similarity of 0.8.
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
    """Sign, band, print."""
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
