"""Draw the paper's figures from training logs.

    python analysis/plot_runs.py [--scale full|mini|demo] [--logs DIR …] [--out DIR] [--runs run20,run08]
        [--half-life TOKENS] [--style paper|talk|dark]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; where both hold a run, the
first. Out: analysis/out/<scale>/, each figure as PNG and PDF with a JSON file that says which logs it shows:

    fig1 … fig3  training loss of Runs 24, 23 and 20
    fig4         training and validation loss of Run 20, by domain
    fig5         its gradient norm
    fig6         validation loss over tokens and over sizes of the data, with the law fitted to the ladder
    fig7         losses, learning rate and throughput of the three runs

`--runs` draws other runs: the training loss of each, and all of them overlaid. The paper does not name its
sixth figure; 6 and 7 are this project's choice. A figure whose run has no log is not drawn, and the console
says which command would make it. `--logs` also takes folders with logs of other trainers (TensorBoard event
files, trainer_state.json, nanoGPT-style JSON lines): each folder is a run. numpy, pandas and matplotlib are
all that is needed. Exit code 2 if nothing could be drawn.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import sidecar, style, words
from analysis.figures.curves import overall_validation
from analysis.figures.one_run import gradient_norm, training_loss
from analysis.figures.scaling import LADDER, scaling
from analysis.figures.several_runs import overlay, overview
from analysis.figures.validation import validation
from analysis.figures.words import RUNS, Logs
from analysis.readers import other_logs
from analysis.readers.run_logs import (
    Run,
    choose_scale,
    find_runs,
    log_roots,
    needed_by_figures,
    read_run,
    script_arguments,
)
from analysis.table_text import print_written
from configs.script import UserError, run_main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FINAL = "run20"
STYLES = ("paper", "talk", "dark")


@dataclass(frozen=True)
class Spec:
    """A figure: its file name, the runs that it shows, and how it is drawn from their logs.

    `beside`: runs in the figures next to it, which have the same axes.
    """

    stem: str
    runs: tuple[str, ...]
    draw: "Callable[[Logs], Figure]"
    beside: tuple[str, ...] = ()


def specs(asked: Sequence[str], logs: Logs, half_life: float | None) -> list[Spec]:
    """The figures of the runs asked for, as far as there are logs; those of the ladder may be there, too."""
    runs = [run for run in asked if run in logs]
    paper = [run for run in RUNS if run in runs]
    found = [
        Spec(f"fig{number}_training_loss_{run}", (run,), partial(_paper_run, run, half_life), tuple(paper))
        for number, run in enumerate(RUNS, start=1)
        if run in runs
    ]
    if FINAL in runs:
        found += [
            Spec(f"fig4_training_and_validation_{FINAL}", (FINAL,), partial(_one, validation, half_life)),
            Spec(f"fig5_gradient_norm_{FINAL}", (FINAL,), partial(_one, gradient_norm, half_life)),
        ]
    if paper:
        ladder = (run for run in LADDER if run in logs and run not in paper)
        validated = tuple(
            run for run in (*paper, *ladder) if all(len(overall_validation(log.val)) for log in logs[run])
        )
        found += [Spec("fig6_validation_and_data", validated, scaling)] if validated else []
        found.append(Spec("fig7_runs_together", tuple(paper), partial(overview, half_life=half_life)))
    found += [
        Spec(f"training_loss_{run}", (run,), partial(_one, training_loss, half_life))
        for run in runs
        if run not in RUNS
    ]
    if len(runs) > 1 and set(runs) != set(paper):
        found.append(
            Spec(f"overlay_{'_'.join(runs)}"[:120], tuple(runs), partial(overlay, half_life=half_life))
        )
    return found


def _paper_run(run: str, half_life: float | None, logs: Logs) -> "Figure":
    """The training loss of one of the paper's runs, on axes that hold them all."""
    beside = [log for seeds in logs.values() for log in seeds]
    return training_loss(logs[run], beside, half_life)


def _one(draw_run: "Callable[..., Figure]", half_life: float | None, logs: Logs) -> "Figure":
    """A figure about one run."""
    (seeds,) = logs.values()
    return draw_run(seeds, half_life=half_life)


def remedy(run: str, scale: str) -> str:
    """The command that makes a run's log."""
    if scale == other_logs.SCALE:
        return "these are logs of another trainer"
    if scale == "demo":
        return "make demo"
    return (
        f"torchrun --nproc_per_node 2 train/pretrain.py configs/runs/{run}.yaml --scale {scale} "
        f"(on Slurm: SCALE={scale} sbatch slurm/train_{run}.sh)"
    )


def read_logs(found: dict[Run, list[Path]], scale: str, runs: Sequence[str]) -> Logs:
    """The logs of some runs with training rows; what the reader noticed is printed."""
    logs: Logs = {}
    for run, files in found.items():
        if run.scale == scale and run.run in runs:
            other = scale == other_logs.SCALE
            log = other_logs.read_other_run(run, files) if other else read_run(run, files, needed_by_figures)
            for note in log.notes:
                print(f"note: {note}")
            if log.train["loss_nats"].notna().any():
                print(f"{run}: {len(log.train):,} training rows, {log.train['step'].max():,} steps")
                logs.setdefault(run.run, []).append(log)
    return {run: logs[run] for run in runs if run in logs}


def main() -> int:
    """Draw what there are logs for. Returns 0 if that is at least one figure."""
    parser = script_arguments(__doc__, "figures")
    parser.add_argument("--runs", help=f"default: {','.join(RUNS)}; all runs of another trainer")
    parser.add_argument(
        "--half-life", type=float, metavar="TOKENS", help="of the smoothing (default: 0.5 %% of the run)"
    )
    parser.add_argument("--style", choices=STYLES, default="paper", help="default: paper")
    args = parser.parse_args()
    if args.half_life is not None and not 0 < args.half_life < float("inf"):
        raise UserError(f"--half-life {args.half_life}: a positive number of tokens is expected")

    roots = log_roots(args.logs)
    found = find_runs(roots)
    if args.logs:
        found |= other_logs.find_other_logs(args.logs)
    scale = choose_scale(sorted({run.scale for run in found}), args.scale, roots)
    out = args.out or Path("analysis/out") / scale
    there = [run.run for run in found if run.scale == scale]
    default = there if scale == other_logs.SCALE else list(RUNS)
    runs = list(dict.fromkeys(args.runs.split(",") if args.runs else default))
    logs = read_logs(found, scale, [*runs, *(rung for rung in LADDER if rung not in (*runs, FINAL))])
    for run in runs:
        if run not in logs:
            print(
                f"{run} is not drawn: no training rows of it at scale {scale} under "
                f"{' or '.join(map(str, roots))}. Make them: {remedy(run, scale)}"
            )
    if not set(runs) & set(logs):
        others = sorted({run.scale for run in found} - {scale})
        elsewhere = f"; there are logs at scale {' and '.join(others)}" if others else ""
        raise UserError(
            f"no figure could be drawn: no logs of {', '.join(runs)} at scale {scale}, see above{elsewhere}"
        )
    for run, seeds in logs.items():
        if warning := words.other_validation(seeds):
            print(f"{run}: {warning}")

    style.use(args.style)
    written: list[Path] = []
    for spec in specs(runs, logs, args.half_life):
        figure = spec.draw({run: logs[run] for run in dict.fromkeys((*spec.runs, *spec.beside))})
        written += style.save(figure, out / spec.stem)
        seeds = [log for run in spec.runs for log in logs[run]]
        written.append(sidecar.write(out / spec.stem, figure, seeds, found))
    print_written(written)
    return 0


if __name__ == "__main__":
    run_main(main)
