"""The stages of preprocessing in their order. Every other part of the project reads the order from here.

    python -m configs.stages          prints a line `name kind` per stage, for shell scripts

A stage is the script preprocess/<name>.py. docs/adding_a_stage.md shows how to add one.
"""

from typing import Literal, NamedTuple


class Stage(NamedTuple):
    """One stage: its name and how its work is divided."""

    name: str
    # metadata: reads the metadata snapshot, with a shard per month. shards: works on one tar's shard at a
    # time, so the tasks of an array can divide the shards. corpus: needs all documents in one task.
    # tokenizer: trains one tokenizer, in one task. tokens: encodes one shard at a time with one tokenizer.
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
    """The stage whose output the stage `name` reads."""
    return CORPUS_STAGES[CORPUS_STAGES.index(name) - 1]


if __name__ == "__main__":
    print(*(f"{stage.name} {stage.kind}" for stage in TABLE), sep="\n")
