"""How the processes share the work: `ddp` and `zero1` behind one small interface.

A strategy takes the gradient of a micro-batch, ends the step, and gives and takes the training state
under the names that the model has, so that a checkpoint fits any strategy and any number of processes.
"""

import contextlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from configs.loader import UserError
from train.config import Run
from train.data import Batch
from train.model import PretrainModel, rope_frequencies
from train.world import World

Tensors = dict[str, Tensor]


class State(NamedTuple):
    """Weights and AdamW's moments by parameter name, fp32, on the CPU. Empty but on the main process."""

    weights: Mapping[str, Tensor]
    exp_avg: Mapping[str, Tensor]
    exp_avg_sq: Mapping[str, Tensor]


class DataParallel:
    """Every process holds everything; DistributedDataParallel averages gradients (for one process: nothing).

    bf16 is autocast over fp32 weights, so weights, gradients and their accumulation stay fp32.
    """

    name = "ddp"

    def __init__(
        self,
        model: PretrainModel,
        optimizer: torch.optim.Optimizer,
        world: World,
        run: Run,
        grad_accum_steps: int,
    ) -> None:
        self.model, self.optimizer, self.world, self.run = model, optimizer, world, run
        self.grad_accum_steps = grad_accum_steps
        self.root: Any = model
        if world.size > 1:
            self.root = nn.parallel.DistributedDataParallel(
                model, gradient_as_bucket_view=True, broadcast_buffers=False
            )

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """Add the gradient of one micro-batch of a step that has `n_targets` target tokens on all processes.

        `last`: the step's last micro-batch, after which gradients are exchanged. Returns each sequence's loss
        sum in nats (B, detached).
        """
        exchange = self.world.size == 1 or last
        with contextlib.nullcontext() if exchange else self.root.no_sync():
            loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
            # DDP averages over processes; the loss is a mean over the tokens of all of them.
            (loss_sum * (self.world.size / n_targets)).backward()
        return losses_B

    def step(self, lr: float) -> float:
        """Clip, update the weights, clear the gradients. Returns the gradient's norm before clipping."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        weights = list(self.model.parameters())
        # In fp64: torch's own fp32 norm of a large matrix on the CPU is off by 6e-6.
        norms = [torch.linalg.vector_norm(w.grad, dtype=torch.float64) for w in weights if w.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        if self.run.recipe.clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(weights, self.run.recipe.clip_grad_norm, norm.float())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    @torch.no_grad()
    def evaluate(self, input_ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Each sequence's loss sum in nats (B)."""
        return self._forward(input_ids_BT, targets_BT)[1]

    def state(self) -> State:
        """Weights and moments on the main process. All processes must call it."""
        if not self.world.is_main:
            return State({}, {}, {})
        weights = self.model.named_weights()
        moments: dict[str, Tensors] = {"exp_avg": {}, "exp_avg_sq": {}}
        for key, tensors in moments.items():
            for name, weight in weights.items():
                state = self.optimizer.state.get(weight, {})
                tensors[name] = state.get(key, torch.zeros_like(weight)).detach().cpu()
        return State({name: w.detach().cpu() for name, w in weights.items()}, **moments)

    def load(self, state: State, step: int) -> None:
        """Take over the state that an optimiser had after `step` steps."""
        for name, weight in self.model.named_weights().items():
            weight.data.copy_(state.weights[name])
            self.optimizer.state[weight] = {
                "step": self._step_tensor(step),
                "exp_avg": state.exp_avg[name].to(weight.device),
                "exp_avg_sq": state.exp_avg_sq[name].to(weight.device),
            }

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        bf16 = self.run.recipe.precision == "bf16"
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=bf16):
            return self.root(input_ids_BT, targets_BT)

    def _step_tensor(self, step: int) -> Tensor:
        """AdamW's own count of steps; the fused one keeps it beside the weights."""
        fused = self.optimizer.param_groups[0].get("fused")
        return torch.tensor(float(step), device=self.world.device if fused else "cpu")


class Zero1(DataParallel):
    """DeepSpeed ZeRO stage 1: each process holds its share of the fp32 weights and moments.

    DeepSpeed puts one flat fp32 partition in the place of each parameter group's list. Laid end to end by
    rank, the partitions of a group are its parameters in order and some padding: `state` and `load` rely
    on no more.
    """

    name = "zero1"

    def __init__(
        self,
        model: PretrainModel,
        optimizer: torch.optim.Optimizer,
        world: World,
        run: Run,
        grad_accum_steps: int,
    ) -> None:
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)  # it greets in many lines from every rank
        os.environ.setdefault("DS_ACCELERATOR", world.device.type)  # it guesses otherwise, and says so
        # It calls collectives by names that torch 2.13 has begun to rename; they do the same.
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        import deepspeed

        if world.device.type == "cpu":
            # Otherwise the first collective compiles a C++ extension for shared memory: that needs g++
            # and up to a minute, and changes no number. The name is private, hence the pinned version.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self.optimizer, self.world, self.run, self.model = optimizer, world, run, model
        self.grad_accum_steps = grad_accum_steps
        names = {weight: name for name, weight in model.named_weights().items()}
        self._groups = [[names[weight] for weight in group["params"]] for group in optimizer.param_groups]
        self.engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": run.recipe.micro_batch_size,
                "gradient_accumulation_steps": grad_accum_steps,
                "gradient_clipping": run.recipe.clip_grad_norm or 0.0,
                "bf16": {"enabled": run.recipe.precision == "bf16"},
                "data_types": {"grad_accum_dtype": "fp32"},
                "zero_optimization": {"stage": 1},
                "zero_allow_untested_optimizer": True,  # the tests compare strategies by a step of SGD
                "steps_per_print": sys.maxsize,
            },
        )
        self.root = self.engine
        # A cast of buffers to bf16 would shift far positions and make the export disagree.
        assert all(buffer.dtype == torch.float32 for buffer in rope_frequencies(model).values())

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel; DeepSpeed counts micro-batches itself and exchanges after the last."""
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        # It divides by the number of micro-batches and averages over processes.
        self.engine.backward(loss_sum * (self.grad_accum_steps * self.world.size / n_targets))
        if not last:
            self.engine.step()  # no update yet, its count only
        return losses_B

    def step(self, lr: float) -> float:
        """As in DataParallel."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    def state(self) -> State:
        """As in DataParallel."""
        partitions = [group["params"][0] for group in self.optimizer.param_groups]
        moments = [self.optimizer.state.get(partition, {}) for partition in partitions]
        return State(
            self._named(partitions),
            *(
                self._named(
                    [m.get(key, torch.zeros_like(p)) for m, p in zip(moments, partitions, strict=True)]
                )
                for key in ("exp_avg", "exp_avg_sq")
            ),
        )

    def load(self, state: State, step: int) -> None:
        """As in DataParallel."""
        for name, weight in self.model.named_weights().items():
            weight.data.copy_(state.weights[name])
        for group, names in zip(self.optimizer.param_groups, self._groups, strict=True):
            partition = group["params"][0]
            partition.data.copy_(self._share_of(state.weights, names, partition))
            self.optimizer.state[partition] = {
                "step": self._step_tensor(step),
                "exp_avg": self._share_of(state.exp_avg, names, partition),
                "exp_avg_sq": self._share_of(state.exp_avg_sq, names, partition),
            }

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.engine(input_ids_BT, targets_BT)

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

    def _share_of(self, tensors: Mapping[str, Tensor], names: list[str], partition: Tensor) -> Tensor:
        """This rank's part of a group's tensors, laid end to end and filled up with zeros."""
        flat = torch.cat([tensors[name].flatten() for name in names])
        share = torch.zeros(partition.numel(), dtype=torch.float32)
        mine = flat[self.world.rank * len(share) : (self.world.rank + 1) * len(share)]
        share[: len(mine)] = mine
        return share.to(partition.device)


def why_no_deepspeed() -> str:
    """The reason why DeepSpeed does not run here, empty where it does."""
    if sys.platform != "linux":
        return f"DeepSpeed is not installed on {sys.platform}"
    return "" if importlib.util.find_spec("deepspeed") else "DeepSpeed is not installed"


def make_strategy(
    model: PretrainModel, optimizer: torch.optim.Optimizer, world: World, run: Run, grad_accum_steps: int
) -> DataParallel:
    """The run's strategy; `ddp` where one process has nothing to share, or (said aloud) without DeepSpeed."""
    if run.recipe.strategy == "zero1" and world.size > 1:
        reason = why_no_deepspeed()
        if not reason:
            return Zero1(model, optimizer, world, run, grad_accum_steps)
        if world.device.type == "cuda":
            raise UserError(f"{run.run_id}: strategy zero1: {reason}; install it or pass strategy=ddp")
        if world.is_main:
            print(f"zero1 cannot run here ({reason}): ddp takes its place, with the same result")
    return DataParallel(model, optimizer, world, run, grad_accum_steps)
