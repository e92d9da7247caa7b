"""Runs of two processes exit cleanly: part three of `make prove-resume`.

    python -m benchmarks.prove_clean_exit --runs 50 --strategy zero1

Each run trains three steps and exits as every run does. It passes if each process has written its marker
after all its work, and the exit code of the launcher is 0. (With torch 2.13 and DeepSpeed, destroying the
process group aborts in one run of seven, and the launcher then reports a failed run.)
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.training import torchrun

WORKER = "benchmarks.prove_clean_exit"


def exits_cleanly(folder: Path, strategy: str) -> bool:
    """Start one run of two processes; return whether it exited as it should."""
    done = torchrun(["-m", WORKER, "--worker", str(folder), "--strategy", strategy], timeout=1800)
    markers = sorted(path.name for path in folder.glob("rank_*"))
    if done.returncode or markers != ["rank_0", "rank_1"]:
        print(f"exit code {done.returncode}, markers {markers}\n{done.stderr[-2000:]}", file=sys.stderr)
        return False
    return True


def work(folder: Path, strategy: str) -> int:
    """One process of a run: train three steps, then write the marker."""
    from configs.loader import CONFIGS
    from tests.support.parallel_worker import MICRO, SEQUENCES, Case, random_tokens
    from train.config import load_run
    from train.parallel.world import start_world

    world = start_world()
    values = {"strategy": strategy, "micro_batch_size": MICRO, "global_batch_size": SEQUENCES}
    case = Case(world, load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=values), adamw=True)
    for seed in range(3):
        case.step(random_tokens(seed), lr=1e-3)
    world.barrier()
    (folder / f"rank_{world.rank}").touch()
    return 0


def main() -> int:
    """Start the runs, or with --worker be one process of a run; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=50, help="default: 50")
    parser.add_argument("--strategy", default="zero1", help="default: zero1")
    parser.add_argument(
        "--worker", type=Path, help="be a process of a run and write the marker to this folder"
    )
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker, arguments.strategy)
    clean = 0
    for number in range(1, arguments.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            clean += exits_cleanly(Path(folder), arguments.strategy)
        print(f"{arguments.strategy}: {clean} of {number} runs of two processes exited cleanly", flush=True)
    return int(clean < arguments.runs)


if __name__ == "__main__":
    from train.parallel.world import run_world

    run_world(main)
