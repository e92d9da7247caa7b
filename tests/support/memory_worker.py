"""One process that measures the peak memory of steps: `memory_worker.py OUT STRATEGY_PRECISION_RECOMPUTE …`.

The main process writes the peak bytes of each, at mini scale, to OUT. test_memory.py starts two processes.
"""

import json
import sys
from pathlib import Path

from configs.loader import CONFIGS
from tests.support.memory import measure_peak
from train.config import Run, load_run
from train.parallel.world import run_world, start_world


def run_of(case: str, scale: str) -> Run:
    """Run 20 with the values that `STRATEGY_PRECISION_RECOMPUTE` names."""
    strategy, precision, recompute = case.split("_")
    values = {"strategy": strategy, "precision": precision, "recompute": recompute}
    return load_run(CONFIGS / "runs" / "run20.yaml", scale, overrides=values)


def main() -> int:
    world = start_world()
    peaks = {case: measure_peak(run_of(case, "mini"), world) for case in sys.argv[2:]}
    if world.is_main:
        Path(sys.argv[1]).write_text(json.dumps(peaks))
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
