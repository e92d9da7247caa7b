"""Norms of weights, updates and activations, for each layer and its parts.

Weights before and after a step are compared on the main process's host, where `strategy.state()` gathers them
as for a checkpoint. Every strategy can do that, in the time of two such copies; the host needs 16 bytes a
parameter for a moment (22 GB for 1.36 B), the device nothing. Activations take the forward passes of a step.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train.data.batches import TrainingData, step_samples
from train.log import finite
from train.model.llama import PretrainModel
from train.parallel.ddp import DataParallel

_LAYER = re.compile(r"\.layers\.(\d+)\.")
Place = tuple[int | None, str]  # layer (None: outside of all), part


def place_of(name: str) -> Place:
    """Where a parameter belongs: layer, and `attention`, `mlp`, `norms`, `embedding` or `head`."""
    found = _LAYER.search(name)
    layer = int(found[1]) if found else None
    parts = (
        *((".self_attn.", "attention"), (".mlp.", "mlp")),
        *(("embed_tokens", "embedding"), ("lm_head", "head")),
    )
    return layer, next((part for mark, part in parts if mark in name), "norms")


def weight_rows(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Rows of the L2 norms of weights after a step and of their change in it, by layer and part."""
    squares: dict[Place, list[float]] = {}
    for name, weight in after.items():
        total = squares.setdefault(place_of(name), [0.0, 0.0])
        for index, tensor in enumerate((weight, weight - before[name])):
            total[index] += float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
    return [
        _row(place, weight_norm=finite(weight**0.5), update_norm=finite(update**0.5))
        for place, (weight, update) in squares.items()
    ]


def activation_rows(strategy: DataParallel, data: TrainingData, step: int) -> list[dict[str, Any]]:
    """Rows of the root mean square of the outputs of embedding, attention, MLP and layers after a step.

    They are measured on the sequences of the next step, of which each process takes its share; all must call
    it.
    """
    world, micro = strategy.world, strategy.run.recipe.micro_batch_size
    own = np.split(step_samples(step + 1, strategy.run), world.size)[world.rank]
    strategy.root.eval()
    with _watching(strategy.model) as sums:
        for first in range(0, len(own), micro):
            batch = data.batch(own[first : first + micro]).to(world.device)
            strategy.evaluate(batch.input_ids_BT, batch.targets_BT)
    strategy.root.train()
    totals = world.sum(torch.stack(list(sums.values()))).tolist()
    return [
        _row(place, activation_rms=finite((square / count) ** 0.5))
        for place, (square, count) in zip(sums, totals, strict=True)
    ]


def _row(place: Place, **values: float | None) -> dict[str, Any]:
    layer, part = place
    return {"measure": "norm", "part": part, **({} if layer is None else {"layer": layer}), **values}


@contextlib.contextmanager
def _watching(model: PretrainModel) -> Iterator[dict[Place, Tensor]]:
    """Sum of squares and number of elements (2, fp64) of the outputs of forward passes, by place.

    Compiled layers run uncompiled meanwhile: compiled code would not call the hooks, or be compiled anew.
    """
    sums: dict[Place, Tensor] = {}
    layers: list[Any] = list(model.llama.model.layers)
    watched: list[tuple[Any, Place]] = [(model.llama.model.embed_tokens, (None, "embedding"))]
    for number, layer in enumerate(layers):
        named = ((layer.self_attn, "attention"), (layer.mlp, "mlp"), (layer, "layer"))
        watched += [(module, (number, part)) for module, part in named]

    def hook_of(place: Place) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            square = torch.linalg.vector_norm(tensor, dtype=torch.float64) ** 2
            found = torch.stack([square, torch.full_like(square, tensor.numel())])
            sums[place] = sums[place] + found if place in sums else found

        return hook

    compiled = [layer._compiled_call_impl for layer in layers]
    hooks = [module.register_forward_hook(hook_of(place)) for module, place in watched]
    for layer in layers:
        layer._compiled_call_impl = None
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
        for layer, call in zip(layers, compiled, strict=True):
            layer._compiled_call_impl = call
