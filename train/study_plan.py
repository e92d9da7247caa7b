"""The plan of a study, printed before it starts: corpora, tokenizers, runs, hours and disk space."""

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from configs.loader import CONFIGS, format_bytes, parse_overrides
from train.config import Run, load_run
from train.planning.disk import checkpoint_bytes
from train.planning.hours import CPU_FLOP_PER_S, training_hours


def run_parser(doc: str | None, default_runs: str) -> argparse.ArgumentParser:
    """The parser of a script that takes several runs: --scale, --runs, --seeds, --dry-run, key=value.

    `doc`: the script's docstring. `default_runs`: which runs an empty --runs stands for, in words.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="full", help="a file in configs/scales (default: full)")
    parser.add_argument(
        "--runs", default="", help=f'names, for instance "run20 run08" (default: {default_runs})'
    )
    parser.add_argument("--seeds", default="0", help='for instance "0 1 2" (default: 0)')
    parser.add_argument("--dry-run", action="store_true", help="print the plan and exit")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe values of all runs")
    return parser  # call parse_intermixed_args, which allows overrides between options


def chosen_runs(arguments: argparse.Namespace, default: Sequence[str]) -> list[Run]:
    """The runs of a command line of `run_parser`, all runs of one seed after the other. Raises UserError."""
    overrides = parse_overrides(arguments.overrides)
    return [
        load_run(CONFIGS / "runs" / f"{name}.yaml", arguments.scale, seed, overrides)
        for seed in map(int, arguments.seeds.split())
        for name in arguments.runs.split() or default
    ]


def is_published(run: Run) -> bool:
    """Whether logs/ holds the log of this run, trained with the same configuration."""
    path = CONFIGS.parent / "logs" / f"{run.run_id}.jsonl.gz"
    if not path.is_file():
        return False
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return bool(json.loads(next(lines))["config_sha256"] == run.sha256())


def needed_tokens(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """(corpus, tokenizer) of each set of token shards that the runs read, in the order to make them.

    `main` comes first, because other corpora take over its validation papers.
    """
    pairs = {("main", "main"): None}
    for run in runs:
        for corpus in (run.recipe.validation_corpus, run.recipe.corpus):
            pairs[corpus, run.recipe.tokenizer] = None
    return sorted(pairs, key=lambda pair: (pair[0] != "main", pair[1] != "main", pair))


def print_plan(runs: Sequence[Run], data: Path, root: Path, jobs: int) -> None:
    """Print the plan of a study that trains `jobs` runs at a time."""
    pairs = needed_tokens(runs)
    missing = [pair for pair in pairs if not (data / "tokens" / "-".join(pair) / "_DONE.json").is_file()]
    left = [run for run in runs if not (root / run.run_id / "DONE").is_file()]
    print(f"{len(runs)} runs at scale {runs[0].scale}, {len(runs) - len(left)} finished, {jobs} at a time")
    print(f"  corpora     {', '.join(dict.fromkeys(corpus for corpus, _ in pairs))}")
    print(f"  tokenizers  {', '.join(dict.fromkeys(tokenizer for _, tokenizer in pairs))}")
    print(f"  token sets  {len(pairs)}, of which {len(missing)} are missing ({data / 'tokens'})")
    hours = sum(_hours_left(run, root) for run in left) / max(1, min(jobs, len(left)))
    basis = "measured" if _measured(runs[0], root) else "estimated from FLOPs"
    print(f"  training    {sum(r.recipe.tokens_total for r in left):,} tokens, about {hours:.1f} h ({basis})")
    size = sum(checkpoint_bytes(run) for run in left)
    print(f"  disk        {format_bytes(size)} of checkpoints ({root})")
    for run in runs:
        state = "finished" if run not in left else "to do"
        print(f"  {run.run_id:<28} {state:<9} {run.steps_total:>8,} steps  {run.recipe.title}")


def _hours_left(run: Run, root: Path) -> float:
    """Hours of a whole run in one process, at the speed of earlier runs of its scale if there are any."""
    if speed := _measured(run, root):
        return run.recipe.tokens_total / speed / 3600
    return training_hours(run, CPU_FLOP_PER_S)


def _measured(run: Run, root: Path) -> float:
    """Median tokens/s in the logs of one-process runs at this scale; 0 if there are none."""
    speeds = []
    for log in (root / run.scale).glob("*/seed*/log.*.jsonl"):
        with log.open() as lines:
            header = json.loads(next(lines, "{}"))
            if header.get("world_size") != 1:
                continue
            rows = [json.loads(line) for line in lines if '"kind": "perf"' in line and line.endswith("\n")]
        speeds += [row["tokens_per_s"] for row in rows]
    return median(speeds) if speeds else 0.0
