"""The stages of preprocessing in their order. Every other part of the project reads the order from here.

    python -m configs.stages          prints a line `name kind rounds` per stage, for shell scripts

A stage is the script preprocess/<name>.py. docs/adding_a_stage.md shows how to add one.
"""

from typing import Literal, NamedTuple


class Stage(NamedTuple):
    """One stage: its name, how its work is divided and what its shards hold."""

    name: str
    # metadata: reads the metadata snapshot, with a shard per month. shards: works on one tar's shard at a
    # time, so the tasks of an array can divide the shards. corpus: needs what is known of all documents.
    # tokenizer: trains one tokenizer, in one task. tokens: encodes one shard at a time with one tokenizer.
    kind: Literal["metadata", "shards", "corpus", "tokenizer", "tokens"]
    # rows: complete rows. columns: the id of each document that stays and the columns that this stage adds;
    # the others stay where they are, so that not every filter writes the texts again.
    writes: Literal["rows", "columns"] = "columns"
    # How often an array has to be started until a stage of the kind corpus is finished; 0: it is one task.
    rounds: int = 0


TABLE = (
    Stage("filter_metadata", "metadata", "rows"),
    Stage("validate_archives", "shards", "rows"),
    Stage("extract_latex", "shards", "rows"),
    Stage("normalize_text", "shards", "rows"),
    Stage("filter_quality", "shards"),
    Stage("deduplicate", "corpus"),
    Stage("split_corpus", "corpus", "rows", rounds=3),
    Stage("train_tokenizer", "tokenizer", "rows"),
    Stage("tokenize_corpus", "tokens", "rows"),
)
TOKEN_STAGES = tuple(stage.name for stage in TABLE if stage.kind in ("tokenizer", "tokens"))
CORPUS_STAGES = tuple(stage.name for stage in TABLE if stage.name not in TOKEN_STAGES)  # they have a ledger
TAR_STAGES = tuple(
    stage.name for stage in TABLE if stage.kind in ("shards", "corpus")
)  # a ledger shard for each tar


def stage_before(name: str) -> str:
    """The stage whose output the stage `name` reads."""
    return CORPUS_STAGES[CORPUS_STAGES.index(name) - 1]


def parts_after(name: str) -> tuple[str, ...]:
    """The stages whose shards together hold the documents that the stage `name` keeps.

    The first one wrote complete rows, the others added columns.
    """
    upto = CORPUS_STAGES.index(name) + 1
    complete = [i for i, stage in enumerate(TABLE[:upto]) if stage.writes == "rows"]
    return CORPUS_STAGES[complete[-1] : upto]


if __name__ == "__main__":
    print(*(f"{stage.name} {stage.kind} {stage.rounds}" for stage in TABLE), sep="\n")
