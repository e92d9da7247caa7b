"""One training step as every strategy carries it out, and the strategy that shares nothing: `ddp`.

A strategy takes the gradient of a micro-batch, ends the step, and gives and takes the training state
under the names that the model has, so that a checkpoint fits any strategy and any number of processes.
Its step exchanges gradients, measures their norm, asks the guard, and only then updates the weights.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from train.config import Run
from train.data.batches import Batch
from train.model.llama import PretrainModel
from train.parallel.world import World

Tensors = dict[str, Tensor]
# From the norm of the step's gradient before clipping: why the step must not reach the weights, "" if it may.
Judge = Callable[[float], str]


class State(NamedTuple):
    """Weights and AdamW's moments by parameter name: fp32 copies on the main process's CPU."""

    weights: Mapping[str, Tensor]
    exp_avg: Mapping[str, Tensor]
    exp_avg_sq: Mapping[str, Tensor]


class StepResult(NamedTuple):
    """What a step came to."""

    grad_norm: float  # before clipping
    fault: str  # why the weights were left alone, "" where they were updated
    layer_norms: dict[
        str, float
    ]  # of each parameter's gradient by name, of a faulty step, on the main process


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
        self.root: Any = self._wrap()

    def _wrap(self) -> Any:
        if self.world.size == 1:
            return self.model
        return nn.parallel.DistributedDataParallel(
            self.model, gradient_as_bucket_view=True, broadcast_buffers=False
        )

    # ---------------------------------------------------------------- what the loop calls

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

    @torch.no_grad()
    def step(self, lr: float, judge: Judge = lambda norm: "") -> StepResult:
        """Ask the judge; clip and update the weights, or leave them alone; clear the gradients."""
        gradients = self._gradients()
        # In fp64: torch's own fp32 norm of a large matrix on the CPU is off by 6e-6.
        squares = [torch.linalg.vector_norm(g, dtype=torch.float64) ** 2 for g in gradients]
        norm = float(self._sum_of_shares(torch.stack(squares).sum()).sqrt())
        fault = judge(norm)
        # One process that withheld its update alone would part from the others for good.
        if self.world.any(bool(fault)):
            layer_norms = self._layer_norms()
            self._update(False)
            return StepResult(norm, fault or "a fault that another process saw", layer_norms)
        clip = self.run.recipe.clip_grad_norm
        if clip is not None and norm > clip:
            torch._foreach_mul_(gradients, clip / norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._update(True)
        return StepResult(norm, "", {})

    @torch.no_grad()
    def evaluate(self, input_ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Each sequence's loss sum in nats (B)."""
        return self._forward(input_ids_BT, targets_BT)[1]

    @torch.no_grad()
    def state(self) -> State:
        """Copies of weights and moments on the main process. All processes must call it."""
        weights = self.model.named_weights()
        moments = {key: {n: self._moment(w, key) for n, w in weights.items()} for key in State._fields[1:]}
        return State(self._whole(weights), *(self._whole(tensors) for tensors in moments.values()))

    @torch.no_grad()
    def load(self, state: State, updates: int) -> None:
        """Take over the state that an optimiser had after `updates` updates."""
        for name, weight in self.model.named_weights().items():
            self._share_of(weight).copy_(self._cut(state.weights[name]))
            moments = {key: torch.zeros_like(weight) for key in State._fields[1:]}
            for key, moment in moments.items():
                self._share_of(moment).copy_(self._cut(getattr(state, key)[name]))
            self.optimizer.state[weight] = {"step": self._step_tensor(updates), **moments}

    # ---------------------------------------------------------------- what strategies do differently

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        bf16 = self.run.recipe.precision == "bf16"
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=bf16):
            return self.root(input_ids_BT, targets_BT)

    def _gradients(self) -> list[Tensor]:
        """This process's share of the exchanged gradients, for reading and scaling in place."""
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        return [self._share_of(gradient) for gradient in gradients]

    def _sum_of_shares(self, tensor: Tensor) -> Tensor:
        """A sum over the processes' shares of the gradients, from one over this process's share."""
        return tensor

    def _layer_norms(self) -> dict[str, float]:
        """Norm of each parameter's gradient, on the main process."""
        gradients = {n: w.grad for n, w in self.model.named_weights().items() if w.grad is not None}
        return {name: float(g.double().norm()) for name, g in self._whole(gradients).items()}

    def _update(self, wanted: bool) -> None:
        """Let the optimiser update the weights if that is wanted; clear the gradients."""
        if wanted:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _whole(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Copies of whole tensors on the main process's CPU, from what each process holds of them."""
        if not self.world.is_main:
            return {}
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def _share_of(self, tensor: Tensor) -> Tensor:
        """The memory that holds this process's share of a tensor of the model or the optimiser."""
        return tensor.detach()

    def _cut(self, whole: Tensor) -> Tensor:
        """This process's share of a whole tensor."""
        return whole

    def _moment(self, weight: Tensor, key: str) -> Tensor:
        moment = self.optimizer.state.get(weight, {}).get(key)
        return torch.zeros_like(weight) if moment is None else moment

    def _step_tensor(self, updates: int) -> Tensor:
        """AdamW's own count of updates; the fused one keeps it beside the weights."""
        fused = self.optimizer.param_groups[0].get("fused")
        return torch.tensor(float(updates), device=self.world.device if fused else "cpu")
