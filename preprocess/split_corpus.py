"""Set papers aside for validation, in each domain.

    python preprocess/split_corpus.py --data data

In:  deduplicate's shards, all of them: this stage runs as one task.
Out: $DATA/corpus/<variant>/split_corpus/<tar>.parquet with the columns `split` (train, val) and `component`
     (the smallest id among a paper's duplicates: a component is never divided), and `_DONE.json`.
In each domain the components with the smallest hash of (seed, component) are validation: a choice that does
not depend on order, shards or workers.
"""

from collections import defaultdict

import xxhash
from pydantic import Field

from configs.loader import Config, UserError, run_main
from preprocess.job import Job, arguments, parse
from preprocess.ledger import Documents
from preprocess.schema import SPLIT
from preprocess.shard import code_hash, read_rows
from preprocess.stage import ShardStage, Unit, finish_corpus, is_corpus_done, units_of


class SplitCorpusConfig(Config):
    """How much is set aside."""

    val_share: float = Field(0.002, gt=0, lt=0.5)  # of a domain's papers
    min_val_papers: int = Field(8, ge=1)  # of a domain: fewer give a loss that says little
    seed: int = 0


def choose_validation(papers: dict[str, list[str]], config: SplitCorpusConfig) -> dict[str, list[str]]:
    """Validation ids of each domain from its ids."""
    chosen = {}
    for domain, ids in sorted(papers.items()):
        n_val = max(config.min_val_papers, round(config.val_share * len(ids)))
        if 2 * n_val > len(ids):
            raise UserError(
                f"split_corpus: {domain} has {len(ids)} papers, too few to set {n_val} aside; bring more, "
                "or set min_val_papers=… lower"
            )
        chosen[domain] = sorted(ids, key=lambda paper_id: (_rank(config.seed, paper_id), paper_id))[:n_val]
    return chosen


def _rank(seed: int, paper_id: str) -> int:
    return xxhash.xxh3_64_intdigest(paper_id.encode(), seed=seed)


def mark_split(unit: Unit, _: SplitCorpusConfig, documents: Documents) -> None:
    """Write one shard with its `split` and `component`."""
    for row in read_rows(unit.inputs[0]):
        n_bytes = len(row["text"].encode())
        split = "val" if row["id"] in unit.work else "train"
        documents.keep(row | {"split": split, "component": row["id"]}, n_bytes, n_bytes, {})


def main() -> None:
    """Run the stage."""
    job: Job = parse(arguments(__doc__ or "", "split_corpus", SplitCorpusConfig), "split_corpus")
    config = job.config(SplitCorpusConfig)
    stage = ShardStage("split_corpus", SPLIT, mark_split, code_hash("split_corpus.py"))
    units = units_of(job.corpus("deduplicate"))
    if is_corpus_done(stage, job, config, units):
        return
    papers: defaultdict[str, list[str]] = defaultdict(list)
    shard_of: dict[str, str] = {}
    for unit in units:
        for row in read_rows(unit.inputs[0], ("id", "domain")):
            papers[row["domain"]].append(row["id"])
            shard_of[row["id"]] = unit.name
    validation: dict[str, list[str]] = {unit.name: [] for unit in units}
    for domain, ids in choose_validation(papers, config).items():
        print(f"split_corpus: {domain}: {len(ids)} of {len(papers[domain])} papers for validation")
        for paper_id in sorted(ids):
            validation[shard_of[paper_id]].append(paper_id)
    finish_corpus(stage, job, config, units, validation)


if __name__ == "__main__":
    run_main(main)
