"""Keep one document of each set of duplicates in the whole corpus, and none that holds benchmark questions.

    python preprocess/deduplicate.py --data data 'benchmarks=[mmlu.jsonl, gsm8k.jsonl]'

In:  filter_quality's shards, all of them: this stage runs as one task.
Out: $DATA/corpus/<variant>/deduplicate/<tar>.parquet with the column `component` (the smallest id among a
     document and its relatives, the dropped ones too); relatives.json, the ids of each component that has
     several; contamination.json where there are benchmarks. The ledger's detail names the document that
     stands for a dropped one, and their similarity; `_DONE.json` lies beside the ledger.
A document is dropped as `contaminated` (decontaminate.py); then as `exact_duplicate`: the same letters and
digits, case apart (other spacing, comments, macros or packaging do not make another paper); then as
`near_duplicate` or `contained` (duplicates.py). Among duplicates the one with the earliest first version
stays, of equals the smallest id. Memory: about 1.3 KB a document of the corpus.
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
from preprocess.dedup.duplicates import Duplicate, Match, Place, equal_keys, groups, judge, measure
from preprocess.dedup.minhash import SketchIndex, sketch
from preprocess.dedup.ngrams import word_bytes
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import DEDUPLICATED
from preprocess.pipeline.shard import code_hash, read_rows
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

PAIRS_A_TASK = 256  # at most 512 documents' n-grams in a worker's memory
_MEASURE = {
    "exact_duplicate": "similarity of letters and digits",
    "near_duplicate": "Jaccard similarity of 5-word n-grams",
    "contained": "containment of 5-word n-grams",
}


class DeduplicateConfig(Config):
    """Which rules are on; Run 03 switches all of them off."""

    exact: bool = True
    near: bool = True
    contained: bool = True
    benchmarks: tuple[Path, ...] = ()  # JSONL, relative to the folder where the stage is started
    benchmark_words: int = Field(13, ge=1)  # of an n-gram; 13 as in GPT-3 and the Pile


@dataclass
class Scan:
    """What one shard contributes to the comparison, a value a document."""

    ids: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)  # date of version 1
    keys: list[bytes] = field(default_factory=list)
    sketches: list[np.ndarray] = field(default_factory=list)
    hits: list[list[Hit]] = field(default_factory=list)  # benchmark items in the document


def text_key(text: str) -> bytes:
    """Hash of a document's letters and digits (128 bits: no collision among 10^7 papers, p < 1e-24)."""
    return xxhash.xxh3_128_digest(word_bytes(text).translate(None, b"\0"))


def scan_shard(unit: Unit, config: DeduplicateConfig) -> tuple[Unit, Scan]:
    """Read one shard for whatever the rules need."""
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
    """The whole corpus, a few numbers a document; documents are numbered as their shards come in."""

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

    def place(self, number: int) -> Place:
        """Where a document's text lies."""
        return Place(self.units[self.unit[number]].inputs[0], int(self.row[number]))


def find_duplicates(
    papers: Papers, config: DeduplicateConfig, workers: int
) -> tuple[dict[int, Duplicate], list[list[int]]]:
    """(the documents to drop, sets of relatives) by number; contaminated documents are left out."""
    # From here to the end documents are numbered by preference, whatever the order in which they came.
    order = np.lexsort((papers.ids, papers.created))
    order = order[~np.isin(order, list(papers.hits))]
    equal = equal_keys(papers.keys[order]) if config.exact else []
    differing = np.delete(np.arange(len(order)), np.array([copy for copy, _ in equal], np.int64))
    matches: list[Match] = []
    if config.near or config.contained:
        found = [differing[some] for some in papers.sketches.candidates(order[differing])]
        pairs = np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)
        tasks = [
            (some, {document: papers.place(order[document]) for pair in some for document in pair})
            for some in _batches(pairs, papers.unit[order])
        ]
        for some in run_tasks(measure, tasks, workers):
            matches += some
    dropped = judge(matches, config.near, config.contained)
    for copy, first in equal:  # a copy shares the fate of the one that it is a copy of
        dropped[copy] = dropped.get(first, Duplicate("exact_duplicate", first, 1.0))
    related = groups([*equal, *(match[:2] for match in matches)])
    return (
        {
            int(order[document]): found._replace(of=int(order[found.of]))
            for document, found in dropped.items()
        },
        [[int(order[document]) for document in group] for group in related],
    )


def _batches(pairs: np.ndarray, unit: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    """`pairs` in parts for the workers; those from the same shards together, so that few are read twice."""
    pairs = pairs[np.lexsort((unit[pairs[:, 1]], unit[pairs[:, 0]]))]
    for start in range(0, len(pairs), PAIRS_A_TASK):
        yield [(one, two) for one, two in pairs[start : start + PAIRS_A_TASK].tolist()]


def decide(
    papers: Papers, config: DeduplicateConfig, workers: int
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """(decisions, ids of each component that has several).

    A shard's decisions: `dropped`, (reason, detail) by id; `component` of those that have relatives, by id.
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
    """Write the documents of one shard that stay."""
    for row in read_rows(unit.inputs[0]):
        n_bytes = len(row["text"].encode())
        if row["id"] in unit.work["dropped"]:
            reason, detail = unit.work["dropped"][row["id"]]
            documents.drop(row["id"], reason, n_bytes, detail)
        else:
            component = unit.work["component"].get(row["id"], row["id"])
            documents.keep(row | {"component": component}, n_bytes, n_bytes, {})


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "deduplicate", DeduplicateConfig), "deduplicate")
    with job.lock():
        deduplicate(job)


def deduplicate(job: Job) -> None:
    """Find the duplicates of the corpus and write the shards without them. Raises UserError."""
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
                f"; no JSON objects: lines {file['malformed_lines']}" if file["malformed_lines"] else ""
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
