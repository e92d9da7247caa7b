"""How many tokens remain by which preprocessing: the study's corpora side by side.

    make study-corpora DATA=data/mini

In:  token shards of corpus main and of the corpora of Runs 01 to 05 and 22, made with the same tokenizer.
Out: a table on the console, and analysis/measurements/study_corpora.json, which analysis/claims.py judges.
`largest_share_lost` is the largest share of training tokens that one choice loses: a rule of corpus main
against the corpus without it (Runs 03, 04), or another choice against main (Runs 05, 22). Its interval
resamples papers. Runs 01 and 02 are shown but not counted: their additional tokens are comments and macros.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from analysis.power_law import interval
from analysis.study_corpora import as_table
from benchmarks.measure import record
from configs.script import UserError, default_data_root, run_main

CORPORA = ("main", "run01", "run02", "run03", "run04", "run05", "run22")
WITHOUT_A_RULE = ("run03", "run04")  # what main's rule loses is the share of their tokens that main lacks
OTHER_CHOICES = ("run05", "run22")  # what they lose is the share of main's tokens that they lack
N_RESAMPLES, SEED = 2000, 0

Papers = Mapping[str, tuple[int, int]]  # id -> (tokens, bytes)


def read_papers(folder: Path) -> dict[str, tuple[int, int]]:
    """Tokens and bytes of the training papers in a folder of token shards. Raises UserError."""
    if not (folder / "_DONE.json").is_file():
        raise UserError(f"{folder}: no finished token shards: `make study` makes them")
    papers: dict[str, tuple[int, int]] = {}
    for path in sorted((folder / "train").glob("*/*.idx.parquet")):
        for row in pq.read_table(path, columns=["id", "n_tokens", "n_bytes"]).to_pylist():
            papers[row["id"]] = (row["n_tokens"], row["n_bytes"])
    return papers


def shares_lost(corpora: Mapping[str, Papers], weights: Mapping[str, int] | None = None) -> dict[str, float]:
    """The share of tokens that each choice loses. `weights`: how often each paper counts (default: once)."""

    def tokens(name: str) -> int:
        return sum(
            n * (weights.get(paper, 0) if weights is not None else 1)
            for paper, (n, _) in corpora[name].items()
        )

    main = tokens("main")
    lost = {name: 1 - main / tokens(name) for name in WITHOUT_A_RULE}
    return lost | {name: 1 - tokens(name) / main for name in OTHER_CHOICES}


def report(corpora: Mapping[str, Papers]) -> dict[str, Any]:
    """What study_corpora.json holds."""
    ids = sorted(set().union(*corpora.values()))
    rng = np.random.default_rng(SEED)
    lost = shares_lost(corpora)
    drawn = []
    for _ in range(N_RESAMPLES):
        counts = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)))
        resampled = shares_lost(corpora, dict(zip(ids, counts.tolist(), strict=True)))
        drawn.append(max(resampled.values()))
    low, high = interval(drawn)
    return {
        "corpora": {
            name: {
                "papers": len(papers),
                "tokens": sum(tokens for tokens, _ in papers.values()),
                "bytes": sum(n_bytes for _, n_bytes in papers.values()),
            }
            for name, papers in corpora.items()
        },
        "shares_lost": lost,
        "largest_share_lost": {"value": max(lost.values()), "low": low, "high": high, "n": len(ids)},
    }


def main() -> None:
    """Print the table and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/mini)")
    args = parser.parse_args()
    data: Path = args.data or default_data_root("mini")
    found = report({name: read_papers(data / "tokens" / f"{name}-main") for name in CORPORA})
    print(as_table(found).markdown())
    print(f"written: {record('study_corpora', found)}")


if __name__ == "__main__":
    run_main(main)
