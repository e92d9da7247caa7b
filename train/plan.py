"""Plan a run: memory, time, energy, money, disk, before a machine is asked for.

    python train/plan.py configs/runs/run20.yaml --gpus 2 --device a100-80gb [key=value ...]
    make plan RUN=run20 GPUS=2 DEVICE=a100-80gb

In:  a run file and its scale; nothing else, and no GPU.
Out: tables on standard output. docs/training.md holds those of Run 20.
Memory is counted part by part, for every strategy and mode of recomputation; where a run does not fit, the
plan names each change that would make it fit. Time follows from the FLOPs and an assumed MFU.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, parse_overrides, run_main
from train.config import load_run
from train.planning.devices import DEVICES
from train.planning.hours import SLOT_HOURS
from train.planning.report import Prices, describe, find_device


def main() -> None:
    """Print the plan. Raises UserError for a wrong run, device or number of GPUs."""
    arguments = parse_arguments()
    device = find_device(arguments.device)
    if arguments.gpus < 1:
        raise UserError(f"--gpus {arguments.gpus}: a run needs at least one")
    overrides = parse_overrides(arguments.overrides)
    run = load_run(arguments.run, arguments.scale, overrides=overrides).fitted_to(arguments.gpus)
    prices = Prices(
        watts=arguments.watts or device.watts,
        dollars_per_hour=device.dollars_per_hour if arguments.price is None else arguments.price,
        slot_hours=arguments.slot_hours,
    )
    print(describe(run, device, arguments.gpus, prices))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="configs/runs/<run>.yaml")
    parser.add_argument("--scale", default="full", help="a file in configs/scales (default: full)")
    parser.add_argument("--gpus", type=int, default=2, help="number of GPUs in all (default: 2)")
    parser.add_argument("--device", default="a100-80gb", help=f"{', '.join(DEVICES)} (default: a100-80gb)")
    parser.add_argument("--watts", type=float, help="of a GPU (default: its board power limit)")
    parser.add_argument("--price", type=float, help="dollars an hour and GPU (default: a guess)")
    parser.add_argument("--slot-hours", type=float, default=SLOT_HOURS, help="of a job (default: 24)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe values")
    return parser.parse_intermixed_args()  # allows overrides between options


if __name__ == "__main__":
    run_main(main)
