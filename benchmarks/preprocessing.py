"""Speed of extraction and normalisation beside other cleaners, on the same real papers in the same run.

    ARXIV_REAL=/data/arxiv-real make bench-preprocess

In:  a seeded sample of the papers below $ARXIV_REAL/src; the Python in which the peers are installed.
Out: tables; analysis/measurements/preprocess.json.

Our time covers extract_paper and normalize_document, as the stages call them: from the bytes of an archive to
clean text. Writing and reading the Parquet shards of the two stages is timed separately. A peer gets the TeX
files of a paper already unpacked in memory-backed storage; its start is not timed. arxiv-to-prompt runs
without macro expansion, its default, and with it, which comes closest to our cleaning. All times are CPU
seconds of one process: rounds are interleaved, and each paper counts with its median. MB/s count raw TeX: all
TeX files of the archive, used or not. A peer is compared on the papers that it finishes.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.measure import record
from configs.loader import UserError, run_main
from preprocess import extract_latex, normalize_text
from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.latex.extraction.archive import TEX_SUFFIXES, Unpacked, unpack
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.identifiers import from_member_stem
from preprocess.pipeline.schema import DOCUMENTS
from preprocess.pipeline.shard import ParquetShard, read_rows
from preprocess.validate_archives import items
from tests.support.corpus import document

SAMPLE_BYTES = 24_000_000  # of TeX; the slowest peer needs 15 s for them
ROUNDS = 5
SEED = 0
PEERS = ("arxiv-latex-cleaner", "arxiv-to-prompt", "arxiv-to-prompt, macros")
EXTRACT, NORMALIZE = ExtractLatexConfig.model_validate({}), NormalizeTextConfig()
# The functions that process a paper, by their names in the two stages.
STEPS: tuple[tuple[Any, str], ...] = (
    (extract_latex, "unpack"),
    (extract_latex, "choose_main_file"),
    (extract_latex.Flattener, "run"),
    (normalize_text, "clean"),
    (normalize_text, "_tidy_unicode"),
)


@dataclass(frozen=True)
class Paper:
    """A paper's item in a bulk tar, with the metadata that go into its text."""

    paper_id: str
    item: bytes
    title: str
    abstract: str
    tex: dict[str, bytes]  # content of its TeX files by name, for the peers

    @property
    def n_bytes(self) -> int:
        """Bytes of raw TeX."""
        return sum(map(len, self.tex.values()))


def all_papers(folder: Path) -> list[Paper]:
    """All papers with TeX files in a folder of real papers."""
    with (folder / "arxiv-metadata-oai-snapshot.json").open(encoding="utf-8") as lines:
        metadata = {row["id"]: row for row in map(json.loads, lines)}
    return [paper for path in sorted((folder / "src").glob("*.tar")) for paper in _papers(path, metadata)]


def sample(folder: Path) -> list[Paper]:
    """A seeded sample of papers with SAMPLE_BYTES of TeX in total."""
    papers = all_papers(folder)
    random.Random(SEED).shuffle(papers)
    n_bytes, chosen = 0, []
    for paper in papers:
        if n_bytes < SAMPLE_BYTES:
            chosen.append(paper)
            n_bytes += paper.n_bytes
    return chosen


def _papers(path: Path, metadata: dict[str, dict[str, Any]]) -> Iterator[Paper]:
    for member, item in items(path):
        paper_id = from_member_stem(Path(member.name).stem)
        unpacked = unpack(item, "main.tex")
        if isinstance(unpacked, Unpacked) and paper_id in metadata:
            tex = {name: bytes(data) for name, data in unpacked.files.items() if name.endswith(TEX_SUFFIXES)}
            row = metadata[paper_id]
            if tex:
                yield Paper(paper_id, item, row["title"], row["abstract"], tex)


# ---------------------------------------------------------------- ours


def clean(paper: Paper) -> str:
    """The clean text of a paper, "" if it is dropped."""
    extracted = extract_paper(paper.item, "main.tex", EXTRACT)
    if not isinstance(extracted, Extracted):
        return ""
    text = normalize_document(extracted.text, paper.title, paper.abstract, NORMALIZE)
    return text.text if isinstance(text, Normalized) else ""


def our_seconds(papers: list[Paper]) -> list[float]:
    """CPU seconds of each paper."""
    seconds = []
    for paper in papers:
        start = time.process_time()
        clean(paper)
        seconds.append(time.process_time() - start)
    return seconds


def step_seconds(papers: list[Paper]) -> dict[str, float]:
    """CPU seconds of each step over all papers; `rest` is time outside of the steps."""
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            result = step(*arguments, **options)
            spent[name] += time.process_time() - start
            return result

        return run

    with ExitStack() as patches:
        for owner, name in STEPS:
            label = f"{owner.__name__}.{name}" if isinstance(owner, type) else name.lstrip("_")
            patches.enter_context(patch.object(owner, name, timed(label, getattr(owner, name))))
        start = time.process_time()
        for paper in papers:
            clean(paper)
        total = time.process_time() - start
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return dict(ordered) | {"rest": total - sum(spent.values())}


def parquet_seconds(papers: list[Paper]) -> float:
    """CPU seconds to write the shards of both stages and to read them."""
    rows = []
    for paper in papers:
        extracted = extract_paper(paper.item, "main.tex", EXTRACT)
        flat = extracted.text.decode() if isinstance(extracted, Extracted) else ""
        rows.append((document(paper.paper_id, flat), document(paper.paper_id, clean(paper))))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        for n in range(2):
            with ParquetShard(Path(folder) / f"{n}.parquet", DOCUMENTS, "") as shard:
                for row in rows:
                    shard.append({name: row[n][name] for name in DOCUMENTS.names})
            for _ in read_rows(shard.path):
                pass
        return time.process_time() - start


# ---------------------------------------------------------------- peers


def lay_out(papers: list[Paper], root: Path) -> list[str]:
    """Write a folder for each paper with its TeX files; return the folders."""
    folders = []
    for n, paper in enumerate(papers):
        for name, data in paper.tex.items():
            path = root / str(n) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        folders.append(str(root / str(n)))
    return folders


def run_peer(python: Path, name: str, folders: list[str]) -> dict[str, Any]:
    """Run preprocessing_peer.py for one peer; return its measurements."""
    script = Path(__file__).with_name("preprocessing_peer.py")
    done = subprocess.run(
        [python, script, name], input=json.dumps(folders), stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def compare(papers: list[Paper], ours: list[float], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """A peer's speed and ours on the papers that the peer finished in every round."""
    failures = [next((reason for _, reason in tries if reason), "") for tries in _by_paper(rounds)]
    finished = [n for n, reason in enumerate(failures) if not reason]
    n_bytes = sum(papers[n].n_bytes for n in finished)
    theirs = sum(median(seconds for seconds, _ in _by_paper(rounds)[n]) for n in finished)
    ours_there = sum(ours[n] for n in finished)
    return {
        "version": rounds[0]["version"],
        "mb_per_s": round(n_bytes / theirs / 1e6, 2),
        "ours_there_mb_per_s": round(n_bytes / ours_there / 1e6, 2),
        "ratio": round(theirs / ours_there, 2),
        "n_papers": len(finished),
        "failures": dict(Counter(reason for reason in failures if reason).most_common()),
    }


def _by_paper(rounds: list[dict[str, Any]]) -> list[tuple[tuple[float, str], ...]]:
    return list(zip(*(peer["results"] for peer in rounds), strict=True))


def main() -> None:
    """Run all rounds, print the tables, write the measurement."""
    parser = argparse.ArgumentParser(
        description="speed of extraction and normalisation beside other cleaners"
    )
    parser.add_argument(
        "--peers", type=Path, required=True, help="Python that has benchmarks/requirements.txt"
    )
    options = parser.parse_args()
    if not os.environ.get("ARXIV_REAL"):
        raise UserError(
            "ARXIV_REAL= must name a folder of real papers (src/, arxiv-metadata-oai-snapshot.json)"
        )
    papers = sample(Path(os.environ["ARXIV_REAL"]))
    n_bytes = sum(paper.n_bytes for paper in papers)
    our_seconds(papers)  # warms up, because a stage runs for hours
    ours: list[list[float]] = []
    steps: list[dict[str, float]] = []
    peers: dict[str, list[dict[str, Any]]] = {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as root:
        folders = lay_out(papers, Path(root))
        for _ in range(ROUNDS):
            ours.append(our_seconds(papers))
            for name in PEERS:
                peers[name].append(run_peer(options.peers, name, folders))
            steps.append(step_seconds(papers))
    seconds = [median(tries) for tries in zip(*ours, strict=True)]
    figures = {
        "unit": "MB/s of raw TeX in one process, by CPU time",
        "sample": {
            "n_papers": len(papers),
            "tex_mb": round(n_bytes / 1e6, 2),
            "seed": SEED,
            "rounds": ROUNDS,
        },
        "ours": {
            "mb_per_s": round(n_bytes / sum(seconds) / 1e6, 2),
            "dropped": sum(not clean(paper) for paper in papers),
            "ns_per_byte": {
                name: round(median(step[name] for step in steps) / n_bytes * 1e9, 2) for name in steps[0]
            },
            "parquet_ns_per_byte": round(parquet_seconds(papers) / n_bytes * 1e9, 2),
        },
        "peers": {name: compare(papers, seconds, peers[name]) for name in PEERS},
    }
    show(figures)
    print(record("preprocess", figures, ("isal", "pyarrow")))


def show(figures: dict[str, Any]) -> None:
    """Print the tables."""
    ours, shown = figures["ours"], figures["sample"]
    print(f"{shown['n_papers']} papers, {shown['tex_mb']} MB of TeX, {shown['rounds']} rounds")
    print(f"\n{'':32}{'MB/s':>8}{'ours':>8}{'ratio':>8}{'papers':>8}  failures")
    print(f"{'extract + normalize':32}{ours['mb_per_s']:8.1f}{'':16}{shown['n_papers'] - ours['dropped']:8}")
    for name, peer in figures["peers"].items():
        failures = ", ".join(f"{reason} {n}" for reason, n in peer["failures"].items())
        print(
            f"{name + ' ' + peer['version']:32}{peer['mb_per_s']:8.2f}{peer['ours_there_mb_per_s']:8.1f}"
            f"{peer['ratio']:8.1f}{peer['n_papers']:8}  {failures}"
        )
    print("\nours, by step             ns a byte of raw TeX")
    for name, spent in [*ours["ns_per_byte"].items(), ("Parquet shards, apart", ours["parquet_ns_per_byte"])]:
        print(f"  {name:24}{spent:8.2f}")
    print()


if __name__ == "__main__":
    run_main(main)
