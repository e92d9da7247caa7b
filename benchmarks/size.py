"""Deduplication, split and tokenizer sampling at arXiv's size: CPU time, memory, growth.

    make bench-size [PAPERS="40000 160000 640000 2560000"]

In:  a made-up corpus (size_corpus.py) of sketches and few texts, written to a temporary folder (2 GB for the
     largest).
Out: a table; analysis/measurements/size.json. make size-report draws it.

Each size runs the stages themselves, as a user runs them, in one process. Texts of arXiv's size would take
120 GB, so what a stage does with every text is left out: make bench-corpus and make bench-duplicates measure
it, and it grows with the bytes. What remains is what a stage does for each paper, for each candidate pair and
at once for the whole corpus; that must not grow faster than the corpus.

The machine's speed changes from minute to minute, and a run of two seconds says little. So a short stage runs
several times, and the smaller sizes are measured before and after the largest one.

At the largest size split_corpus runs once more as the tasks of a Slurm array, which must keep and drop the
same papers. In each of three rounds, each task chooses the validation papers of the whole corpus by itself;
the rest is divided among the tasks. The other two stages are one task, whatever the size of the array.
"""

import argparse
import re
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpus import Cost, run
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
LEAST_S = 10  # CPU seconds that the runs of a stage take at least, all together
ARRAY_TASKS, ROUNDS = 4, 3  # of split_corpus


def measure(n_papers: int, scratch: Path, with_array: bool) -> dict[str, Any]:
    """Make a corpus of `n_papers` and run the stages on it, split_corpus also as an array if asked for.

    The result has the costs of all runs of each stage.

    Raises UserError if a stage fails or the array keeps other papers than one task.
    """
    with (
        tempfile.TemporaryDirectory(dir=scratch) as name,
        # In a process of its own, whose memory does not count as that of the stages started from here.
        ProcessPoolExecutor(1, get_context("spawn")) as writer,
    ):
        data = Path(name)
        n_bytes = writer.submit(write_blocks, data, range(n_papers // BLOCK)).result()
        stages = {}
        for stage in STAGES:
            stages[stage] = repeat(stage, data)
            print(f"{n_papers:,} papers, {stage}: {summary(stages[stage])}", flush=True)
        kept = outcomes(data)
        array = {"split_corpus_array": split_by_array(data)} if with_array else {}
        if array and outcomes(data) != kept:
            raise UserError(f"split_corpus: {kept} in one task, {outcomes(data)} in {ARRAY_TASKS}")
        found = re.search(r"([\d,]+) pairs of", stages["deduplicate"][-1].output)
        n_pairs = int(found[1].replace(",", "")) if found else 0
        return {
            "papers": n_papers,
            "text_bytes": n_bytes,
            "pairs_compared": n_pairs,
            "stages": stages,
            "outcomes": kept,
            **array,
        }


def repeat(stage: str, data: Path) -> list[Cost]:
    """Run a stage again and again until its runs took LEAST_S."""
    costs: list[Cost] = []
    while sum(cost.cpu_s for cost in costs) < LEAST_S:
        remove_results(stage, data)
        costs.append(run(stage, data, "--workers", 1, *STAGES[stage]))
    return costs


def remove_results(stage: str, data: Path) -> None:
    """Remove what a stage has written, so that it does its work again."""
    for folder in (data / "corpus/main" / stage, data / "ledger/main" / stage, data / "tokenizers"):
        if folder.exists():
            shutil.rmtree(folder)


def summary(costs: list[Cost]) -> dict[str, Any]:
    """Mean CPU seconds and peak memory of a stage's runs."""
    cpu_s, peak_mb = mean(cost.cpu_s for cost in costs), max(cost.peak_mb for cost in costs)
    return {"cpu_s": round(cpu_s, 2), "peak_mb": round(peak_mb), "runs": len(costs)}


def together(visits: list[dict[str, Any]]) -> dict[str, Any]:
    """One size, measured several times, with a summary of all runs of each stage.

    Raises UserError if a stage kept other papers in one of the visits than in another.
    """
    first = visits[0]
    if any(visit["outcomes"] != first["outcomes"] for visit in visits):
        raise UserError(f"{first['papers']:,} papers: outcomes differ: {[v['outcomes'] for v in visits]}")
    stages = {
        stage: summary([cost for visit in visits for cost in visit["stages"][stage]]) for stage in STAGES
    }
    return first | {"stages": stages}


def split_by_array(data: Path) -> dict[str, Any]:
    """Split the corpus again, by the tasks of an array: what each of them takes, in all rounds together."""
    remove_results("split_corpus", data)
    rounds = [
        [
            run("split_corpus", data, "--workers", 1, "--shard", f"{task}/{ARRAY_TASKS}")
            for task in range(ARRAY_TASKS)
        ]
        for _ in range(ROUNDS)
    ]
    figures = {
        "tasks": ARRAY_TASKS,
        "cpu_s": [round(sum(cost.cpu_s for cost in task), 1) for task in zip(*rounds, strict=True)],
        "peak_mb": round(max(cost.peak_mb for tasks in rounds for cost in tasks)),
    }
    print(f"split_corpus as an array: {figures}", flush=True)
    return figures


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

    The exponents are fitted to all sizes, and from each size to the next.
    """
    exponents, n_bytes = {}, {}
    papers = [size["papers"] for size in sizes]
    for stage in STAGES:
        cpu_s, peak_mb = ([size["stages"][stage][key] for size in sizes] for key in ("cpu_s", "peak_mb"))
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
        papers = sorted(args.papers)
        visits: dict[int, list[dict[str, Any]]] = {n: [] for n in papers}
        for n in (*papers, *papers[-2::-1]):
            visits[n].append(measure(n, Path(scratch), with_array=n == papers[-1]))
    sizes = [together(of_size) for of_size in visits.values()]
    figures = {"sizes": sizes, **growth(sizes)}
    print(figures["exponents"], figures["bytes_a_paper"], sep="\n")
    print(record("size", figures, ("numpy", "pyarrow", "xxhash")))


if __name__ == "__main__":
    run_main(main)
