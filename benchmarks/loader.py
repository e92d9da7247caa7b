"""How fast one process reads its batches from the page cache, how fast it resumes, and its memory.

    make bench-loader

Out: a table; analysis/measurements/loader.json.

The corpus is random: 90 million tokens in three domains, in papers as long as those of arXiv. The benchmark
reads the batches of Run 20 at full scale as one of two processes does, on one thread, and counts CPU seconds.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import record
from configs.loader import run_main
from tests.support.training import ROOT, write_shard, write_token_totals
from train.config import Run, load_run
from train.data.batches import TrainingData, rank_batches, step_samples
from train.data.shards import open_tokens

VOCAB = 102_400
SHARDS, PAPERS = 4, 500  # shards of each domain, papers of each shard
MEDIAN_TOKENS, SPREAD = 12_000, 0.7  # of a paper's length: log-normal, SPREAD is the sigma of the logarithm
STEPS, ROUNDS = 6, 5  # steps a round, rounds
FAR_SAMPLE = 10**7


def write_random_corpus(data: Path) -> int:
    """Write token shards of three domains; return their number of tokens."""
    random = np.random.default_rng(0)
    root = data / "tokens" / "main-main"
    total = 0
    for domain in ("cs", "math", "physics"):
        for shard in range(SHARDS):
            lengths = random.lognormal(np.log(MEDIAN_TOKENS), SPREAD, PAPERS).astype(int)
            papers = {f"{domain}.{shard}.{i}": random.integers(3, VOCAB, n) for i, n in enumerate(lengths)}
            write_shard(root / "train" / domain, f"tar_{shard}", papers, VOCAB)
            total += int(lengths.sum()) + PAPERS
    write_token_totals(root)
    return total


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a call. They do not depend on other processes as wall-clock seconds do."""
    began = time.process_time()
    work()
    return time.process_time() - began


def read_steps(data: TrainingData, run: Run, after_step: int, steps: int) -> None:
    """Read the batches of some steps as one of two processes, on the main thread."""
    for _ in islice(rank_batches(data, run, 0, 2, after_step, workers=0), steps * run.grad_accum_steps(2)):
        pass


def own_mib() -> float:
    """Memory of this process without the pages of mapped files, which belong to the page cache (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    """Measure, print, record."""
    run = load_run(ROOT / "configs/runs/run20.yaml")
    with tempfile.TemporaryDirectory() as folder:
        corpus_tokens = write_random_corpus(Path(folder))
        gc.collect()
        data = TrainingData(open_tokens(Path(folder), "main", "main", "train"), run)
        read_steps(data, run, 0, 1)  # fills the page cache and builds the index of documents
        data.span_hash(step_samples(1, run))
        share = run.tokens_per_step // 2
        spans_s, steps_s = [], []
        before = own_mib()
        for number in range(ROUNDS):
            steps_s.append(seconds(lambda: read_steps(data, run, number * STEPS, STEPS)) / STEPS)  # noqa: B023
            spans_s.append(seconds(lambda: data.span_hash(step_samples(number + 2, run))))  # noqa: B023
        growth = own_mib() - before

        def resume() -> None:
            there = TrainingData(open_tokens(Path(folder), "main", "main", "train"), run)
            next(rank_batches(there, run, 0, 2, FAR_SAMPLE // run.recipe.global_batch_size, workers=0))

        resume_s = seconds(resume)
    figures = {
        "corpus_tokens": corpus_tokens,
        "million_tokens_per_s": share / median(steps_s) / 1e6,
        "span_hash_ms_per_step": median(spans_s) * 1e3,
        "span_hash_million_tokens_per_s": run.tokens_per_step / median(spans_s) / 1e6,
        "resume_at_sample_10_million_s": resume_s,
        "memory_growth_mib": growth,
    }
    for name, value in figures.items():
        print(f"{name:>32}: {value:,.2f}")
    record("loader", figures, ("numpy", "torch"))


if __name__ == "__main__":
    run_main(main)
