"""The stages of preprocessing in the order in which documents pass: the one place that says so.

    python -m configs.stages          a line `name kind` for each, for shell scripts

A stage is the script preprocess/<name>.py. docs/adding_a_stage.md shows how to add one.
"""

from typing import Literal, NamedTuple


class Stage(NamedTuple):
    """One step that users run."""

    name: str
    # metadata: reads the snapshot, a shard for each month. shards: one tar's shard at a time, so that the
    # tasks of an array can share them out. corpus: looks at all documents, as one task. tokenizer,
    # tokens: for one recipe of a tokenizer, the second one shard at a time.
    kind: Literal["metadata", "shards", "corpus", "tokenizer", "tokens"]


TABLE = (
    Stage("filter_metadata", "metadata"),
    Stage("validate_archives", "shards"),
    Stage("extract_latex", "shards"),
    Stage("normalize_text", "shards"),
    Stage("filter_quality", "shards"),
    Stage("deduplicate", "corpus"),
    Stage("split_corpus", "corpus"),
    Stage("train_tokenizer", "tokenizer"),
    Stage("tokenize_corpus", "tokens"),
)
TOKEN_STAGES = tuple(stage.name for stage in TABLE if stage.kind in ("tokenizer", "tokens"))
CORPUS_STAGES = tuple(stage.name for stage in TABLE if stage.name not in TOKEN_STAGES)  # they have a ledger
TAR_STAGES = tuple(
    stage.name for stage in TABLE if stage.kind in ("shards", "corpus")
)  # a ledger shard for each tar


def stage_before(name: str) -> str:
    """The stage whose documents a stage takes in."""
    return CORPUS_STAGES[CORPUS_STAGES.index(name) - 1]


if __name__ == "__main__":
    print(*(f"{stage.name} {stage.kind}" for stage in TABLE), sep="\n")
