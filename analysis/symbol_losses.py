"""What models lose when formulas are written another way, from benchmarks/symbol_losses.py's measurements.

Pure functions from that file's content to numbers and tables; `make symbol-losses` makes it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.effects import CONFIDENCE, Effect, differences, interval, variance_over_documents
from analysis.table_text import Table

PREFIX = "excess_"  # of the measures' names in claims.yaml; then comes a change of tokenizers/rewritings.py
KEY = "excess_bits_per_byte"  # in the entry of a run's seed
FOLDER = Path(__file__).resolve().parent / "measurements"


def read(scale: str) -> dict[str, Any] | None:
    """The measurements of a scale; None if there are none."""
    path = FOLDER / f"symbol_losses_{scale}.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def excess(content: Mapping[str, Any], change: str, run: str, against: str | None = None) -> Effect | None:
    """Excess bits per byte of a run, or how much more it is than that of another; None without a common seed.

    The mean of the domains, each the sum over its papers; the interval covers seeds and papers, as that of an
    effect does (analysis/effects.py); with one seed it covers papers alone.
    """
    measured = content["runs"]
    seeds = sorted(measured.get(run, {}).keys() & measured.get(against or run, {}).keys(), key=int)
    if not seeds:
        return None
    papers = pd.DataFrame.from_dict(content["papers"], orient="index")
    index = pd.MultiIndex.from_arrays([papers["domain"], papers.index], names=["domain", "document"])
    n_bytes = pd.Series(papers["bytes"].to_numpy(float), index)

    def nats(name: str, seed: str) -> pd.Series:
        by_paper = measured[name][seed][KEY][change]
        return pd.Series([by_paper[paper] for paper in papers.index], index) * n_bytes * math.log(2)

    tables = {
        int(seed): pd.DataFrame(
            {
                "nats_a": nats(against, seed) if against else 0.0 * n_bytes,
                "nats_b": nats(run, seed),
                "n_bytes": n_bytes,
            }
        ).sort_index()
        for seed in seeds
    }
    by_seed = {seed: float(differences(table)[0]) for seed, table in tables.items()}
    variance = variance_over_documents(list(tables.values()))
    return interval(by_seed, variance, len(papers), 0, "the interval covers papers and seeds")


def as_table(content: Mapping[str, Any], scale: str) -> Table:
    """A row for each run and change: its excess, and how much more than Run 20's."""
    changes = sorted({c for seeds in content["runs"].values() for one in seeds.values() for c in one[KEY]})
    rows = []
    for change in changes:
        for run in sorted(content["runs"], key=lambda run: (run != "run20", run)):
            own = excess(content, change, run)
            more = excess(content, change, run, "run20") if run != "run20" else None
            rows.append((change, run, str(len(content["runs"][run])), _cell(own), _cell(more)))
    header = ("formulas", "run", "seeds", "excess, bits per byte", "more than Run 20")
    n_bytes = sum(paper["bytes"] for paper in content["papers"].values())
    told = [
        f"{len(content['papers'])} validation papers, {n_bytes / 1000:,.0f} kB of paragraphs with formulas. "
        f"Excess: bits of the changed text less those of the text, for each byte of the text; brackets: "
        f"{CONFIDENCE:.0%} intervals over seeds and papers. analysis/tokenization/rewritings.py defines the "
        "changes."
    ]
    return Table("symbol_losses", f"Formulas written another way, {scale} scale", header, rows, told)


def _cell(found: Effect | None) -> str:
    if found is None:
        return "–"
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
