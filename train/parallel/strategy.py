"""Which strategy a run gets. The loop knows the interface (`DataParallel`), not which one runs.

    ddp            every process holds everything
    zero1, zero2   DeepSpeed: each holds its share of fp32 weights and moments (zero2: and of gradients)
    fsdp           each holds its share of everything, and gathers weights layer by layer

DeepSpeed's stage 3 shares out what `fsdp` does, and needs a head, a guard and checkpoints of its own kind:
it is not offered.
"""

import torch

from configs.loader import UserError
from train.config import Run
from train.model.llama import PretrainModel
from train.parallel.ddp import DataParallel, State, StepResult
from train.parallel.fsdp import FullyShardedDataParallel
from train.parallel.pcgrad import PCGrad
from train.parallel.world import World
from train.parallel.zero import STAGES, Zero, why_no_deepspeed

__all__ = ["DataParallel", "State", "StepResult", "make_strategy"]


def make_strategy(
    model: PretrainModel, optimizer: torch.optim.Optimizer, world: World, run: Run, grad_accum_steps: int
) -> DataParallel:
    """The run's strategy; `ddp` where one process has nothing to share, or (said aloud) without DeepSpeed."""
    strategy = run.recipe.strategy
    kind: type[DataParallel] = DataParallel
    if run.recipe.gradient_surgery == "pcgrad":
        if world.size > 1 and strategy != "ddp":
            raise UserError(
                f"{run.run_id}: gradient_surgery pcgrad needs each domain's whole gradient on every process: "
                f"pass strategy=ddp instead of {strategy}"
            )
        kind = PCGrad
    elif world.size > 1 and strategy == "fsdp":
        kind = FullyShardedDataParallel
    elif world.size > 1 and strategy in STAGES:
        if not (reason := why_no_deepspeed()):
            kind = Zero
        elif world.device.type == "cuda":
            raise UserError(f"{run.run_id}: strategy {strategy}: {reason}; install it or pass strategy=fsdp")
        elif world.is_main:
            print(f"{strategy} cannot run here ({reason}): ddp takes its place, with the same result")
    return kind(model, optimizer, world, run, grad_accum_steps)
