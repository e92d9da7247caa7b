"""`zero1` and `zero2`: DeepSpeed's ZeRO, where each process holds a shard of fp32 weights and moments.

`zero3.py` builds on it.
"""

import contextlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from train.data.batches import Batch
from train.model.llama import rope_frequencies
from train.parallel.ddp import DataParallel, State, Tensors

STAGES = {"zero1": 1, "zero2": 2, "zero3": 3}
BUCKET_ELEMENTS = 500_000_000  # of gradients exchanged at once: DeepSpeed's default


class Zero(DataParallel):
    """ZeRO (Rajbhandari et al. 2020) of stage 1 (moments and fp32 weights are sharded) or 2 (also gradients).

    DeepSpeed replaces the parameters of each optimiser group by one flat fp32 partition. Concatenated by
    rank, the partitions of a group are its parameters in order, and some padding. The code relies on that,
    and on the attributes in which two of DeepSpeed's optimisers keep the exchanged gradients; hence the exact
    pin of its version.
    """

    def _wrap(self) -> Any:
        self.name = self.run.recipe.strategy
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it logs many lines from every rank
        os.environ.setdefault(
            "DS_ACCELERATOR", self.world.device.type
        )  # else it guesses and prints the guess
        # It calls collectives by names that torch 2.13 deprecates; the results are the same.
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        import deepspeed

        if self.world.device.type == "cpu":
            # Otherwise the first collective compiles a C++ extension for shared memory. That needs g++ and
            # up to a minute, and the results are the same. The name is private, hence the pinned version.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # Its step also ends the accumulation, so a faulty step must call it, but without an update.
        update = self.optimizer.step

        def step(closure: Any = None) -> None:
            if self._wanted:
                update()
            self.exchange.begin()  # DeepSpeed gathers the new weights next; `_update` ends the span

        self.optimizer.step = step  # type: ignore[method-assign, assignment]
        self._shapes = {name: weight.shape for name, weight in self.model.named_weights().items()}
        names = {weight: name for name, weight in self.model.named_weights().items()}
        self._groups = [[names[w] for w in group["params"]] for group in self.optimizer.param_groups]
        initial = {n: w.detach().to("cpu", copy=True) for n, w in self.model.named_weights().items()}
        # Some stages call the optimiser while they initialise, which would decay the weights.
        self._wanted = False
        with contextlib.redirect_stdout(io.StringIO()):  # hides a memory report that no option turns off
            engine, *_ = deepspeed.initialize(
                model=self.model, optimizer=self.optimizer, dist_init_required=False, config=self._config()
            )
        self._inner = engine.optimizer
        self.exchange.around(engine, "allreduce_gradients")
        self._mark_exchange()
        # In bf16 it makes its fp32 weights from weights already cast to bf16. Restore the lost 16 bits.
        for partition, group_names in zip(self._partitions(), self._groups, strict=True):
            partition.data.copy_(self._partition_of(initial, group_names, partition))
        # Frequencies cast to bf16 would shift far positions, and the exported model would compute other
        # numbers.
        assert all(buffer.dtype == torch.float32 for buffer in rope_frequencies(self.model).values())
        return engine

    def _config(self) -> dict[str, Any]:
        bucket = min(BUCKET_ELEMENTS, sum(shape.numel() for shape in self._shapes.values()))
        return {
            "train_micro_batch_size_per_gpu": self.run.recipe.micro_batch_size,
            "gradient_accumulation_steps": self.grad_accum_steps,
            "gradient_clipping": 0.0,  # `step` clips before it calls DeepSpeed
            "bf16": {"enabled": self.run.recipe.precision == "bf16"},
            "data_types": {"grad_accum_dtype": "fp32"},
            # It allocates whole buckets. By default they have 5e8 elements, also for smaller models.
            "zero_optimization": {
                "stage": STAGES[self.name],
                "reduce_bucket_size": bucket,
                **self._stage_config(),
            },
            "zero_allow_untested_optimizer": True,  # tests compare strategies by one SGD step
            "steps_per_print": sys.maxsize,
        }

    def _mark_exchange(self) -> None:
        """Count the stage's own waits within the forward and backward pass."""
        if hasattr(self._inner, "reduce_ipg_grads"):  # of a full bucket, within the backward pass
            self.exchange.around(self._inner, "reduce_ipg_grads")

    def _stage_config(self) -> dict[str, Any]:
        """What this stage needs beside its number."""
        return {}

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel; DeepSpeed counts micro-batches and exchanges gradients after the last."""
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        # DeepSpeed divides by the number of micro-batches and by the number of processes.
        self.root.backward(loss_sum * (self.grad_accum_steps * self.world.size / n_targets))
        if not last:
            self.root.step()  # only counts the micro-batch
        return losses_B

    def state(self) -> State:
        """As in DataParallel."""
        partitions = self._partitions()
        moments = [[self._moment(p, key) for p in partitions] for key in State._fields[1:]]
        return State(self._named(partitions), *map(self._named, moments))

    @torch.no_grad()
    def load(self, state: State, updates: int) -> None:
        """As in DataParallel."""
        for partition, names in zip(self._partitions(), self._groups, strict=True):
            partition.copy_(self._partition_of(state.weights, names, partition))
            self.optimizer.state[partition] = {"step": self._step_tensor(updates)} | {
                key: self._partition_of(getattr(state, key), names, partition) for key in State._fields[1:]
            }
        self._load_weights(state.weights)

    def _load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Fill the weights that the model computes with; this rank's fp32 partitions are filled already."""
        for name, weight in self.model.named_weights().items():
            weight.copy_(weights[name])

    def _partitions(self) -> list[Tensor]:
        """This rank's flat fp32 partition of each parameter group."""
        return [group["params"][0] for group in self.optimizer.param_groups]

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.root(input_ids_BT, targets_BT)

    def _gradients(self) -> list[Tensor]:
        return [gradient for group in self._gradient_groups() for gradient in group]

    def _gradient_groups(self) -> list[list[Tensor]]:
        """For each parameter group, the tensors that concatenated are this rank's shard of its gradient."""
        inner = self._inner
        if self.name == "zero1" and self.run.recipe.precision == "bf16":  # DeepSpeed's BF16_Optimizer
            return [[partition] for partition in inner.fp32_groups_gradient_flat_partition]
        return [list(inner.averaged_gradients[number]) for number in range(len(self._groups))]

    def _sum_over_shards(self, tensor: Tensor) -> Tensor:
        return self.world.sum(tensor)

    def _layer_norms(self) -> dict[str, float]:
        partitions = []
        for partition, gradients in zip(self._partitions(), self._gradient_groups(), strict=True):
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            partitions.append(F.pad(flat, (0, partition.numel() - len(flat))))
        return {name: float(g.double().norm()) for name, g in self._named(partitions).items()}

    def _update(self, wanted: bool) -> None:
        self._wanted = wanted
        self.root.step()
        self.exchange.end()

    def _named(self, partitions: list[Tensor]) -> Tensors:
        """Gather each group's flat partitions from all ranks and split them into named tensors."""
        tensors: Tensors = {}
        for names, partition in zip(self._groups, partitions, strict=True):
            parts = self.world.gather(partition.detach())
            if not parts:
                continue
            flat = torch.cat([part.cpu() for part in parts])
            sizes = [self._shapes[name].numel() for name in names]
            pieces = flat[: sum(sizes)].split(sizes)
            for name, piece in zip(names, pieces, strict=True):
                tensors[name] = piece.view(self._shapes[name]).clone()
        return tensors

    def _partition_of(self, tensors: Mapping[str, Tensor], names: list[str], partition: Tensor) -> Tensor:
        """This rank's shard of a group's concatenated tensors, padded with zeros.

        It reads only the tensors that overlap with the shard, one at a time.
        """
        share = torch.zeros(partition.numel(), dtype=torch.float32)
        first = self.world.rank * len(share)  # in the group
        offset = 0  # of a tensor in the group
        for name in names:
            n_elements = self._shapes[name].numel()
            begin, end = max(first, offset), min(first + len(share), offset + n_elements)
            if begin < end:
                flat = tensors[name].flatten()
                share[begin - first : end - first] = flat[begin - offset : end - offset]
            offset += n_elements
        return share.to(partition.device)


def why_no_deepspeed() -> str:
    """Why DeepSpeed does not run here; empty if it does."""
    if sys.platform != "linux":
        return f"DeepSpeed is not installed on {sys.platform}"
    return "" if importlib.util.find_spec("deepspeed") else "DeepSpeed is not installed"
