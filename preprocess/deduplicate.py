"""Keep one document of each set of equal ones, over the whole corpus.

    python preprocess/deduplicate.py --data data

In:  filter_quality's shards, all of them: this stage runs as one task.
Out: $DATA/corpus/<variant>/deduplicate/<tar>.parquet and `_DONE.json`; the ledger's detail names the document
     that stands for a dropped one.
Two documents are equal if their letters and digits are, case apart: other spacing, comments, macros or
packaging do not make another paper. The one with the earliest first version stays, of equals the smallest id.
"""

import re

import xxhash

from configs.loader import Config, run_main
from preprocess.job import Job, arguments, parse
from preprocess.ledger import Documents
from preprocess.schema import MEASURED
from preprocess.shard import code_hash, read_rows
from preprocess.stage import ShardStage, Unit, finish_corpus, is_corpus_done, progress, run_tasks, units_of

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")


class DeduplicateConfig(Config):
    """Which rules are on."""

    exact: bool = True  # Run 03 switches deduplication off


def text_key(text: str) -> bytes:
    """Hash of a document's letters and digits (128 bits: no collision among 10^7 papers, p < 1e-24)."""
    return xxhash.xxh3_128_digest(_NOT_ALPHANUMERIC.sub("", text).lower().encode())


def shard_keys(unit: Unit) -> tuple[Unit, list[tuple[bytes, str, str]]]:
    """(text key, date of version 1, id) of each document of a shard."""
    columns = ("id", "created", "text")
    return unit, [
        (text_key(row["text"]), row["created"], row["id"]) for row in read_rows(unit.inputs[0], columns)
    ]


def representatives(units: list[Unit], workers: int) -> dict[str, dict[str, str]]:
    """For each shard, its documents to drop and the document that stands for each."""
    best: dict[bytes, tuple[str, str]] = {}
    members: dict[str, list[tuple[bytes, str]]] = {}
    with progress("comparing documents", units) as bar:
        for unit, keys in run_tasks(shard_keys, [(unit,) for unit in units], workers):
            members[unit.name] = [(key, paper_id) for key, _, paper_id in keys]
            for key, created, paper_id in keys:
                best[key] = min(best.get(key, (created, paper_id)), (created, paper_id))
            bar.update(unit.n_bytes)
    return {
        name: {paper_id: best[key][1] for key, paper_id in keys if best[key][1] != paper_id}
        for name, keys in members.items()
    }


def drop_duplicates(unit: Unit, _: DeduplicateConfig, documents: Documents) -> None:
    """Write the documents of one shard that stand for themselves."""
    for row in read_rows(unit.inputs[0]):
        n_bytes = len(row["text"].encode())
        if original := unit.work.get(row["id"]):
            documents.drop(row["id"], "exact_duplicate", n_bytes, original)
        else:
            documents.keep(row, n_bytes, n_bytes, {})


def main() -> None:
    """Run the stage."""
    job: Job = parse(arguments(__doc__ or "", "deduplicate", DeduplicateConfig), "deduplicate")
    config = job.config(DeduplicateConfig)
    stage = ShardStage("deduplicate", MEASURED, drop_duplicates, code_hash("deduplicate.py"))
    units = units_of(job.corpus("filter_quality"))
    if is_corpus_done(stage, job, config, units):
        return
    dropped = representatives(units, job.workers) if config.exact else {}
    finish_corpus(stage, job, config, units, {unit.name: dropped.get(unit.name, {}) for unit in units})


if __name__ == "__main__":
    run_main(main)
