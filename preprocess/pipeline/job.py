"""Command line and configuration of a stage: which corpus, in which folder, which share of its shards.

The recipe of the corpus `main` is configs/corpus.yaml, with the keys that the scale sets; a variant in
configs/corpora/ changes some of them. As long as the recipes of a stage and of all stages before it are those
of the base variant, the variant uses the base's files and the stage does not run again.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.loader import (
    CONFIGS,
    Config,
    ConfigT,
    UserError,
    default_data_root,
    merge,
    parse_overrides,
    read_yaml,
    validate,
)
from configs.lock import FileLock
from configs.stages import CORPUS_STAGES, parts_after, stage_before
from preprocess.pipeline.process import prepare_process


@dataclass(frozen=True)
class Job:
    """One call of a stage's script, from its command line."""

    stage: str
    data: Path  # data root
    variant: str
    scale: str
    src: Path  # folder of the tars and their manifest
    metadata: Path  # metadata snapshot
    shard: tuple[int, int]  # (i, n): every n-th shard from the i-th on
    workers: int  # processes
    recipes: tuple[
        tuple[str, dict[str, Any]], ...
    ]  # (variant, merged corpus recipe), from it to its last base
    overrides: dict[str, Any]

    def folder(self, kind: str, stage: str) -> Path:
        """`$DATA/<kind>/<variant>/<stage>`, of the base variant if the recipes up to `stage` are equal."""
        upto = CORPUS_STAGES[: CORPUS_STAGES.index(stage) + 1]
        home, recipe = self.recipes[0]
        for base, base_recipe in self.recipes[1:]:
            if any(recipe.get(name) != base_recipe.get(name) for name in upto):
                break
            home = base
        return self.data / kind / home / stage

    def corpus(self, stage: str) -> Path:
        """Folder of a stage's document shards."""
        return self.folder("corpus", stage)

    def bases(self) -> Iterator["Job"]:
        """The same call for each variant that this one is based on, the direct base first and `main` last."""
        for i, (name, _) in enumerate(self.recipes[1:], 1):
            yield replace(self, variant=name, recipes=self.recipes[i:])

    def documents(self) -> tuple[Path, ...]:
        """Folders of the shards that together hold the documents that this stage reads: see `parts_after`."""
        return tuple(map(self.corpus, parts_after(stage_before(self.stage))))

    def ledger(self, stage: str) -> Path:
        """Folder of a stage's ledger shards."""
        return self.folder("ledger", stage)

    def lock(self, *parts: str) -> FileLock:
        """Lock the files that this call writes. Raises UserError if another process holds the lock.

        `parts`: what else distinguishes two calls of the stage, such as the name of a tokenizer. Tasks of an
        array take different shares, so each of them has a lock of its own.
        """
        corpus = self.ledger(self.stage).parent.name if self.stage in CORPUS_STAGES else self.variant
        share = () if self.shard[1] == 1 else (f"{self.shard[0]}of{self.shard[1]}",)
        return FileLock(
            self.data / ".locks" / "-".join((self.stage, corpus, *parts, *share)),
            f"runs {self.stage} of corpus {corpus!r} here: wait for its end, or stop it",
        )

    def config(self, model: type[ConfigT]) -> ConfigT:
        """This stage's section of the recipe, overridden by `key=value` arguments. Raises UserError."""
        section = merge(self.recipes[0][1].get(self.stage, {}), self.overrides)
        return validate(model, section, f"{self.stage} in the recipe of corpus {self.variant!r}")


def arguments(
    doc: str, stage: str, config: type[Config], parents: Sequence[argparse.ArgumentParser] = ()
) -> argparse.ArgumentParser:
    """The parser of the options that all stages share, and of those of `parents`.

    `doc`: the script's docstring, shown by --help.
    """
    keys = "\n".join(f"  {name}={field.default}" for name, field in config.model_fields.items())
    parser = argparse.ArgumentParser(
        prog=f"preprocess/{stage}.py",
        description=doc,
        epilog=f"keys of {stage} and their defaults:\n{keys}" if keys else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=list(parents),
    )
    parser.add_argument("--config", type=Path, default=CONFIGS / "corpus.yaml", help="recipe of corpus main")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/SCALE)")
    parser.add_argument("--variant", default="main", help="a recipe in configs/corpora/ (default: main)")
    parser.add_argument("--scale", default="full", help="full, mini or demo: sets data root and vocabulary")
    parser.add_argument("--src", type=Path, help="folder of tars and manifest (default: DATA/raw/src)")
    parser.add_argument("--metadata", type=Path, help="metadata snapshot (default: DATA/raw/metadata.json)")
    parser.add_argument("--shard", default=_slurm_shard(), help="i/n: take every n-th shard from the i-th on")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides a key of this stage")
    return parser


def parse(parser: argparse.ArgumentParser, stage: str) -> Job:
    """The `Job` that the command line describes. Raises UserError if an argument or a recipe is invalid."""
    args = parser.parse_args()
    prepare_process()
    data = args.data or default_data_root(args.scale)
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: at least 1")
    return Job(
        stage=stage,
        data=data,
        variant=args.variant,
        scale=args.scale,
        src=args.src or data / "raw" / "src",
        metadata=args.metadata or data / "raw" / "metadata.json",
        shard=_parse_shard(args.shard),
        workers=args.workers,
        recipes=tuple(_recipes(args.config, args.scale, args.variant)),
        overrides=parse_overrides(args.overrides),
    )


def _slurm_shard() -> str:
    """The default of `--shard`: this task's share of a Slurm array, which may start at any number."""
    if "SLURM_ARRAY_TASK_ID" not in os.environ:
        return "0/1"
    first = int(os.environ.get("SLURM_ARRAY_TASK_MIN", "0"))
    return f"{int(os.environ['SLURM_ARRAY_TASK_ID']) - first}/{os.environ['SLURM_ARRAY_TASK_COUNT']}"


def _parse_shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise UserError(f"--shard {text!r}: expected i/n with 0 <= i < n, for instance 0/4")
    return int(index), int(count)


def _recipes(main: Path, scale: str, variant: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, merged recipe) of `variant`, then of each variant that it is based on, `main` last."""
    chain: list[tuple[str, dict[str, Any]]] = []
    name, path = variant, main
    while name != "main":
        path = CONFIGS / "corpora" / f"{name}.yaml"
        if name in (seen for seen, _ in chain):
            raise UserError(f"{path}: its bases form a circle")
        values = read_yaml(path)
        base = values.pop("base", "main")
        values.pop("description", None)
        chain.append((name, values))
        name = base
    recipe = merge(read_yaml(main), read_yaml(CONFIGS / "scales" / f"{scale}.yaml").get("corpus", {}))
    merged = [("main", recipe)]
    for name, values in reversed(chain):
        recipe = merge(recipe, values)
        merged.append((name, recipe))
    for name, recipe in merged:
        unknown = sorted(set(recipe) - set(CORPUS_STAGES))
        if unknown:
            raise UserError(
                f"recipe of corpus {name!r}: no stage is called {unknown[0]!r}; the stages are: "
                f"{', '.join(CORPUS_STAGES)}"
            )
    return reversed(merged)
