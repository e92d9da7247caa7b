"""`accelerate`: data parallelism through Hugging Face Accelerate, as its launcher set it up."""

import os
from typing import Any

import torch
from torch import Tensor

from configs.loader import UserError
from train.data.batches import Batch
from train.parallel.ddp import DataParallel

# What Accelerate's launcher can ask for beside data parallelism, and what this project offers instead.
INSTEAD = {
    "ACCELERATE_USE_DEEPSPEED": "strategy=zero1, zero2 or zero3",
    "ACCELERATE_USE_FSDP": "strategy=fsdp",
    "ACCELERATE_USE_MEGATRON_LM": "strategy=fsdp or zero3",
}


class Accelerated(DataParallel):
    """The `Accelerator` wraps model and optimiser and calls backward pass and update.

    Device, processes and backend come from the environment that `accelerate launch` or torchrun set. The
    recipe decides precision and accumulation: casts, loss scale, clipping and guard are those of `ddp`, so
    that a run gives the same numbers and checkpoints.
    """

    name = "accelerate"

    def _wrap(self) -> Any:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

        if refusal := why_refused(dict(os.environ), self.run.recipe.precision):
            raise UserError(f"{self.run.run_id}: {refusal}")
        self._accelerator = Accelerator(
            cpu=self.world.device.type == "cpu",
            mixed_precision="no",  # `_forward` casts
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=1
            ),  # the loss is a whole step's
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False)
            ],
        )
        self._mark_exchange()
        root, optimizer = self._accelerator.prepare(self.model, self.optimizer)
        self.optimizer: torch.optim.Optimizer = optimizer
        return root

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel."""
        if last:
            return self._backward(batch, n_targets)
        with self._accelerator.no_sync(self.root):
            return self._backward(batch, n_targets)

    def _backward(self, batch: Batch, n_targets: int) -> Tensor:
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        self._accelerator.backward(loss_sum * (self.world.size * self.loss_scale.scale / n_targets))
        self.exchange.end()
        return losses_B


def why_refused(environment: dict[str, str], precision: str) -> str:
    """Why the launcher's environment does not go with the run; empty if it does."""
    for key, instead in INSTEAD.items():
        if environment.get(key, "false").lower() in ("true", "1"):
            return (
                f"strategy accelerate is data parallelism, but {key} is set: pass {instead}, whose "
                f"checkpoints any strategy can resume, or change the settings of accelerate launch"
            )
    asked = environment.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked not in ("no", precision):
        return (
            f"accelerate launch asks for {asked} (ACCELERATE_MIXED_PRECISION), the recipe for {precision}: "
            f"pass precision={asked} or start it with --mixed_precision no"
        )
    return ""
