"""Deduplication, decontamination and the split: speed, recall, memory and growth, on real papers.

    ARXIV_REAL=/data/arxiv-real make bench-duplicates

In:  the papers below $ARXIV_REAL, processed up to filter_quality; rensa in the benchmarks' environment.
Out: tables; analysis/measurements/duplicates.json.

Speed is in MB of clean text per CPU second of one process, the median of interleaved rounds. Recall is
measured on copies of papers that are perturbed in known ways and whose similarity is computed exactly;
MinHash alone (rensa) gets the same texts. Memory and growth are those of the stages' processes on 1, 4 and 16
copies of the corpus, each perturbed so that it is not a duplicate. With two workers the main process holds
only what is kept for the whole corpus.
"""

import argparse
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import record
from configs.loader import UserError, run_main
from configs.stages import parts_after
from preprocess.dedup.decontamination import Benchmarks
from preprocess.dedup.duplicates import MIN_CONTAINMENT, MIN_JACCARD
from preprocess.dedup.minhash import NGRAM_WORDS, SketchIndex, sketch
from preprocess.dedup.ngrams import distinct_ngrams, text_key, word_bytes
from preprocess.pipeline.parts import document_rows
from preprocess.pipeline.stage import units_of
from tests.conftest import ROOT
from tests.support.corpus import document, write_parts
from tests.support.duplicates import edited, likeness, with_other_ending, write_words

MB = 1e6
ROUNDS = 3
ITEMS, ITEM_WORDS, BENCHMARK_WORDS = 14_000, 60, 13  # about as many and as long as MMLU's
PAPERS = 150  # a seeded sample; more would take long in plain Python and in the peer
GROWTH = (1, 4, 16)
CHAPTER_WORDS = (250, 500, 1000, 2000, 4000)


def papers(folder: Path) -> list[str]:
    """The clean texts of the real papers."""
    source = os.environ.get("ARXIV_REAL")
    if not source:
        raise UserError("ARXIV_REAL names no folder of real papers")
    flags = ["--data", folder, "--variant", "broad", "--workers", "2", "--src", f"{source}/src"]
    flags += ["--metadata", f"{source}/arxiv-metadata-oai-snapshot.json"]
    for stage in (
        "filter_metadata",
        "validate_archives",
        "extract_latex",
        "normalize_text",
        "filter_quality",
    ):
        subprocess.run([sys.executable, f"preprocess/{stage}.py", *flags], cwd=ROOT, check=True)
    units = units_of(*(folder / "corpus/broad" / stage for stage in parts_after("filter_quality")))
    return [row["text"] for unit in units for row in document_rows(unit.inputs, ("text",))]


# ---------------------------------------------------------------- speed


def plain_decontamination(items: list[str]) -> Callable[[str], int]:
    """Decontamination with a set of tuples of 13 words, with which the numpy version is compared."""
    known = set()
    for item in items:
        words = re.findall(r"[^\W_]+", item.lower())
        known.update(tuple(words[i : i + BENCHMARK_WORDS]) for i in range(len(words) - BENCHMARK_WORDS + 1))

    def find(text: str) -> int:
        words = re.findall(r"[^\W_]+", text.lower())
        return sum(
            tuple(words[i : i + BENCHMARK_WORDS]) in known for i in range(len(words) - BENCHMARK_WORDS + 1)
        )

    return find


def bench_speed(texts: list[str], scratch: Path, peers: Path) -> dict[str, Any]:
    """MB of text per CPU second of one process."""
    rng = random.Random(1)
    items = [" ".join(write_words(rng, ITEM_WORDS)) for _ in range(ITEMS)]
    path = scratch / "items.jsonl"
    path.write_text("".join(json.dumps({"question": item}) + "\n" for item in items))
    began = time.process_time()
    benchmarks = Benchmarks([path], BENCHMARK_WORDS)
    load_s = time.process_time() - began
    plain = plain_decontamination(items)
    ways: dict[str, Callable[[str], Any]] = {
        "key_of_equal_texts": lambda text: text_key(word_bytes(text)),
        "distinct_5_grams": lambda text: distinct_ngrams(text, NGRAM_WORDS),
        "sketch": lambda text: sketch(word_bytes(text)),
        "decontamination": benchmarks.find,
        "decontamination_plain_python": plain,
    }
    lines = scratch / "texts.jsonl"
    lines.write_text("".join(json.dumps(text) + "\n" for text in texts))
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for way, function in ways.items():
            began = time.process_time()
            for text in texts:
                function(text)
            seconds[way].append(time.process_time() - began)
        seconds["minhash_rensa"].append(rensa(lines, peers)["seconds"])
    n_bytes = sum(len(text.encode()) for text in texts)
    return {
        "mb": n_bytes / MB,
        "documents": len(texts),
        "mb_per_cpu_s": {way: n_bytes / MB / median(each) for way, each in seconds.items()},
        "sketch_times_faster_than_rensa": _ratio(seconds["minhash_rensa"], seconds["sketch"]),
        "decontamination_times_faster_than_plain_python": _ratio(
            seconds["decontamination_plain_python"], seconds["decontamination"]
        ),
        "benchmark_items": ITEMS,
        "benchmark_load_cpu_s": load_s,
    }


def rensa(lines: Path, peers: Path) -> dict[str, Any]:
    """Run the peer on a file of texts; see duplicates_peer.py for the result."""
    command = [peers, ROOT / "benchmarks/duplicates_peer.py", lines]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _ratio(theirs: list[float], ours: list[float]) -> float:
    return median(a / b for a, b in zip(theirs, ours, strict=True))


# ---------------------------------------------------------------- recall


def plant(texts: list[str]) -> Iterator[tuple[str, int, str]]:
    """Perturbed copies of texts: (kind, index of the original, text)."""
    rng = random.Random(2)
    for number, text in enumerate(texts):
        words = text.split()
        for share in (0.01, 0.02, 0.03):
            yield "copy", number, " ".join(edited(rng, words, share))
        for share in (0.1, 0.3):
            yield "copy", number, " ".join(with_other_ending(rng, words, share))
        for length in CHAPTER_WORDS:
            if len(words) >= 4 * length:
                start = rng.randrange(len(words) - length)
                chapter = edited(rng, words[start : start + length], rng.choice([0, 0.01, 0.03]))
                yield f"chapter of {length} words", number, " ".join(chapter)


def bench_recall(texts: list[str], scratch: Path, peers: Path) -> dict[str, Any]:
    """How many of the planted pairs above the thresholds become candidates, by kind and similarity."""
    planted = list(plant(texts))
    everything = [*texts, *(text for _, _, text in planted)]
    index = SketchIndex()
    sketches = [sketch(word_bytes(text)) for text in everything]
    index.add(np.concatenate(sketches), np.array(list(map(len, sketches))))
    ours = {(one, two) for some in index.candidates(np.arange(len(everything))) for one, two in some.tolist()}
    lines = scratch / "planted.jsonl"
    lines.write_text("".join(json.dumps(text) + "\n" for text in everything))
    theirs = {(one, two) for one, two in rensa(lines, peers)["pairs"]}
    counts: dict[str, dict[str, int]] = {}
    for copy, (kind, number, text) in enumerate(planted, len(texts)):
        jaccard, containment = likeness(texts[number], text)
        if jaccard >= MIN_JACCARD:
            kind = "Jaccard similarity >= 0.8"
        elif containment >= MIN_CONTAINMENT:
            kind = f"containment >= 0.8, {kind}"
        else:
            kind = "below both"
        count = counts.setdefault(kind, {"pairs": 0, "found": 0, "found_by_minhash_alone": 0})
        count["pairs"] += 1
        count["found"] += (number, copy) in ours
        count["found_by_minhash_alone"] += (number, copy) in theirs
    return dict(sorted(counts.items()))


# ---------------------------------------------------------------- memory and growth


def other_copy(text: str, number: int) -> str:
    """A copy of the same length that shares no five consecutive words with another copy."""
    words = text.split()
    words[::4] = [f"{word}q{number}" for word in words[::4]]
    return " ".join(words)


def bench_growth(texts: list[str], scratch: Path) -> dict[str, Any]:
    """CPU seconds and memory of the two corpus-wide stages as the corpus grows."""
    sizes = []
    for times in GROWTH:
        data = scratch / f"times{times}"
        for number in range(times):
            rows = [
                document(f"{1000 + number}.{i:05}", other_copy(text, number), domain=("math", "cs")[i % 2])
                for i, text in enumerate(texts)
            ]
            write_parts(data, f"t{number}", rows)
        size: dict[str, Any] = {"documents": times * len(texts)}
        size["mb"] = sum(len(row["text"].encode()) for row in rows) * times / MB
        for stage in ("deduplicate", "split_corpus"):
            size[stage] = run_stage(stage, data)
        shutil.rmtree(data)
        sizes.append(size)
    first, middle, last = sizes
    figures: dict[str, Any] = {"corpora": sizes}
    for stage in ("deduplicate", "split_corpus"):
        more = last["documents"] - middle["documents"]
        grown = last[stage]["main_process_peak_mb"] - middle[stage]["main_process_peak_mb"]
        figures[f"{stage}_bytes_a_document"] = round(grown * MB / more)
        figures[f"{stage}_time_exponent"] = math.log(last[stage]["cpu_s"] / first[stage]["cpu_s"]) / math.log(
            last["documents"] / first["documents"]
        )
    return figures


def run_stage(stage: str, data: Path) -> dict[str, float]:
    """CPU seconds of a stage with two workers, and peak memory of its main process."""
    command = [sys.executable, f"preprocess/{stage}.py", "--data", str(data), "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kib = 0
    # Not usage.ru_maxrss: it includes the memory of this process, from which the stage's was forked.
    while not (waited := os.wait4(process.pid, os.WNOHANG))[0]:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kib = max([peak_kib, *map(int, re.findall(r"VmHWM:\s*(\d+) kB", status))])
        time.sleep(0.01)
    _, code, usage = waited
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise UserError(f"{stage} ended with {process.returncode}")
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "main_process_peak_mb": peak_kib * 1024 / MB}


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, required=True, help="Python of the benchmarks' environment")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        texts = random.Random(0).sample(papers(scratch / "real"), PAPERS)
        figures = {
            "speed": bench_speed(texts, scratch, args.peers),
            "recall": bench_recall(texts, scratch, args.peers),
            "growth": bench_growth(texts, scratch),
        }
    print(json.dumps(figures, indent=1))
    print(record("duplicates", figures, ("numpy", "xxhash", "pyarrow")))


if __name__ == "__main__":
    run_main(main)
