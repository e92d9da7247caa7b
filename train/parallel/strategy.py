"""Select the strategy of a run. The training loop only knows the interface `DataParallel`.

ddp            every process holds all weights, gradients and moments
accelerate     the same through Hugging Face Accelerate, in the environment that its launcher sets
zero1, zero2   DeepSpeed: each holds a shard of fp32 weights and moments (zero2: also of gradients)
zero3, fsdp    each holds a shard of everything and gathers the weights of one layer at a time: by
               DeepSpeed, by torch
"""

import torch

from configs.loader import UserError
from train.config import Run
from train.model.llama import PretrainModel
from train.optimizer import why_refused
from train.parallel.accelerated import Accelerated
from train.parallel.ddp import DataParallel, State, StepResult
from train.parallel.fsdp import FullyShardedDataParallel
from train.parallel.pcgrad import PCGrad
from train.parallel.world import World
from train.parallel.zero import STAGES, Zero, why_no_deepspeed
from train.parallel.zero3 import Zero3

__all__ = ["DataParallel", "State", "StepResult", "make_strategy"]


def make_strategy(
    model: PretrainModel, optimizer: torch.optim.Optimizer, world: World, run: Run, grad_accum_steps: int
) -> DataParallel:
    """The run's strategy; a single process needs none but `ddp` (or `accelerate`).

    Without DeepSpeed, `ddp` replaces ZeRO on CPUs, with a message. Raises UserError on GPUs without
    DeepSpeed, for pcgrad with a sharded strategy or fp16, for ZeRO in fp16 or with muon, and if Accelerate's
    launcher asks for what does not go with the run.
    """
    strategy = run.recipe.strategy
    if world.size > 1 and (refused := why_refused(run.recipe, strategy)):
        raise UserError(f"{run.run_id}: {refused}")
    kind: type[DataParallel] = DataParallel
    if run.recipe.gradient_surgery == "pcgrad":
        if world.size > 1 and strategy != "ddp":
            raise UserError(
                f"{run.run_id}: gradient_surgery pcgrad needs each domain's whole gradient on every process: "
                f"pass strategy=ddp instead of {strategy}"
            )
        if run.recipe.precision == "fp16":
            raise UserError(
                f"{run.run_id}: gradient_surgery pcgrad projects gradients before an overflow of fp16 is "
                f"noticed: pass precision=bf16 or fp32"
            )
        kind = PCGrad
    elif strategy == "accelerate":  # also alone, because its launcher may ask for what the run does not do
        kind = Accelerated
    elif world.size > 1 and strategy == "fsdp":
        kind = FullyShardedDataParallel
    elif world.size > 1 and strategy in STAGES and run.recipe.precision == "fp16":
        # DeepSpeed runs fp16 on GPUs only, so no test could compare it with the other strategies everywhere.
        raise UserError(
            f"{run.run_id}: fp16 has not been compared with one process under {strategy}, because DeepSpeed "
            f"refuses it on CPUs: pass strategy=fsdp, ddp or accelerate, or precision=bf16"
        )
    elif world.size > 1 and strategy in STAGES:
        if not (reason := why_no_deepspeed()):
            kind = Zero3 if strategy == "zero3" else Zero
        elif world.device.type == "cuda":
            raise UserError(f"{run.run_id}: strategy {strategy}: {reason}; install it or pass strategy=fsdp")
        elif world.is_main:
            print(f"{strategy} cannot run here ({reason}): using ddp instead, with the same result")
    return kind(model, optimizer, world, run, grad_accum_steps)
