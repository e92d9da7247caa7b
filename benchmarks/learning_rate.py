"""Sweep the peak learning rate of Run 20 at a scale: `make lr-sweep SCALE=mini DATA=data/mini JOBS=2`.

In:  token shards of corpus main (`make preprocess SCALE=mini ...`).
Out: a row for each rate with its final bits per byte, on the console and in
     analysis/measurements/learning_rate_<scale>.json. The runs stay in $ARXIV_RUNS/lr-sweep/, so an
     interrupted sweep goes on.
The rate of configs/scales/<scale>.yaml is chosen by this sweep, with one seed, before any other run: all runs
but those that change the rate then share it.
"""

import argparse
from pathlib import Path

from analysis.effects import validation_curve
from analysis.readers.run_logs import read_runs
from benchmarks.measure import record
from configs.loader import CONFIGS, UserError, default_data_root, default_runs_root, run_main
from train.config import load_run
from train.study import train_all
from train.study_tasks import Prepared, Training

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the scale's rate


def main() -> None:
    """Train Run 20 with each rate, then write the table. Raises UserError if a run failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="mini", help="a file in configs/scales (default: mini)")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/<scale>)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    args = parser.parse_args()
    data: Path = args.data or default_data_root(args.scale)
    root = default_runs_root() / "lr-sweep"
    path = CONFIGS / "runs" / "run20.yaml"
    rates = [load_run(path, args.scale).recipe.lr * factor for factor in FACTORS]
    trainings = []
    for rate in rates:
        values = {"lr": rate}
        run = load_run(path, args.scale, overrides=values)
        folder = root / f"{rate:g}" / run.run_id
        trainings.append(Training(run, folder, data, [f"{key}={value!r}" for key, value in values.items()]))
    if failures := train_all(trainings, Prepared(), args.jobs):
        raise UserError("; ".join(f"{failure.run_id}: {failure.reason}" for failure in failures))

    logs = [read_runs([root / f"{rate:g}"], args.scale, ["run20"])[0] for rate in rates]
    rows = [
        {
            "lr": rate,
            "bits_per_byte": float(validation_curve(log)["bits_per_byte"].iloc[-1]),
            "loss_nats": float(log.train["loss_nats"].tail(len(log.train) // 20).mean()),
        }
        for rate, log in zip(rates, logs, strict=True)
    ]
    print("peak rate   validation bits per byte   training loss over the last 5 % (nats)")
    for row in rows:
        print(f"{row['lr']:9.2g}   {row['bits_per_byte']:24.4f}   {row['loss_nats']:.4f}")
    header = {key: logs[0].header[key] for key in ("data_fingerprint", "val_fingerprint", "params_total")}
    tokens = trainings[0].run.recipe.tokens_total
    written = record(
        f"learning_rate_{args.scale}", header | {"tokens": tokens, "seed": 0, "rates": rows}, ["torch"]
    )
    print(f"written: {written}")


if __name__ == "__main__":
    run_main(main)
