"""What each rule of cleaning, filtering and deduplication costs and gains when it alone is switched off.

    make yield-study SCALE=demo SEEDS="0 1 2" [DRY_RUN=1] [VALUES="tokens_total=153600"]

In:  what train/study.py made of Run 20, Run 02 and the runs off_*: corpora in --data, logs in --runs-root.
Out: a table; analysis/measurements/marginal_yield.json. Documents, bytes and tokens are those of the finished
     corpus, validation papers included, less those of `main`; bits per byte are measured on the validation
     papers of `main`, with an interval that pairs the runs by seed and document (analysis/effects.py).
"""

from pathlib import Path
from typing import Any

from analysis.yield_tables import marginal_table
from benchmarks.corpus_runs import bits_per_byte, kept, logs_by_run, run_tokens, study_arguments, totals
from benchmarks.measure import record
from configs.loader import CONFIGS, read_yaml, run_main

BASE = "run20"
RUNS = ["run02", *sorted(path.stem for path in (CONFIGS / "runs").glob("off_*.yaml"))]


def measure(data: Path, runs_root: Path, scale: str) -> dict[str, Any]:
    """The figures. Raises UserError if a corpus is not finished; runs may be missing."""
    logs = logs_by_run(runs_root, scale, [BASE, *RUNS])
    base, documents = totals(data, "main"), kept(data, "main")
    rules = {}
    for run in RUNS:
        about = read_yaml(CONFIGS / "runs" / f"{run}.yaml")
        corpus = about["corpus"]
        without, there = totals(data, corpus), kept(data, corpus)
        changes = {name: without[name] - base[name] for name in base}
        changes |= {"documents_gained": len(there - documents), "documents_lost": len(documents - there)}
        rules[run] = {"title": about["title"], **changes}
        if any(changes.values()):  # else the run would be that of main again
            rules[run] |= bits_per_byte(run, BASE, logs)
    main = base | bits_per_byte(BASE, BASE, logs)
    return {"scale": scale, "run_tokens": run_tokens(logs), "main": main, "rules": rules}


def main() -> None:
    """Measure, print, record."""
    args = study_arguments(__doc__)
    figures = measure(args.data, args.runs_root, args.scale)
    print(marginal_table(figures).markdown())
    print(record("marginal_yield", figures))


if __name__ == "__main__":
    run_main(main)
