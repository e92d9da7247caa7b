"""Time, energy and money of a run, from its FLOPs."""

import math

from train.config import Run
from train.model.flops import flops_per_token
from train.planning.devices import Device

# Measured on one CPU core with the demo model in fp32: 7,000 tokens/s of 5.5 MFLOP each.
CPU_FLOP_PER_S = 4e10
SLOT_HOURS = 24.0  # --time of slurm/train_run20.sh
# Of each slot, Slurm's signal takes the last 10 minutes (--signal=B:USR1@600); another 5 are assumed for the
# start.
SLOT_LOSS_HOURS = 0.25
OVERHEAD = 1.4  # power of host, network and cooling on top of the GPUs': assumed


def total_flops(run: Run) -> float:
    """FLOPs of all forward and backward passes of a run, without recomputation."""
    return run.steps_total * run.tokens_per_step * flops_per_token(run.model, run.recipe.sequence_length)


def training_hours(run: Run, flop_per_s: float) -> float:
    """Hours that a run trains at a number of FLOP/s over all devices, without validation and checkpoints."""
    return total_flops(run) / flop_per_s / 3600


def gpu_hours(run: Run, device: Device, gpus: int, mfu: float) -> float:
    """Hours that a run trains on some GPUs at a given MFU (0 to 1)."""
    return training_hours(run, gpus * device.flop_per_s * mfu)


def walltime_slots(hours: float, slot_hours: float = SLOT_HOURS) -> int:
    """How many jobs of `slot_hours` a run of `hours` takes; in between it is requeued and resumed."""
    return math.ceil(hours / (slot_hours - SLOT_LOSS_HOURS))


def energy_kwh(hours: float, gpus: int, watts: float, overhead: float = OVERHEAD) -> float:
    """Energy of GPUs at `watts` each, times the overhead of all around them."""
    return hours * gpus * watts * overhead / 1000
