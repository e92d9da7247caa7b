"""Whole gradients of some sequences, apart from the step's own: for PCGrad and for the instruments.

They leave `.grad` alone and exchange nothing, so a step in progress is not disturbed.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from train.model.llama import PretrainModel
from train.parallel.world import World

Gradient = list[Tensor]  # one tensor for each of the model's parameters, in their order


def gradient_of(
    model: PretrainModel, bf16: bool, input_ids_BT: Tensor, targets_BT: Tensor, n_targets: int
) -> tuple[Gradient, Tensor]:
    """Gradient of the loss sum of B sequences divided by `n_targets`, and each sequence's loss sum (nats, B).

    `model` must hold all its weights on this process. `bf16`: compute under autocast.
    """
    with torch.autocast(input_ids_BT.device.type, torch.bfloat16, enabled=bf16):
        loss_sum, losses_B = model(input_ids_BT, targets_BT)
    return list(torch.autograd.grad(loss_sum / n_targets, list(model.parameters()))), losses_B


def sum_over_processes(gradient: Gradient, world: World) -> None:
    """Add up a gradient over all processes, in place."""
    if world.size > 1:
        for tensor in gradient:
            dist.all_reduce(tensor)


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Dot product of two gradients, summed in fp64."""
    return sum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True))
