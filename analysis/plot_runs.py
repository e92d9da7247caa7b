"""Draw the paper's six figures from training logs.

    python analysis/plot_runs.py [--scale full|mini|demo] [--logs DIR …] [--out DIR] [--runs run20,run23]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; where both hold a run, the
first. Out: analysis/out/<scale>/fig1…fig6 as PNG and PDF. A figure whose run has no log is not drawn, and the
console says which command would make it. Exit code 2 if nothing could be drawn.

The paper leaves its sixth figure unnamed; here it shows the three runs together: training loss, learning
rate and throughput.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import style
from analysis.figures.training import RUNS, Logs, gradient_norm, together, training_loss, validation
from analysis.readers.run_logs import RunLog, choose_scale, find_runs, read_run
from configs.script import UserError, default_runs_root, run_main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINAL = "run20"


@dataclass(frozen=True)
class Spec:
    """A figure: its file name, the runs without which it is not drawn, and how it is drawn."""

    stem: str
    needs: tuple[str, ...]
    draw: "Callable[[Logs], Figure]"


def specs(runs: Sequence[str]) -> list[Spec]:
    """The figures that show `runs`: the paper's, then a training loss for each run that it does not show."""
    paper = [
        Spec(f"fig{number}_training_loss_{run}", (run,), partial(paper_run, run))
        for number, run in enumerate(RUNS, start=1)
    ]
    paper += [
        Spec(f"fig4_training_and_validation_{FINAL}", (FINAL,), partial(of_run, FINAL, validation)),
        Spec(f"fig5_gradient_norm_{FINAL}", (FINAL,), partial(of_run, FINAL, gradient_norm)),
        Spec("fig6_runs_together", (), together),
    ]
    others = [
        Spec(f"training_loss_{run}", (run,), partial(of_run, run, training_loss))
        for run in runs
        if run not in RUNS
    ]
    return [spec for spec in paper + others if set(spec.needs) <= set(runs)]


def paper_run(run: str, logs: Logs) -> "Figure":
    """The training loss of one of the paper's runs, on axes that hold them all."""
    return training_loss(logs[run], beside=[log for other in RUNS for log in logs.get(other, [])])


def of_run(run: str, draw_run: "Callable[[list[RunLog]], Figure]", logs: Logs) -> "Figure":
    """A figure about one of the runs."""
    return draw_run(logs[run])


def remedy(run: str, scale: str) -> str:
    """The command that makes a run's log."""
    if scale == "demo":
        return "make demo"
    return (
        f"torchrun --nproc_per_node 2 train/pretrain.py configs/runs/{run}.yaml --scale {scale} "
        f"(on Slurm: SCALE={scale} sbatch slurm/train_{run}.sh)"
    )


def main() -> int:
    """Draw what there are logs for. Returns 0 if that is at least one figure."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--scale", help="full, mini or demo (default: the only one with logs)")
    parser.add_argument("--logs", type=Path, nargs="+", help="roots of logs (default: $ARXIV_RUNS and logs/)")
    parser.add_argument("--out", type=Path, help="folder of the figures (default: analysis/out/<scale>)")
    parser.add_argument("--runs", default=",".join(RUNS), help=f"default: {','.join(RUNS)}")
    args = parser.parse_args()

    roots = args.logs or [default_runs_root(), Path("logs")]
    found = find_runs(roots)
    scale = choose_scale(sorted({run.scale for run in found}), args.scale, roots)
    out = args.out or Path("analysis/out") / scale
    runs = args.runs.split(",")

    logs: Logs = {}
    for run, files in found.items():
        if run.scale == scale and run.run in runs:
            log = read_run(run, files)
            for note in log.notes:
                print(f"note: {note}")
            if log.train["loss_nats"].notna().any():
                print(f"{run}: {len(log.train):,} training rows, {log.train['step'].max():,} steps")
                logs.setdefault(run.run, []).append(log)
    for run in runs:
        if run not in logs:
            print(
                f"{run} is not drawn: no training rows of it at scale {scale} under "
                f"{' or '.join(map(str, roots))}. Make them: {remedy(run, scale)}"
            )
    if not logs:
        others = sorted({run.scale for run in found} - {scale})
        there = f"; there are logs at scale {' and '.join(others)}" if others else ""
        raise UserError(
            f"no figure could be drawn: no logs of {args.runs} at scale {scale}, see above{there}"
        )

    written: list[Path] = []
    for spec in specs([run for run in runs if run in logs]):
        written += style.save(spec.draw({run: logs[run] for run in runs if run in logs}), out / spec.stem)
    print(f"{len(written)} files written:", *written, sep="\n  ")
    return 0


if __name__ == "__main__":
    run_main(main)
