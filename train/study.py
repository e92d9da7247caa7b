"""Make every corpus, tokenizer and run of a study that does not exist yet.

    python train/study.py --scale mini --runs "run20 run08" --seeds "0 1 2" --jobs 2 [--dry-run]

In:  run files in configs/runs (default: run01 ... run24; --ladder: the scaling ladder), and what
     `make preprocess` reads.
Out: token shards in --data, and a folder for each run in --out-root, as train/pretrain.py writes it, with the
     output of every start in study.out.
The script prints its plan first. It makes each corpus and tokenizer once, skips finished runs and resumes
unfinished ones from their newest checkpoint, so after any interruption the same command makes what is
missing. A run that fails does not stop the others; the script then exits with code 2 and the reason of each
failure. Runs train side by side, each in one process on one core.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import (
    CONFIGS,
    EXIT_REQUEUE,
    UserError,
    default_data_root,
    default_runs_root,
    run_main,
)
from configs.lock import FileLock
from train.study_plan import chosen_runs, is_published, print_plan, run_parser
from train.study_tasks import Failure, Prepared, Training, prepare_tokens

REFRESH_S = 1.0  # how often the table on a terminal is redrawn
LINE_EVERY_S = 30.0  # how often a plain line is printed where standard output is no terminal


def main() -> int:
    """Plan, prepare tokens, train; return the exit code. Raises UserError if runs are not finished."""
    arguments = parse_arguments()
    runs = chosen_runs(arguments, default_runs(arguments.ladder))
    if arguments.list:
        print(*(f"{run.name} {run.seed}" for run in runs), sep="\n")
        return 0
    data: Path = arguments.data or default_data_root(arguments.scale)
    root: Path = arguments.out_root or default_runs_root()
    if arguments.published:
        published = [run for run in runs if is_published(run)]
        print(f"{len(published)} of {len(runs)} runs are published under logs/ and count as finished")
        runs = [run for run in runs if run not in published]
        if not runs:
            return 0
    print_plan(runs, data, root, arguments.jobs)
    if arguments.dry_run:
        return 0
    with FileLock(root / f".study.{arguments.scale}.lock", "runs a study here: wait for its end, or stop it"):
        prepared = Prepared()
        if not arguments.no_preprocess:
            prepared = prepare_tokens(runs, data, arguments.scale, arguments.workers)
        trainings = [Training(run, root / run.run_id, data, arguments.overrides) for run in runs]
        failures = train_all(trainings, prepared, arguments.jobs)
    if failures:
        reasons = "\n".join(f"  {failure.run_id}: {failure.reason}" for failure in failures)
        raise UserError(
            f"{len(failures)} of {len(runs)} runs are not finished; the same command tries them again:\n"
            f"{reasons}"
        )
    print(f"{len(runs)} of {len(runs)} runs are finished ({root / arguments.scale})")
    return 0


def default_runs(ladder: bool) -> list[str]:
    """Names of the 24 runs, or of the scaling ladder, which includes Runs 20 and 21."""
    if ladder:
        return ["run20", "run21", *sorted(path.stem for path in (CONFIGS / "runs").glob("ladder_*.yaml"))]
    return sorted(path.stem for path in (CONFIGS / "runs").glob("run*.yaml"))


def train_all(trainings: Sequence[Training], prepared: Prepared, jobs: int) -> list[Failure]:
    """Train the runs that are not finished, `jobs` at a time; return those that still are not."""
    failures = []
    for training in trainings:
        if reason := training.why_outdated() or prepared.why_not(training.run):
            failures.append(Failure(training.run.run_id, reason))
            training.failed = True
    waiting = [t for t in trainings if not t.failed and not t.is_done()]
    running: list[Training] = []
    table = Table(trainings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_REQUEUE))
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                running[-1].start()
            time.sleep(REFRESH_S)
            for training in [t for t in running if t.ended()]:
                running.remove(training)
                if reason := training.why_unfinished():
                    failures.append(Failure(training.run.run_id, reason))
                    training.failed = True
            table.show()
    except (KeyboardInterrupt, SystemExit):
        for training in running:
            training.stop()
        for training in running:
            training.wait()
        print(
            f"\nstopped; {len(running)} runs saved a checkpoint. The same command resumes them.",
            file=sys.stderr,
        )
        sys.exit(EXIT_REQUEUE)
    table.show(last=True)
    return failures


class Table:
    """The state of all runs: a table redrawn in place on a terminal, else a line every LINE_EVERY_S."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = trainings
        self._drawn_lines = 0
        self._last_line_s = float("-inf")

    def show(self, last: bool = False) -> None:
        """Print the state if it is due; `last` prints the full table."""
        rows = [training.describe() for training in self.trainings]
        if sys.stdout.isatty():
            print(f"\x1b[{self._drawn_lines}A" * bool(self._drawn_lines), end="")
            print(*(f"\x1b[2K{row}" for row in rows), sep="\n", flush=True)
            self._drawn_lines = len(rows)
        elif last:
            print(*rows, sep="\n", flush=True)
        elif time.monotonic() - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            done = sum(training.is_done() for training in self.trainings)
            active = "; ".join(t.describe() for t in self.trainings if t.is_running())
            print(f"{done} of {len(rows)} runs finished; {active}", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = run_parser(__doc__, "the 24 runs")
    parser.add_argument("--ladder", action="store_true", help="train the scaling ladder, not the 24 runs")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="runs at a time (default: all cores)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes of preprocessing")
    parser.add_argument(
        "--data", type=Path, help="data root (default: $ARXIV_DATA, else data or data/<scale>)"
    )
    parser.add_argument("--out-root", type=Path, help="root of run folders (default: $ARXIV_RUNS, else runs)")
    parser.add_argument("--no-preprocess", action="store_true", help="use the token shards that exist")
    parser.add_argument(
        "--published",
        action="store_true",
        help="leave out the runs whose log is published under logs/ with the same configuration",
    )
    parser.add_argument("--list", action="store_true", help="print a line `run seed` for each run and exit")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    run_main(main)
