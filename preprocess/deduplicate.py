"""Keep one document of each set of duplicates in the whole corpus, and none that holds benchmark questions.

    python preprocess/deduplicate.py --data data 'benchmarks=[mmlu.jsonl, gsm8k.jsonl]'

In:  all shards of filter_quality; this stage runs as one task.
Out: $DATA/corpus/<variant>/deduplicate/<tar>.parquet with the column `component` (the smallest id among a
     document and its relatives, dropped ones included); relatives.json, the ids of each component with
     several documents; contamination.json if benchmarks are given; `_DONE.json` beside the ledger. The
     ledger's detail names the document that is kept in place of a dropped one, and their similarity.
The rules apply in this order. `contaminated`: the document holds benchmark questions (decontamination.py).
`exact_duplicate`: it has the same letters and digits as another; case, spacing, comments, macros and
packaging make no difference. `near_duplicate` and `contained`: see duplicates.py. Among duplicates the
document with the earliest first version stays; if the dates are equal, the one with the smallest id.
The stage needs about 1.3 KB of memory per document of the corpus.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, run_main
from preprocess.dedup.decontamination import Hit, fingerprint, load_benchmarks
from preprocess.dedup.duplicates import (
    Duplicate,
    Match,
    TextLocation,
    connected_components,
    equal_keys,
    judge,
    measure,
)
from preprocess.dedup.minhash import SketchIndex, sketch
from preprocess.dedup.ngrams import word_bytes
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import DEDUPLICATED
from preprocess.pipeline.shard import code_hash, read_rows, read_tables
from preprocess.pipeline.stage import (
    ShardStage,
    Unit,
    finish_corpus,
    is_corpus_done,
    progress,
    run_tasks,
    units_of,
    write_json,
)

PAIRS_A_TASK = 256  # a worker holds the n-grams of at most 512 documents
_MEASURE = {
    "exact_duplicate": "similarity of letters and digits",
    "near_duplicate": "Jaccard similarity of 5-word n-grams",
    "contained": "containment of 5-word n-grams",
}


class DeduplicateConfig(Config):
    """Which rules are on; Run 03 switches all of them off.

    No run changes the thresholds: they are constants of duplicates.py, minhash.py and decontamination.py.
    """

    exact: bool = True
    near: bool = True
    contained: bool = True
    benchmarks: tuple[Path, ...] = ()  # JSONL files, relative to the folder where the stage is started
    benchmark_words: int = Field(13, ge=1)  # words in an n-gram; GPT-3 and the Pile use 13


@dataclass
class Scan:
    """What one shard contributes to the comparison: lists with one value per document."""

    ids: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # date of version 1
    keys: list[bytes] = field(default_factory=list)  # of `text_key`
    sketches: list[np.ndarray] = field(default_factory=list)  # of `minhash.sketch`
    hits: list[list[Hit]] = field(default_factory=list)  # benchmark items in the document


def text_key(text: str) -> bytes:
    """128-bit hash of a document's letters and digits. Among 10^7 papers two collide with p < 1e-24."""
    return xxhash.xxh3_128_digest(word_bytes(text).translate(None, b"\0"))


def scan_shard(unit: Unit, config: DeduplicateConfig) -> tuple[Unit, Scan]:
    """Compute from one shard what the rules need. Returns the unit too: results arrive in any order."""
    scan = Scan()
    benchmarks = load_benchmarks(config.benchmarks, config.benchmark_words) if config.benchmarks else None
    for row in read_rows(unit.inputs[0], ("id", "created", "text")):
        scan.ids.append(row["id"])
        scan.created.append(row["created"])
        scan.keys.append(text_key(row["text"]) if config.exact else b"")
        scan.sketches.append(sketch(row["text"] if config.near or config.contained else ""))
        scan.hits.append(benchmarks.find(row["text"]) if benchmarks else [])
    return unit, scan


class Papers:
    """A few numbers for each document of the corpus. Documents are numbered in the order of arrival.

    `ids`, `created`: bytes [documents]. `keys`: uint64 [documents, 2], of `text_key`. `unit`, `row`: int32
    [documents], where the document is stored: the position in `units`, the row in that shard.
    """

    def __init__(self, units: Sequence[Unit], config: DeduplicateConfig, workers: int) -> None:
        self.units: list[Unit] = []
        self.sketches = SketchIndex()
        self.hits: dict[int, list[Hit]] = {}  # of contaminated documents
        columns: tuple[list[np.ndarray], ...] = ([], [], [], [], [])
        with progress("comparing documents", units) as bar:
            for unit, scan in run_tasks(scan_shard, [(unit, config) for unit in units], workers):
                first = len(self.sketches)
                self.hits.update((first + row, hits) for row, hits in enumerate(scan.hits) if hits)
                self.sketches.add(scan.sketches)
                values: tuple[np.ndarray, ...] = (
                    np.array(scan.ids, np.bytes_),
                    np.array(scan.created, np.bytes_),
                    np.frombuffer(b"".join(scan.keys), np.uint64).reshape(-1, 2),
                    np.full(len(scan.ids), len(self.units), np.int32),
                    np.arange(len(scan.ids), dtype=np.int32),
                )
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
                self.units.append(unit)
                bar.update(unit.n_bytes)
        self.ids, self.created, self.keys, self.unit, self.row = map(np.concatenate, columns)

    def id(self, number: int) -> str:
        """A document's id."""
        return self.ids[number].decode()

    def location(self, number: int) -> TextLocation:
        """Where a document's text is stored."""
        return TextLocation(self.units[self.unit[number]].inputs[0], int(self.row[number]))


def find_duplicates(
    papers: Papers, config: DeduplicateConfig, workers: int
) -> tuple[dict[int, Duplicate], list[list[int]]]:
    """(the documents to drop, the components of related documents), without contaminated documents.

    Both name documents by their numbers in `papers`.
    """
    # Below, a document's number is its rank of preference, so that the order of arrival has no effect.
    order = np.lexsort((papers.ids, papers.created))
    order = order[~np.isin(order, list(papers.hits))]
    equal = equal_keys(papers.keys[order]) if config.exact else []
    differing = np.delete(np.arange(len(order)), np.array([copy for copy, _ in equal], np.int64))
    matches: list[Match] = []
    if config.near or config.contained:
        found = [differing[some] for some in papers.sketches.candidates(order[differing])]
        pairs = np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)
        tasks = [
            (some, {document: papers.location(order[document]) for pair in some for document in pair})
            for some in _batches(pairs, papers.unit[order])
        ]
        for some in run_tasks(measure, tasks, workers):
            matches += some
    dropped = judge(matches, config.near, config.contained)
    for copy, first in equal:  # if the first document is dropped itself, its copies go for the same reason
        dropped[copy] = dropped.get(first, Duplicate("exact_duplicate", first, 1.0))
    related = connected_components([*equal, *(match[:2] for match in matches)])
    return (
        {
            int(order[document]): found._replace(of=int(order[found.of]))
            for document, found in dropped.items()
        },
        [[int(order[document]) for document in group] for group in related],
    )


def _batches(pairs: np.ndarray, unit: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """Divide `pairs` among the workers. Pairs from the same shards stay together: few shards are read twice.

    pairs: int64 [pairs, 2], documents by rank. unit: int32 [documents], the shard of each.
    """
    pairs = pairs[np.lexsort((unit[pairs[:, 1]], unit[pairs[:, 0]]))]
    for start in range(0, len(pairs), PAIRS_A_TASK):
        yield [(one, two) for one, two in pairs[start : start + PAIRS_A_TASK].tolist()]


def decide(
    papers: Papers, config: DeduplicateConfig, workers: int
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """(decisions by shard, ids of each component with several documents by its smallest id).

    The decisions on a shard: `dropped` maps ids to (reason, detail); `component` maps the ids of documents
    with relatives to their component.
    """
    decisions: dict[str, dict[str, Any]] = {
        unit.name: {"dropped": {}, "component": {}} for unit in papers.units
    }

    def of(number: int) -> dict[str, Any]:
        return decisions[papers.units[papers.unit[number]].name]

    for number, hits in papers.hits.items():
        file = config.benchmarks[hits[0].file].name
        detail = f"{file} line {hits[0].line}: {hits[0].share:.3f} of a passage; {len(hits)} items in all"
        of(number)["dropped"][papers.id(number)] = ("contaminated", detail)
    dropped, related = find_duplicates(papers, config, workers)
    for number, duplicate in dropped.items():
        detail = f"{papers.id(duplicate.of)}: {_MEASURE[duplicate.reason]} {duplicate.similarity:.3f}"
        of(number)["dropped"][papers.id(number)] = (duplicate.reason, detail)
    components = {}
    for group in related:
        ids = sorted(map(papers.id, group))
        components[ids[0]] = ids
        for number in group:
            of(number)["component"][papers.id(number)] = ids[0]
    return decisions, components


def drop_duplicates(unit: Unit, _: DeduplicateConfig, documents: Documents) -> None:
    """Write the documents of one shard that stay. `unit.work`: the decisions on the shard."""
    dropped, component = unit.work["dropped"], unit.work["component"]
    for table in read_tables(unit.inputs[0]):
        ids = table["id"].to_pylist()
        documents.choose(
            table, list(map(dropped.get, ids)), {"component": [component.get(i, i) for i in ids]}
        )


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "deduplicate", DeduplicateConfig), "deduplicate")
    with job.lock():
        deduplicate(job)


def deduplicate(job: Job) -> None:
    """Find the duplicates in the corpus and write the shards without them.

    Raises UserError if the stage was started as part of an array or a benchmark cannot be read.
    """
    config = job.config(DeduplicateConfig)
    code = code_hash("deduplicate.py")
    stage = ShardStage("deduplicate", DEDUPLICATED, drop_duplicates, code)
    benchmarks = fingerprint(config.benchmarks)
    units = [replace(unit, fingerprint=benchmarks) for unit in units_of(job.documents())]
    if is_corpus_done(stage, job, config, units):
        return
    papers = Papers(units, config, job.workers)
    report = job.corpus("deduplicate") / "contamination.json"
    if config.benchmarks:
        loaded = load_benchmarks(config.benchmarks, config.benchmark_words)
        files = loaded.report((papers.id(number), hits) for number, hits in papers.hits.items())
        write_json(report, files)
        for file in files:
            malformed = (
                f"; not JSON objects: lines {file['malformed_lines']}" if file["malformed_lines"] else ""
            )
            print(
                f"deduplicate: {file['file']}: {file['items_found']:,} of {file['items']:,} items found in "
                f"{len(file['papers']):,} papers{malformed}"
            )
    else:
        report.unlink(missing_ok=True)
    decisions, components = decide(papers, config, job.workers)
    write_json(job.corpus("deduplicate") / "relatives.json", components)
    finish_corpus(stage, job, config, units, decisions)


if __name__ == "__main__":
    run_main(main)
