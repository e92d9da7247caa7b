"""Keep one document of each set of duplicates in the whole corpus, and none that holds benchmark questions.

    python preprocess/deduplicate.py --data data 'benchmarks=[mmlu.jsonl, gsm8k.jsonl]'

In:  all shards of filter_quality, with the documents' hashes; this stage runs as one task, but it reads only
     the texts that are worth comparing, and all texts if benchmarks are given.
Out: $DATA/corpus/<variant>/deduplicate/<tar>.parquet: the ids of the documents that stay, with the column
     `component` (the smallest id among a document and its relatives, dropped ones included);
     relatives.json, the ids of each component with several documents; contamination.json if benchmarks are
     given; `_DONE.json` beside the ledger. The ledger's detail names the document that is kept in place of a
     dropped one, and their similarity.
The rules apply in this order. `contaminated`: the document holds benchmark questions (decontamination.py).
`exact_duplicate`: it has the same letters and digits as another; case, spacing, comments, macros and
packaging make no difference. `near_duplicate` and `contained`: see duplicates.py. Among duplicates the
document with the earliest first version stays; if the dates are equal, the one with the smallest id.
The stage needs about 1.3 KB of memory per document of the corpus.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
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
from preprocess.dedup.minhash import SketchIndex
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.parts import document_rows, document_tables
from preprocess.pipeline.schema import DEDUPLICATED
from preprocess.pipeline.shard import code_hash
from preprocess.pipeline.stage import (
    ShardStage,
    Unit,
    finish_corpus,
    is_corpus_done,
    progress,
    require_one_task,
    run_tasks,
    units_of,
    write_json,
)

DOCUMENTS_A_TASK = 128  # a worker holds the n-grams of so many documents
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


class Papers:
    """A few numbers for each document of the corpus, from the columns that filter_quality wrote.

    `ids`, `created`: bytes [documents]. `keys`: uint64 [documents, 2], of `text_key`. `unit`: int32
    [documents], the position in `units` of the shard with the document.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self.sketches = SketchIndex()
        columns: tuple[list[np.ndarray], ...] = ([], [], [], [])
        for number, unit in enumerate(units):
            for table in document_tables(unit.inputs, ("id", "created", "text_key", "sketch")):
                sketches = table["sketch"].combine_chunks()
                self.sketches.add(sketches.flatten().to_numpy(), pc.list_value_length(sketches).to_numpy())
                values: tuple[np.ndarray, ...] = (
                    np.array(table["id"].to_pylist(), np.bytes_),
                    np.array(table["created"].to_pylist(), np.bytes_),
                    np.frombuffer(b"".join(table["text_key"].to_pylist()), np.uint64).reshape(-1, 2),
                    np.full(len(table), number, np.int32),
                )
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        self.ids, self.created, self.keys, self.unit = map(np.concatenate, columns)

    def id(self, number: int) -> str:
        """A document's id."""
        return self.ids[number].decode()

    def location(self, number: int) -> TextLocation:
        """Where a document's text is stored."""
        return TextLocation(self.units[self.unit[number]].inputs[0], self.id(number))


def find_benchmarks(units: Sequence[Unit], config: DeduplicateConfig, workers: int) -> dict[str, list[Hit]]:
    """The benchmark items in each contaminated document, by its id."""
    hits: dict[str, list[Hit]] = {}
    if config.benchmarks:
        with progress("benchmarks", units) as bar:
            for unit, some in run_tasks(_find_in_shard, [(unit, config) for unit in units], workers):
                hits |= some
                bar.update(unit.n_bytes)
    return hits


def _find_in_shard(unit: Unit, config: DeduplicateConfig) -> tuple[Unit, dict[str, list[Hit]]]:
    benchmarks = load_benchmarks(config.benchmarks, config.benchmark_words)
    rows = document_rows(unit.inputs, ("id", "text"))
    return unit, {row["id"]: hits for row in rows if (hits := benchmarks.find(row["text"]))}


def find_duplicates(
    papers: Papers, contaminated: Sequence[int], config: DeduplicateConfig, workers: int
) -> tuple[dict[int, Duplicate], list[list[int]]]:
    """(the documents to drop, the components of related documents), without contaminated documents.

    All name documents by their numbers in `papers`.
    """
    # Below, a document's number is its rank of preference, so that the order of the shards has no effect.
    order = np.lexsort((papers.ids, papers.created))
    order = order[~np.isin(order, contaminated)]
    equal = equal_keys(papers.keys[order]) if config.exact else []
    differing = np.delete(np.arange(len(order)), np.array([copy for copy, _ in equal], np.int64))
    matches: list[Match] = []
    if config.near or config.contained:
        found = [differing[some] for some in papers.sketches.candidates(order[differing])]
        pairs = np.unique(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=0)
        print(f"deduplicate: {len(pairs):,} pairs of {len(order):,} documents are worth comparing")
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
    """Divide `pairs` among the workers, so that few documents are read and few shards are opened twice.

    pairs: int64 [pairs, 2], documents by rank, ascending. unit: int32 [documents], the shard of each.
    """
    # Pairs of a family come one after the other: they share the first partner of their second document.
    seconds, begin = np.unique(pairs[:, 1], return_index=True)
    lead = pairs[begin, 0][np.searchsorted(seconds, pairs[:, 1])]
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1], unit[pairs[:, 1]], lead, unit[lead]))]
    task: list[tuple[int, int]] = []
    documents: set[int] = set()
    for one, two in pairs.tolist():
        if len(documents) > DOCUMENTS_A_TASK - 2 and not documents.issuperset((one, two)):
            yield task
            task, documents = [], set()
        task.append((one, two))
        documents.update((one, two))
    if task:
        yield task


def decide(
    papers: Papers, hits: Mapping[str, Sequence[Hit]], config: DeduplicateConfig, workers: int
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

    contaminated = np.flatnonzero(np.isin(papers.ids, np.array(list(hits), np.bytes_))).tolist()
    for number in contaminated:
        first, *others = hits[papers.id(number)]
        file = config.benchmarks[first.file].name
        detail = f"{file} line {first.line}: {first.share:.3f} of a passage; {1 + len(others)} items in all"
        of(number)["dropped"][papers.id(number)] = ("contaminated", detail)
    dropped, related = find_duplicates(papers, contaminated, config, workers)
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
    """Name the documents of one shard that stay. `unit.work`: the decisions on the shard."""
    dropped, component = unit.work["dropped"], unit.work["component"]
    for table in document_tables(unit.inputs, ("id", "text_bytes")):
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
    require_one_task(job)
    config = job.config(DeduplicateConfig)
    code = code_hash("deduplicate.py")
    stage = ShardStage("deduplicate", DEDUPLICATED, drop_duplicates, code)
    benchmarks = fingerprint(config.benchmarks)
    units = [replace(unit, fingerprint=benchmarks) for unit in units_of(*job.documents())]
    if is_corpus_done(stage, job, config, units):
        return
    hits = find_benchmarks(units, config, job.workers)
    report = job.corpus("deduplicate") / "contamination.json"
    if config.benchmarks:
        loaded = load_benchmarks(config.benchmarks, config.benchmark_words)
        files = loaded.report(hits.items())
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
    decisions, components = decide(Papers(units), hits, config, job.workers)
    write_json(job.corpus("deduplicate") / "relatives.json", components)
    finish_corpus(stage, job, config, units, decisions)


if __name__ == "__main__":
    run_main(main)
