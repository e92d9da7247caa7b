"""Set papers aside for validation, in each domain.

    python preprocess/split_corpus.py --data data

In:  the shards of normalize_text with the texts, of filter_quality and deduplicate with the columns that they
     add, and relatives.json of deduplicate.
Out: $DATA/corpus/<variant>/split_corpus/<tar>.parquet, the finished corpus, with the column `split` (train,
     val). Beside the ledger: validation.json, the ids of the validation papers, and `_DONE.json`.
In each domain the components with the smallest hash of (seed, component) become validation, up to the
domain's share. A component is never divided. The choice does not depend on order, shards or workers.

When the corpus grows, the papers in validation.json stay validation and others are added up to the share. New
papers of their components are dropped as `val_duplicate`. If deduplication now keeps a new paper in place of
a validation paper, the new one becomes validation. A variant also takes over the validation papers of its
bases, which must be finished first, so that all variants share one validation set. If the seed or the share
changes, the stage chooses anew.

At most half of a validation paper's n-grams may be in training papers (overlap.py). Training papers that
bring in more are dropped as `val_duplicate`; a validation paper that consists of common phrases is dropped
as `val_contained`.

The tasks of an array share the work in three rounds, because each round needs what all tasks found in the one
before: the n-grams of the validation papers, their overlaps with training papers, the shards. A task does
what it can and ends; start the same array again for the next round. A single task does all rounds.
"""

import json
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import xxhash
from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from preprocess.dedup.overlap import Verdict, find_overlaps
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.parts import document_rows, document_tables
from preprocess.pipeline.schema import SPLIT
from preprocess.pipeline.shard import LEVEL_FINISHED, code_hash
from preprocess.pipeline.stage import (
    ShardStage,
    Unit,
    corpus_hashes,
    finish_corpus,
    is_corpus_done,
    require_bases,
    require_done,
    units_of,
    write_json,
)

CHOICE_FILE = "validation.json"


class SplitCorpusConfig(Config):
    """How many papers are set aside."""

    val_share: float = Field(0.002, gt=0, lt=0.5)  # of a domain's papers
    min_val_papers: int = Field(8, ge=1)  # in each domain; the loss on fewer papers is too noisy
    seed: int = 0


class Paper(NamedTuple):
    """What the choice depends on."""

    id: str
    domain: str


def choose_validation(
    components: Mapping[str, Sequence[Paper]],
    relatives: Mapping[str, Sequence[str]],
    earlier: Set[str],
    config: SplitCorpusConfig,
) -> tuple[set[str], dict[str, Verdict]]:
    """(ids of the validation papers, papers to drop).

    `components`: the papers of each component. `relatives`: all its ids, including those that deduplication
    dropped. `earlier`: validation papers of earlier runs; choosing again with the result as `earlier` gives
    the same result. Raises UserError if a domain has too few papers.
    """
    validation: set[str] = set()
    dropped: dict[str, Verdict] = {}
    untouched = []
    for component, papers in components.items():
        ids = {paper.id for paper in papers}
        if present := ids & earlier:
            validation |= present
            detail = f"{min(present)}: of its component"
            dropped |= {paper_id: Verdict("val_duplicate", detail) for paper_id in ids - present}
        elif not earlier.isdisjoint(relatives.get(component, ())):
            validation |= ids
        else:
            untouched.append((_rank(config.seed, component), component))

    n_papers = Counter(paper.domain for papers in components.values() for paper in papers)
    missing = {
        domain: max(config.min_val_papers, round(config.val_share * n)) for domain, n in n_papers.items()
    }
    for domain, n_val in sorted(missing.items()):
        if 2 * n_val > n_papers[domain]:
            raise UserError(
                f"split_corpus: {domain} has {n_papers[domain]} papers, too few to set {n_val} aside; add "
                "papers, or set min_val_papers=… lower"
            )
    for papers in components.values():
        for paper in papers:
            missing[paper.domain] -= paper.id in validation
    for _, component in sorted(untouched):
        if max(missing.values()) <= 0:
            break  # every domain has enough
        wanted = Counter(paper.domain for paper in components[component])
        if all(missing[domain] >= n for domain, n in wanted.items()):  # skip a component that is too large
            validation |= {paper.id for paper in components[component]}
            for domain, n in wanted.items():
                missing[domain] -= n
    return validation, dropped


def _rank(seed: int, component: str) -> int:
    return xxhash.xxh3_64_intdigest(component.encode(), seed=seed)


def read_earlier_choice(folder: Path, config: SplitCorpusConfig | None) -> set[str]:
    """Validation papers of an earlier run, or of whoever chose them, from validation.json in `folder`.

    None if there is no such file, or if the run's configuration was not `config` (None: any). A file whose
    configuration is null was written by study_papers.py; its papers hold for every configuration.
    """
    if not (folder / CHOICE_FILE).is_file():
        return set()
    choice = json.loads((folder / CHOICE_FILE).read_text())
    if config is None or choice["config"] in (None, config.model_dump()):
        return set(choice["papers"])
    return set()


def mark_split(unit: Unit, _: SplitCorpusConfig, documents: Documents) -> None:
    """Write one shard with all columns. `unit.work`: the decisions on the shard."""
    for table in document_tables(unit.inputs, SPLIT.names):
        ids = table["id"].to_pylist()
        split = ["val" if paper_id in unit.work["val"] else "train" for paper_id in ids]
        documents.choose(table, list(map(unit.work["dropped"].get, ids)), {"split": split})


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "split_corpus", SplitCorpusConfig), "split_corpus")
    with job.lock():
        split_corpus(job)


def split_corpus(job: Job) -> None:
    """Choose the validation papers and write the shards with the column `split`.

    Raises UserError if deduplicate or a base's split is not finished or a domain has too few papers.
    """
    config = job.config(SplitCorpusConfig)
    code = code_hash("split_corpus.py")
    stage = ShardStage("split_corpus", SPLIT, mark_split, code, LEVEL_FINISHED)
    folder = job.ledger("split_corpus")
    require_done(job, "deduplicate")
    require_bases(job)
    relatives = json.loads((job.corpus("deduplicate") / "relatives.json").read_text())
    bases = [base.ledger("split_corpus") for base in job.bases()]
    of_bases = set().union(*(read_earlier_choice(base, None) for base in bases if base != folder))
    other_inputs = json.dumps([relatives, sorted(of_bases)], sort_keys=True).encode()
    fingerprint = xxhash.xxh3_128_hexdigest(other_inputs)
    units = [replace(unit, fingerprint=fingerprint) for unit in units_of(*job.documents())]
    if is_corpus_done(stage, job, config, units):
        return

    components: defaultdict[str, list[Paper]] = defaultdict(list)
    shard_of = {}
    for unit in units:
        for row in document_rows(unit.inputs, ("id", "domain", "component")):
            components[row["component"]].append(Paper(row["id"], row["domain"]))
            shard_of[row["id"]] = unit.name
    earlier = of_bases | read_earlier_choice(folder, config)
    validation, dropped = choose_validation(components, relatives, earlier, config)
    # Written before the first shard: if this run is killed, the next one chooses the same papers.
    write_json(folder / CHOICE_FILE, {"config": config.model_dump(), "papers": sorted(validation | earlier)})

    def by_shard(ids: Iterable[str]) -> dict[str, set[str]]:
        grouped: defaultdict[str, set[str]] = defaultdict(set)
        for paper_id in ids:
            grouped[shard_of[paper_id]].add(paper_id)
        return grouped

    facts = json.dumps([corpus_hashes(stage, config, units), sorted(validation), dropped], sort_keys=True)
    scratch = folder / ".validation" / xxhash.xxh3_128_hexdigest(facts.encode())
    try:
        overlapping = find_overlaps(units, by_shard(validation), by_shard(dropped), scratch, job)
    except FileNotFoundError:  # if the last task has just ended, it has removed what all of them found
        if is_corpus_done(stage, job, config, units):
            return
        raise
    if overlapping is None:
        print(f"split_corpus: task {job.shard[0]} has done what it can; start the array again after its end")
        return
    dropped |= overlapping
    n_papers = Counter(
        (paper.domain, paper.id in validation) for papers in components.values() for paper in papers
    )
    for (domain, is_validation), n in sorted(n_papers.items()):
        if is_validation:
            print(f"split_corpus: {domain}: {n} of {n + n_papers[domain, False]} papers for validation")
    decisions: dict[str, dict[str, Any]] = {unit.name: {"val": [], "dropped": {}} for unit in units}
    for name, ids in by_shard(validation).items():
        decisions[name]["val"] = sorted(ids)
    for name, ids in by_shard(dropped).items():
        decisions[name]["dropped"] = {paper_id: dropped[paper_id] for paper_id in ids}
    if finish_corpus(stage, job, config, units, decisions):
        shutil.rmtree(scratch.parent, ignore_errors=True)
    else:
        print("split_corpus: other tasks have not written their shards yet")


if __name__ == "__main__":
    run_main(main)
