"""What a study leaves behind for each corpus: documents, bytes, tokens, and bits per byte of the models."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from analysis.effects import effect, validation_curve
from analysis.readers.groups import read_groups
from analysis.readers.ledgers import read_rows, stage_folders
from analysis.readers.run_logs import RunLog, find_runs, read_run
from configs.loader import UserError, default_data_root, default_runs_root

DUPLICATES = ("exact_duplicate", "near_duplicate", "contained")


def study_arguments(doc: str | None) -> argparse.Namespace:
    """The command line of a benchmark of a finished study: scale, data (the root), runs_root.

    `doc`: the benchmark's docstring, shown by --help.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="demo", help="of the study (default: demo)")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/<scale>)")
    parser.add_argument("--runs-root", type=Path, default=default_runs_root(), help="root of run folders")
    arguments = parser.parse_args()
    arguments.data = arguments.data or default_data_root(arguments.scale)
    return arguments


def totals(data: Path, corpus: str) -> dict[str, int]:
    """Documents, bytes and tokens of a finished corpus. Raises UserError if it is not finished."""
    domains = read_groups(data, corpus, "main").get("domain", {}).values()
    found = {
        "documents": sum(group.documents for group in domains),
        "bytes": sum(group.n_bytes for group in domains),
        "tokens": sum(group.n_tokens for group in domains),
    }
    if not all(found.values()):
        raise UserError(f"{data}: corpus {corpus} has no finished token shards; run the study first")
    return found


def kept(data: Path, corpus: str, stage: str = "split_corpus") -> set[str]:
    """Ids of the documents that a stage kept."""
    folder = stage_folders(data, corpus)[stage]
    rows = (row for path in folder.glob("*.parquet") for row in read_rows(path, ["id", "outcome"]))
    return {row["id"] for row in rows if row["outcome"] == "kept"}


def duplicates(data: Path) -> set[str]:
    """Ids of the documents that the corpus `main` drops as duplicates."""
    folder = stage_folders(data, "main")["deduplicate"]
    rows = (row for path in folder.glob("*.parquet") for row in read_rows(path, ["id", "reason"]))
    return {row["id"] for row in rows if row["reason"] in DUPLICATES}


def logs_by_run(root: Path, scale: str, runs: Sequence[str]) -> dict[str, dict[int, RunLog]]:
    """The logs of each run that has finished, by seed."""
    found: dict[str, dict[int, RunLog]] = {}
    for run, files in find_runs([root], scale).items():
        if run.run in runs and (root / str(run) / "DONE").is_file():
            found.setdefault(run.run, {})[run.seed] = read_run(run, files)
    return found


def run_tokens(logs: Mapping[str, Mapping[int, RunLog]]) -> int:
    """Tokens that each run of a study has trained on, 0 where there is none."""
    return max(
        (int(log.train["tokens_seen"].max()) for of in logs.values() for log in of.values()), default=0
    )


def bits_per_byte(run: str, base: str, logs: Mapping[str, Mapping[int, RunLog]]) -> dict[str, Any]:
    """Mean over seeds at the end of a run, and what it changes against `base`, with its interval."""
    if run not in logs or not logs[run].keys() & logs.get(base, {}).keys():
        return {}
    last = [float(validation_curve(log)["bits_per_byte"].iloc[-1]) for log in logs[run].values()]
    result: dict[str, Any] = {"bits_per_byte": round(mean(last), 4), "seeds": len(last)}
    if run != base:
        found = effect(logs[base], logs[run])
        result |= {key: round(getattr(found, key), 4) for key in ("mean", "low", "high")}
    return result
