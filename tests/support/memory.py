"""Memory of a training step: peaks on this CPU, and counts without a device for models of any size."""

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from train.config import Run
from train.data.batches import Batch
from train.model.execution import prepare_layers
from train.model.llama import PretrainModel, build_model
from train.optimizer import make_optimizer
from train.parallel.strategy import make_strategy
from train.parallel.world import World

BLOCK = "block: "  # marks the profiled blocks whose peak is wanted


class AllocationLog:
    """The allocations of torch's CPU allocator inside a `with` block, those inside of operations included.

    What was allocated before does not count, even if it is released inside.
    """

    def __enter__(self) -> "AllocationLog":
        gc.collect()
        self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self._profile.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._profile.__exit__(*reason)
        assert self._profile.profiler is not None
        roots = self._profile.profiler.kineto_results.experimental_event_tree()
        self._events = sorted(_all_events(roots), key=lambda event: event.start_time_ns)

    def peaks(self) -> dict[str, int]:
        """The most bytes live at once inside of each `record_function(BLOCK + name)`, by name."""
        blocks = [event for event in self._events if event.name.startswith(BLOCK)]
        peaks: Counter[str] = Counter()
        live: dict[int, int] = {}  # bytes by address
        total = 0
        for event in self._events:
            fields = event.extra_fields
            if not hasattr(fields, "alloc_size"):
                continue
            if fields.alloc_size > 0:
                live[fields.ptr] = fields.alloc_size
                total += fields.alloc_size
            else:
                total -= live.pop(fields.ptr, 0)
            for block in blocks:
                if block.start_time_ns <= event.start_time_ns <= block.end_time_ns:
                    name = block.name.removeprefix(BLOCK)
                    peaks[name] = max(peaks[name], total)
        return dict(peaks)


def _all_events(roots: list[Any]) -> Iterator[Any]:
    stack = list(roots)
    while stack:
        event = stack.pop()
        stack += event.children
        yield event


def measure_peak(run: Run, world: World) -> int:
    """Peak bytes of this process while it computes the gradients of a run's second step, on a CPU."""
    n_micro = min(2, run.grad_accum_steps(world.size))
    size, length = run.recipe.micro_batch_size, run.recipe.sequence_length
    with AllocationLog() as log:
        model = build_model(run.model, 0)
        prepare_layers(model, run.recipe)
        strategy = make_strategy(model, make_optimizer(model, run, world.device), world, run, n_micro)
        tokens = torch.randint(run.model.vocab_size, (size, length + 1))
        batch = Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(size))
        for step in range(2):  # from the second on, the moments are there
            for micro in range(n_micro):
                with record_function(f"{BLOCK}{step}"):
                    strategy.backward(batch, size * length * n_micro * world.size, micro == n_micro - 1)
            strategy.step(1e-3)
            gc.collect()  # as the loop does with recomputation
    return log.peaks()["1"]


class _LiveStorages(TorchDispatchMode):
    """Counts the bytes of all storages that operations have made and that still exist."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_by_storage: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if (key := storage._cdata) not in self.bytes_by_storage:
                    self.bytes_by_storage[key] = storage.nbytes()
                    weakref.finalize(storage, self.bytes_by_storage.pop, key)
        return result


def count_kept(run: Run, autocast: bool, fake: bool = True) -> tuple[int, int]:
    """Bytes that one forward pass keeps: (in tensors saved for the backward pass, in all that still exists).

    Weights do not count. Recomputation keeps some results elsewhere than among autograd's saved tensors. With
    `fake`, nothing is allocated: tensors have a shape and no memory.
    """
    recipe = run.recipe
    # Of fake tensors, the library cannot see that their positions never restart, and would make a mask.
    no_mask = mock.patch("transformers.masking_utils.find_packed_sequence_indices", return_value=None)
    with FakeTensorMode() if fake else torch.enable_grad(), no_mask if fake else torch.enable_grad():
        model = PretrainModel(run.model)
        if recipe.precision == "bf16" and not autocast:
            for weight in model.parameters():
                weight.data = weight.data.bfloat16()
        model.head_chunk_tokens = recipe.head_chunk_tokens
        prepare_layers(model, recipe)
        tokens = torch.zeros((recipe.micro_batch_size, recipe.sequence_length), dtype=torch.int64)
        own = {weight.untyped_storage()._cdata for weight in model.parameters()}
        saved: dict[int, torch.UntypedStorage] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                saved[storage._cdata] = storage
            return tensor

        live = _LiveStorages()
        live.bytes_by_storage |= dict.fromkeys(own, 0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), live:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss_sum, _ = model(tokens, tokens)
            in_all = sum(live.bytes_by_storage.values())
        assert loss_sum.requires_grad
        return sum(storage.nbytes() for storage in saved.values()), in_all
