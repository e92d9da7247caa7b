"""Compare the predictions of preprocess/budget.py with what the stages then take, on the real papers.

    python -m benchmarks.budget

In: $ARXIV_REAL. Out: analysis/measurements/budget.json: CPU seconds, bytes and files of each stage, predicted
from a sample of tars and measured on all of them.
"""

import os
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import record
from configs.loader import UserError, run_main
from preprocess.budget import measure, predict, spread
from preprocess.fetch.choice import in_time
from preprocess.validate_archives import find_archives

SAMPLE = 6  # tars, the default of budget.py


def main() -> None:
    """Predict from the samples, then measure the whole."""
    if "ARXIV_REAL" not in os.environ:
        raise UserError("set ARXIV_REAL to the folder of the real papers")
    real = Path(os.environ["ARXIV_REAL"])
    src, metadata = real / "src", real / "arxiv-metadata-oai-snapshot.json"
    tars, manifest = find_archives(src)
    entries = in_time([manifest[path.name] for path in tars])
    large = spread(entries, SAMPLE)
    small = spread(large, SAMPLE // 3)
    one, two = (measure(src, metadata, [entry.name for entry in some], "full") for some in (small, large))
    n_bytes = sum(entry.size for entry in entries)
    predicted = predict((one, two), len(entries), n_bytes, metadata.stat().st_size)
    whole = measure(src, metadata, [entry.name for entry in entries], "full")
    totals = {}
    for key in ("cpu_s", "n_bytes", "n_files"):
        sums = [sum(getattr(cost, key) for cost in costs.values()) for costs in (predicted, whole.costs)]
        totals[key] = {"predicted": sums[0], "measured": sums[1], "ratio": sums[0] / sums[1]}
        print(f"{key}: predicted {sums[0]:,.1f}, measured {sums[1]:,.1f}: {sums[0] / sums[1]:.2f}")
    of_papers = [
        sum(cost.cpu_s for name, cost in costs.items() if name != "train_tokenizer")
        for costs in (predicted, whole.costs)
    ]
    totals["cpu_s without train_tokenizer"] = dict(
        zip(("predicted", "measured", "ratio"), (*of_papers, of_papers[0] / of_papers[1]), strict=True)
    )
    print(f"CPU seconds without train_tokenizer: ratio {of_papers[0] / of_papers[1]:.2f}")
    stages = {
        name: {"predicted": asdict(predicted[name]), "measured": asdict(whole.costs[name])}
        for name in predicted
    }
    sampled = sum(entry.size for entry in large) / n_bytes
    figures = {"share_sampled": sampled, "tars": len(entries), "totals": totals, "stages": stages}
    print(record("budget", figures), file=sys.stderr)


if __name__ == "__main__":
    run_main(main)
