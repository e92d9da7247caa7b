"""`zero1` and `zero2`: DeepSpeed's ZeRO, where each process holds its share of fp32 weights and moments."""

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

STAGES = {"zero1": 1, "zero2": 2}


class Zero(DataParallel):
    """ZeRO of stage 1 (moments and fp32 weights are shared out) or 2 (gradients, too).

    DeepSpeed puts one flat fp32 partition in the place of each parameter group's list. Laid end to end by
    rank, the partitions of a group are its parameters in order and some padding. The step relies on that,
    and on where two of DeepSpeed's optimisers keep the exchanged gradients: its version is pinned exactly.
    """

    def _wrap(self) -> Any:
        self.name = self.run.recipe.strategy
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it greets in many lines from every rank
        os.environ.setdefault("DS_ACCELERATOR", self.world.device.type)  # it guesses otherwise, and says so
        # It calls collectives by names that torch 2.13 has begun to rename; they do the same.
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        import deepspeed

        if self.world.device.type == "cpu":
            # Otherwise the first collective compiles a C++ extension for shared memory: that needs g++
            # and up to a minute, and changes no number. The name is private, hence the pinned version.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # Its step ends the accumulation, so it must be called for a faulty step, too.
        update, self._wanted = self.optimizer.step, True
        self.optimizer.step = lambda closure=None: update() if self._wanted else None  # type: ignore[method-assign, assignment]
        names = {weight: name for name, weight in self.model.named_weights().items()}
        self._sizes = {name: weight.numel() for name, weight in self.model.named_weights().items()}
        self._groups = [[names[w] for w in group["params"]] for group in self.optimizer.param_groups]
        initial = {n: w.detach().to("cpu", copy=True) for n, w in self.model.named_weights().items()}
        with contextlib.redirect_stdout(io.StringIO()):  # a report of memory that no option turns off
            engine, *_ = deepspeed.initialize(
                model=self.model, optimizer=self.optimizer, dist_init_required=False, config=self._config()
            )
        # In bf16 it casts the weights first and takes the fp32 ones from those: their last 16 bits were lost.
        for group, group_names in zip(self.optimizer.param_groups, self._groups, strict=True):
            partition = group["params"][0]
            partition.data.copy_(self._partition_of(initial, group_names, partition))
        # A cast of buffers to bf16 would shift far positions and make the export disagree.
        assert all(buffer.dtype == torch.float32 for buffer in rope_frequencies(self.model).values())
        return engine

    def _config(self) -> dict[str, Any]:
        return {
            "train_micro_batch_size_per_gpu": self.run.recipe.micro_batch_size,
            "gradient_accumulation_steps": self.grad_accum_steps,
            "gradient_clipping": 0.0,  # done before its step, where a faulty step is found, too
            "bf16": {"enabled": self.run.recipe.precision == "bf16"},
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": {"stage": STAGES[self.name]},
            "zero_allow_untested_optimizer": True,  # the tests compare strategies by a step of SGD
            "steps_per_print": sys.maxsize,
        }

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel; DeepSpeed counts micro-batches itself and exchanges after the last."""
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        # It divides by the number of micro-batches and averages over processes.
        self.root.backward(loss_sum * (self.grad_accum_steps * self.world.size / n_targets))
        if not last:
            self.root.step()  # no update yet, its count only
        return losses_B

    def state(self) -> State:
        """As in DataParallel."""
        partitions = [group["params"][0] for group in self.optimizer.param_groups]
        moments = [[self._moment(p, key) for p in partitions] for key in State._fields[1:]]
        return State(self._named(partitions), *map(self._named, moments))

    @torch.no_grad()
    def load(self, state: State, updates: int) -> None:
        """As in DataParallel."""
        for name, weight in self.model.named_weights().items():
            weight.copy_(state.weights[name])
        for group, names in zip(self.optimizer.param_groups, self._groups, strict=True):
            partition = group["params"][0]
            partition.copy_(self._partition_of(state.weights, names, partition))
            self.optimizer.state[partition] = {"step": self._step_tensor(updates)} | {
                key: self._partition_of(getattr(state, key), names, partition) for key in State._fields[1:]
            }

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.root(input_ids_BT, targets_BT)

    def _gradients(self) -> list[Tensor]:
        return [gradient for group in self._gradient_groups() for gradient in group]

    def _gradient_groups(self) -> list[list[Tensor]]:
        """Of each parameter group the tensors that, laid end to end, are this rank's part of its gradient."""
        inner = self.root.optimizer
        if self.name == "zero1" and self.run.recipe.precision == "bf16":  # DeepSpeed's BF16_Optimizer
            return [[partition] for partition in inner.fp32_groups_gradient_flat_partition]
        return [list(inner.averaged_gradients[number]) for number in range(len(self._groups))]

    def _sum_of_shares(self, tensor: Tensor) -> Tensor:
        return self.world.sum(tensor)

    def _layer_norms(self) -> dict[str, float]:
        partitions = []
        for group, gradients in zip(self.optimizer.param_groups, self._gradient_groups(), strict=True):
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            partitions.append(F.pad(flat, (0, group["params"][0].numel() - len(flat))))
        return {name: float(g.double().norm()) for name, g in self._named(partitions).items()}

    def _update(self, wanted: bool) -> None:
        self._wanted = wanted
        self.root.step()

    def _named(self, partitions: list[Tensor]) -> Tensors:
        """Gather one flat partition a group from all ranks and cut it into named tensors."""
        shapes = {name: weight.shape for name, weight in self.model.named_weights().items()}
        tensors: Tensors = {}
        for names, partition in zip(self._groups, partitions, strict=True):
            parts = self.world.gather(partition.detach())
            if not parts:
                continue
            flat = torch.cat([part.cpu() for part in parts])
            sizes = [shapes[name].numel() for name in names]
            pieces = flat[: sum(sizes)].split(sizes)
            tensors |= {n: piece.view(shapes[n]).clone() for n, piece in zip(names, pieces, strict=True)}
        return tensors

    def _partition_of(self, tensors: Mapping[str, Tensor], names: list[str], partition: Tensor) -> Tensor:
        """This rank's part of a group's tensors, laid end to end and filled up with zeros.

        Only tensors that overlap with it are read, one at a time.
        """
        share = torch.zeros(partition.numel(), dtype=torch.float32)
        first = self.world.rank * len(share)  # in the group
        offset = 0  # of a tensor in the group
        for name in names:
            n_elements = self._sizes[name]
            begin, end = max(first, offset), min(first + len(share), offset + n_elements)
            if begin < end:
                flat = tensors[name].flatten()
                share[begin - first : end - first] = flat[begin - offset : end - offset]
            offset += n_elements
        return share.to(partition.device)


def why_no_deepspeed() -> str:
    """The reason why DeepSpeed does not run here, empty where it does."""
    if sys.platform != "linux":
        return f"DeepSpeed is not installed on {sys.platform}"
    return "" if importlib.util.find_spec("deepspeed") else "DeepSpeed is not installed"
