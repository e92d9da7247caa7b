"""Whether a corpus has only grown since a tokenizer was trained on it: then the tokenizer stays.

In: the tokenizer's report and the shards of the corpus. "Only grown" means new tars and nothing else: every
earlier tar has the documents that it had before the corpus-wide stages (which may drop an earlier document
because of a new one), and the recipe is the same.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from configs.stages import TABLE
from preprocess.pipeline.job import Job
from preprocess.pipeline.shard import content_hash


def corpus_recipe(job: Job) -> str:
    """The recipe of the corpus for the stages that look at all of it, as JSON."""
    recipe = job.recipes[0][1]
    return json.dumps([recipe.get(stage.name) for stage in TABLE if stage.kind == "corpus"], sort_keys=True)


def cleaned_hashes(job: Job, names: Sequence[str]) -> dict[str, str]:
    """Hash of each tar's documents before the stages that look at the whole corpus.

    Empty if shards of those stages have been removed: nothing then says that the corpus has only grown.
    """
    before = [stage.name for stage in TABLE if stage.kind == "shards"][-2:]  # their texts, and who was kept
    shards = {name: [job.corpus(stage) / f"{name}.parquet" for stage in before] for name in names}
    if not all(path.is_file() for paths in shards.values() for path in paths):
        return {}
    return {name: "-".join(map(content_hash, paths)) for name, paths in shards.items()}


def count_added(made: Mapping[str, Any], recipe: str, cleaned: Mapping[str, str]) -> int:
    """By how many shards the corpus has grown since a tokenizer was made; 0 if it changed in another way.

    `made`: the tokenizer's report. `recipe`, `cleaned`: as the report names them, of the corpus as it is now.
    """
    earlier = made.get("cleaned", {})
    if not earlier or made.get("recipe_hash") != recipe or not earlier.items() <= cleaned.items():
        return 0
    return len(cleaned) - len(earlier)
