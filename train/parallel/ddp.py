"""The training step of every strategy, and `ddp`, the strategy that shards nothing.

A strategy adds up the gradients of micro-batches and ends the step: it exchanges gradients, measures their
norm, asks the guard, and only then updates the weights. It saves and loads the training state under the
model's own parameter names, so that a checkpoint fits any strategy and any number of processes.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from train.config import Run
from train.data.batches import Batch
from train.model.llama import PretrainModel
from train.optimizer import moment_names
from train.parallel.exchange import Exchange
from train.parallel.loss_scale import INITIAL_SCALE, LossScale
from train.parallel.world import World

Tensors = dict[str, Tensor]
HALF_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Maps the gradient norm before clipping to the reason why a step must not update the weights, "" if it may.
Judge = Callable[[float], str]


class State(NamedTuple):
    """Weights and moments by parameter name: unsharded fp32 copies on the main process's CPU.

    Muon has no second moment.
    """

    weights: Mapping[str, Tensor]
    exp_avg: Mapping[str, Tensor]
    exp_avg_sq: Mapping[str, Tensor]


class StepResult(NamedTuple):
    """The result of a step."""

    grad_norm: float  # L2 norm over all parameters, before clipping
    fault: str  # why the weights were not updated, "" if they were
    layer_norms: dict[str, float]  # of each parameter's gradient; only after a fault, on the main process
    overflowed: bool = False  # fp16: the weights were not updated, and the loss scale was halved


class DataParallel:
    """Every process holds all weights and moments; DistributedDataParallel averages the gradients.

    bf16 and fp16 mean autocast over fp32 weights, so weights, gradients and their accumulation stay fp32. A
    single process runs the model without a wrapper.
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
        self.exchange = Exchange(world.device)
        self.loss_scale = LossScale(scale=INITIAL_SCALE if run.recipe.precision == "fp16" else 1.0)
        self.root: Any = self._wrap()

    def _wrap(self) -> Any:
        if self.world.size == 1:
            return self.model
        self._mark_exchange()
        return nn.parallel.DistributedDataParallel(
            self.model, gradient_as_bucket_view=True, broadcast_buffers=False
        )

    def _mark_exchange(self) -> None:
        """Count the waits within the forward and backward pass."""
        # This gradient is the last: the embedding is the first layer and, where tied, also the head. What the
        # backward pass takes from then on is the exchange that computation does not hide.
        embedding = self.model.llama.model.embed_tokens.weight
        embedding.register_post_accumulate_grad_hook(lambda weight: self.exchange.begin())

    # ---------------------------------------------------------------- what the loop calls

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """Add the gradient of one micro-batch to the step's.

        `n_targets`: target tokens of the whole step, on all processes. `last`: this is the step's last
        micro-batch, after which gradients are exchanged. Returns each sequence's loss sum in nats (B,
        detached).
        """
        exchange = self.world.size == 1 or last
        with contextlib.nullcontext() if exchange else self.root.no_sync():
            loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
            # DDP divides by the number of processes, but the loss is a mean over the tokens of all of them.
            (loss_sum * (self.world.size * self.loss_scale.scale / n_targets)).backward()
        if last:
            self.exchange.end()
        return losses_B

    @torch.no_grad()
    def step(self, lr: float, judge: Judge = lambda norm: "") -> StepResult:
        """End the step: clip the gradients and update the weights unless they overflow or the judge objects.

        Gradients above the recipe's `clip_grad_norm` are scaled to that norm (Pascanu et al. 2013, algorithm
        1).
        """
        gradients, scale = self._gradients(), self.loss_scale.scale
        # fp64, because torch's fp32 norm of a large matrix on the CPU has a relative error of 6e-6.
        squares = [torch.linalg.vector_norm(g, dtype=torch.float64) ** 2 for g in gradients]
        norm = float(self._sum_over_shards(torch.stack(squares).sum()).sqrt()) / scale
        # All processes know the same norm, so they agree. A loss that is not finite is a fault with any norm;
        # a smaller scale would not help.
        if not math.isfinite(norm) and self.loss_scale.may_shrink and not self.world.any(bool(judge(0.0))):
            self.loss_scale = self.loss_scale.after_overflow()
            self._update(False)
            return StepResult(norm, "", {}, overflowed=True)
        fault = judge(norm)
        # If a single process skipped its update, its weights would differ from the others' from then on.
        if self.world.any(bool(fault)):
            layer_norms = self._layer_norms()
            self._update(False)
            return StepResult(norm, fault or "a fault that another process saw", layer_norms)
        clip = self.run.recipe.clip_grad_norm
        factor = (clip / norm if clip is not None and norm > clip else 1.0) / scale
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._update(True)
        if self.run.recipe.precision == "fp16":
            self.loss_scale = self.loss_scale.after_update()
        return StepResult(norm, "", {})

    @torch.no_grad()
    def evaluate(self, input_ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Each sequence's loss sum in nats (B, fp32). All processes must call it with as many sequences."""
        return self._forward(input_ids_BT, targets_BT)[1]

    @torch.no_grad()
    def state(self) -> State:
        """Copies of weights and moments on the main process. All processes must call it."""
        weights = self.model.named_weights()
        moments: dict[str, Tensors] = {key: {} for key in State._fields[1:]}
        for name, weight in weights.items():
            for key, its_name in moment_names(self.run.recipe, name, weight).items():
                moments[key][name] = self._moment(weight, its_name)
        return State(self._unsharded(weights), *(self._unsharded(tensors) for tensors in moments.values()))

    @torch.no_grad()
    def load(self, state: State, updates: int) -> None:
        """Load the weights and moments that a run had after `updates` updates."""
        for name, weight in self.model.named_weights().items():
            self._shard_of(weight).copy_(self._own_shard(state.weights[name]))
            names = moment_names(self.run.recipe, name, weight)
            own = {its_name: torch.zeros_like(weight) for its_name in names.values()}
            for key, its_name in names.items():
                self._shard_of(own[its_name]).copy_(self._own_shard(getattr(state, key)[name]))
            self.optimizer.state[weight] = {"step": self._step_tensor(updates), **own}

    # ---------------------------------------------------------------- what strategies override

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        dtype = HALF_PRECISION.get(self.run.recipe.precision)
        with torch.autocast(self.world.device.type, dtype, enabled=dtype is not None):
            return self.root(input_ids_BT, targets_BT)

    def _gradients(self) -> list[Tensor]:
        """This process's shard of the exchanged gradients, for reading and scaling in place."""
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        return [self._shard_of(gradient) for gradient in gradients]

    def _sum_over_shards(self, tensor: Tensor) -> Tensor:
        """The sum over all shards of the gradients, given the sum over this process's shard."""
        return tensor

    def _layer_norms(self) -> dict[str, float]:
        """L2 norm of each parameter's gradient, on the main process."""
        gradients = {n: w.grad for n, w in self.model.named_weights().items() if w.grad is not None}
        unsharded = self._unsharded(gradients).items()
        return {name: float(g.double().norm()) / self.loss_scale.scale for name, g in unsharded}

    def _update(self, wanted: bool) -> None:
        """Update the weights if `wanted`, and clear the gradients."""
        if wanted:
            self.optimizer.step()
        # DDP's gradients are views of its buckets. If they were dropped, the next step's first micro-batch
        # would allocate new ones beside the buckets.
        self.optimizer.zero_grad(set_to_none=not isinstance(self.root, nn.parallel.DistributedDataParallel))

    def _unsharded(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Unsharded copies of tensors on the main process's CPU; elsewhere an empty dictionary."""
        if not self.world.is_main:
            return {}
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def _shard_of(self, tensor: Tensor) -> Tensor:
        """The memory of this process's shard of a tensor of the model or the optimiser."""
        return tensor.detach()

    def _own_shard(self, whole: Tensor) -> Tensor:
        """This process's shard of an unsharded tensor."""
        return whole

    def _moment(self, weight: Tensor, key: str) -> Tensor:
        moment = self.optimizer.state.get(weight, {}).get(key)
        return torch.zeros_like(weight) if moment is None else moment

    def _step_tensor(self, updates: int) -> Tensor:
        """AdamW's count of updates; the fused implementation keeps it on the device of the weights."""
        fused = self.optimizer.param_groups[0].get("fused")
        return torch.tensor(float(updates), device=self.world.device if fused else "cpu")
