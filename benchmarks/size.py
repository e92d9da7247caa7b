"""Deduplication, split and tokenizer sampling at arXiv's size: CPU time, memory, growth.

    make bench-size [PAPERS="40000 160000 640000 2560000"]

In:  a made-up corpus (size_corpus.py) of sketches and few texts, written to a temporary folder (2 GB for the
     largest).
Out: a table; analysis/measurements/size.json. make size-report draws it.

Each size runs the stages themselves, as a user runs them, in one process. Texts of arXiv's size would take
120 GB, so what a stage does with every text is left out: make bench-corpus and make bench-duplicates measure
it, and it grows with the bytes. What remains is what a stage does for each paper, for each candidate pair and
at once for the whole corpus; that must not grow faster than the corpus. A shard's time is spread over
workers, the rest belongs to one process of one node, whatever the size of the array.
"""

import argparse
import re
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpus import run
from benchmarks.measure import record
from benchmarks.size_corpus import BLOCK, write_blocks
from configs.loader import UserError, run_main

PAPERS = (40_000, 160_000, 640_000, 2_560_000)  # 1, 4, 16 and 64 times as many, all of them distinct
# A small vocabulary and sample: training does not grow with the corpus, finding the sample does.
STAGES: dict[str, tuple[str, ...]] = {
    "deduplicate": (),
    "split_corpus": (),
    "train_tokenizer": ("vocab_size=512", "sample_bytes=2000000"),
}


def measure(n_papers: int, scratch: Path) -> dict[str, Any]:
    """Make a corpus of `n_papers` and run the stages on it. Raises UserError if one fails."""
    with (
        tempfile.TemporaryDirectory(dir=scratch) as name,
        # In a process of its own, whose memory does not count as that of the stages started from here.
        ProcessPoolExecutor(1, get_context("spawn")) as writer,
    ):
        data = Path(name)
        n_bytes = writer.submit(write_blocks, data, range(n_papers // BLOCK)).result()
        stages, said = {}, {}
        for stage, flags in STAGES.items():
            cost = run(stage, data, "--workers", 1, *flags)
            said[stage] = cost.output
            stages[stage] = {"cpu_s": round(cost.cpu_s, 1), "peak_mb": round(cost.peak_mb)}
            print(f"{n_papers:,} papers, {stage}: {stages[stage]}", flush=True)
        found = re.search(r"([\d,]+) pairs of", said["deduplicate"])
        n_pairs = int(found[1].replace(",", "")) if found else 0
        return {
            "papers": n_papers,
            "text_bytes": n_bytes,
            "pairs_compared": n_pairs,
            "stages": stages,
            "outcomes": outcomes(data),
        }


def outcomes(data: Path) -> dict[str, int]:
    """How many papers deduplicate and split_corpus kept and dropped, by reason."""
    counts: Counter[str] = Counter()
    for stage in ("deduplicate", "split_corpus"):
        for path in (data / "ledger/main" / stage).glob("*.parquet"):
            for reason in pq.read_table(path, columns=["reason"])["reason"].value_counts().to_pylist():
                counts[f"{stage}: {reason['values'] or 'kept'}"] += reason["counts"]
    return dict(sorted(counts.items()))


def growth(sizes: list[dict[str, Any]]) -> dict[str, Any]:
    """How each stage grows: exponents of its CPU time over papers, and bytes of memory for a further paper.

    The exponents are fitted to all sizes, and from each size to the next. A stage may lack the largest sizes.
    """
    exponents, n_bytes = {}, {}
    for stage in STAGES:
        papers, cpu_s, peak_mb = zip(
            *(
                (size["papers"], size["stages"][stage]["cpu_s"], size["stages"][stage]["peak_mb"])
                for size in sizes
                if stage in size["stages"]
            ),
            strict=True,
        )
        x, y = np.log(papers), np.log(cpu_s)
        exponents[stage] = {
            "fitted": round(float(np.polyfit(x, y, 1)[0]), 3),
            "steps": (np.diff(y) / np.diff(x)).round(3).tolist(),
        }
        n_bytes[stage] = round(1e6 * (peak_mb[-1] - peak_mb[-2]) / (papers[-1] - papers[-2]))
    return {"exponents": exponents, "bytes_a_paper": n_bytes}


def main() -> None:
    """Measure, print, record."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--papers", type=int, nargs="+", default=PAPERS, help=f"multiples of {BLOCK:,}")
    args = parser.parse_args()
    if len(args.papers) < 2 or any(n % BLOCK or n < BLOCK for n in args.papers):
        raise UserError(f"--papers: at least two multiples of {BLOCK:,}")
    with tempfile.TemporaryDirectory(prefix="bench-size-") as scratch:
        sizes = [measure(n, Path(scratch)) for n in sorted(args.papers)]
    figures = {"sizes": sizes, **growth(sizes)}
    print(figures["exponents"], figures["bytes_a_paper"], sep="\n")
    print(record("size", figures, ("numpy", "pyarrow", "xxhash")))


if __name__ == "__main__":
    run_main(main)
