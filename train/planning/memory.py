"""Memory of one device during a training step, by part, in bytes.

What is kept for the backward pass follows from the operations of transformers' Llama layers and is counted,
not fitted: tests compare it with autograd's saved tensors and with the allocator's peaks on CPUs. The states
of every strategy were read off the allocator in the same way. D is the width, F that of the MLP.
"""

from typing import Literal, NamedTuple

from configs.loader import UserError
from train.config import DOMAINS, Run
from train.model.llama import ModelConfig, count_parameters
from train.model.loss import CPU_CHUNK_TOKENS, CUDA_CHUNK_TOKENS
from train.optimizer import why_refused
from train.parallel.zero import BUCKET_ELEMENTS

# fp32: everything in fp32. bf16: everything in bf16, beside fp32 copies where the strategy has them.
# autocast: fp32 weights and residuals, bf16 matrix products; so `ddp` and a single process do bf16.
Arithmetic = Literal["fp32", "bf16", "autocast"]

# Bytes per token that a layer keeps, as multiples of D and F. A norm keeps its input in fp32, the normalised
# input and its output (the input of the products behind it); attention keeps queries, keys, values and its
# output; the MLP keeps gate, up, silu(gate) and their product. Under autocast each product keeps its own bf16
# copy of an fp32 input. The log-sum-exp of the attention (4 bytes a head) and the norms' scales come on top.
KEPT: dict[str, dict[Arithmetic, tuple[int, int]]] = {
    "none": {"fp32": (40, 16), "bf16": (24, 8), "autocast": (34, 8)},
    # results of the matrix products and of the attention, and the layer's input
    "selective": {"fp32": (28, 8), "bf16": (14, 4), "autocast": (16, 4)},
    "full": {"fp32": (4, 0), "bf16": (2, 0), "autocast": (4, 0)},  # the layer's input
}
# Bytes per token of gradients that exist at once in the backward pass of a layer, in the same way: two of the
# residual stream, and in the MLP those of product, gate and up, when the product itself is gone.
BACKWARD: dict[Arithmetic, tuple[int, int]] = {"fp32": (8, 8), "bf16": (4, 4), "autocast": (8, 4)}

ZERO3_LIVE_PARAMETERS = 1e9  # that DeepSpeed keeps gathered if they are used again: its default

# Assumed, until `make bench-gpu` has measured them: the CUDA context with the workspaces of cuBLAS and NCCL,
# and the share of memory that the caching allocator cannot use.
CONTEXT_BYTES = 1.5 * 2**30
FRAGMENTATION = 0.03


class Memory(NamedTuple):
    """Memory of one device in bytes. `held` stays from step to step; the rest comes and goes in a step."""

    held: dict[str, float]  # weights, gradients and moments, by part
    activations: float  # what the layers keep for the backward pass
    head: float  # logits of a chunk, the head's gradient and the last norm, at the end of the forward pass
    backward: float  # gradients of activations and a recomputed layer
    exchange: float  # buckets in which gradients are exchanged while activations are there
    update: float  # copies for the norm and buckets, when no activations are there

    @property
    def computing(self) -> float:
        """The peak of forward and backward pass."""
        return sum(self.held.values()) + self.activations + max(self.head, self.backward) + self.exchange

    @property
    def peak(self) -> float:
        """The most bytes in tensors at any time."""
        return max(self.computing, sum(self.held.values()) + self.update)

    @property
    def reserve(self) -> float:
        """What a GPU needs beside tensors: assumed, see above."""
        return CONTEXT_BYTES + FRAGMENTATION * self.peak


def plan_memory(run: Run, devices: int, on_cuda: bool = True) -> Memory:
    """Memory of one of `devices` on which the run trains with its micro-batch.

    `on_cuda`: with the kernels of GPUs; on CPUs mixed sums need copies. Raises UserError for a strategy that
    it does not know or that refuses the recipe's optimiser.
    """
    model, recipe = run.model, run.recipe
    strategy = recipe.strategy if devices > 1 and recipe.strategy != "accelerate" else "ddp"
    arithmetic: Arithmetic = "fp32"
    if recipe.precision != "fp32":  # fp16 takes as much as bf16
        arithmetic = "autocast" if strategy == "ddp" else "bf16"
    if devices > 1 and (refused := why_refused(recipe, strategy)):
        raise UserError(f"{run.run_id}: {refused}")
    tokens = recipe.micro_batch_size * recipe.sequence_length
    held, exchange, update = _states(run, strategy, devices)
    return Memory(
        held=held,
        activations=activation_bytes(model, recipe.recompute, arithmetic, tokens),
        head=head_bytes(model, arithmetic, tokens) + _head_workspace(run, arithmetic, tokens, on_cuda),
        backward=_backward(model, recipe.recompute, arithmetic, tokens),
        exchange=exchange,
        update=update,
    )


def activation_bytes(model: ModelConfig, recompute: str, arithmetic: Arithmetic, tokens: int) -> float:
    """What all layers together keep for the backward pass."""
    kept = tokens * model.num_hidden_layers * _layer(model, recompute, arithmetic)
    if arithmetic == "autocast" and recompute == "none":
        kept += _cast_matrices(model)
    return kept


def head_bytes(model: ModelConfig, arithmetic: Arithmetic, tokens: int) -> float:
    """What last norm and head keep for the backward pass: the head's gradients are among it."""
    own = 4 if arithmetic == "fp32" else 2
    # The norm keeps its fp32 input and the normalised input.
    norm = {"fp32": 4 + 4, "bf16": 4 + 2, "autocast": 4 + 4}[arithmetic]
    return 4.0 * model.vocab_size * model.hidden_size + (own + norm) * tokens * model.hidden_size


def _layer(model: ModelConfig, recompute: str, arithmetic: Arithmetic) -> float:
    """Bytes per token that one layer keeps."""
    width, mlp = KEPT[recompute][arithmetic]
    small = {"none": 4 * model.num_attention_heads + 8, "selective": 4 * model.num_attention_heads, "full": 0}
    return width * model.hidden_size + mlp * model.intermediate_size + small[recompute]


def _layer_parameters(model: ModelConfig) -> int:
    """Parameters of a layer's seven matrices."""
    return 4 * model.hidden_size**2 + 3 * model.hidden_size * model.intermediate_size


def moment_count(run: Run) -> int:
    """Numbers that the optimiser keeps: AdamW two for each parameter, Muon one for each of its own."""
    by_muon = run.model.num_hidden_layers * _layer_parameters(run.model)
    return 2 * count_parameters(run.model) - (by_muon if run.recipe.optimizer == "muon" else 0)


def _cast_matrices(model: ModelConfig) -> int:
    """The bf16 copies of the layers' matrices, which autocast keeps to the end of the forward pass."""
    return 2 * model.num_hidden_layers * _layer_parameters(model)


def _head_workspace(run: Run, arithmetic: Arithmetic, tokens: int, on_cuda: bool) -> float:
    """What exists only while the head is at work."""
    model, recipe = run.model, run.recipe
    chunk = min(tokens, recipe.head_chunk_tokens or (CUDA_CHUNK_TOKENS if on_cuda else CPU_CHUNK_TOKENS))
    head, logits = model.vocab_size * model.hidden_size, model.vocab_size * chunk
    workspace = 8.0 * logits  # fp32 logits, and a copy inside of logsumexp
    if arithmetic != "fp32" and not on_cuda:
        workspace = max(workspace, 6.0 * logits + 6 * head)  # a bf16 product is copied to be added to fp32
    if arithmetic == "autocast":
        workspace += 2 * head  # its bf16 copy
        workspace += 0 if recipe.recompute == "none" else _cast_matrices(model)
    output = {"fp32": 4, "bf16": 2, "autocast": 4 + 2}[arithmetic]  # of the last norm
    return workspace + output * tokens * model.hidden_size


def _backward(model: ModelConfig, recompute: str, arithmetic: Arithmetic, tokens: int) -> float:
    """Gradients inside of a layer, and what recomputation brings back of it.

    The last layer has the most around it. The head's gradients are gone by then.
    """
    width, mlp = BACKWARD[arithmetic]
    back = _layer(model, "none", arithmetic) - _layer(model, recompute, arithmetic)
    return tokens * (width * model.hidden_size + mlp * model.intermediate_size + back)


def _states(run: Run, strategy: str, devices: int) -> tuple[dict[str, float], float, float]:
    """(parts held from step to step, exchange buckets beside activations, copies while updating)."""
    parameters = float(count_parameters(run.model))
    largest = float(run.model.vocab_size * run.model.hidden_size)
    shard = parameters / devices
    moments = 4.0 * moment_count(run)
    bucket = min(float(BUCKET_ELEMENTS), parameters)
    accumulates = run.grad_accum_steps(devices) > 1
    own = 4 if run.recipe.precision == "fp32" else 2
    if strategy == "ddp":
        held = {"weights": 4 * parameters, "gradients": 4 * parameters, "moments": moments}
        if run.recipe.gradient_surgery == "pcgrad":
            held["gradients of the domains"] = 4 * parameters * len(DOMAINS)
        return held, 0, 8 * largest
    if strategy == "fsdp":
        gathered = own * (largest + _layer_parameters(run.model))  # of the root and of one layer
        held = {
            "shard of weights": 4 * shard,
            "gathered weights": gathered,
            # Without an exchange after each micro-batch, gradients are summed up unsharded.
            "gradients": 4 * parameters if accumulates else 4 * shard,
            "shard of moments": moments / devices,
        }
        return held, 0, 4 * shard + 8 * largest / devices
    master = {"shard of fp32 weights, moments": 12 * shard}
    if strategy == "zero1" and own == 2:
        held = {"weights": 2 * parameters, "gradients": 2 * parameters, "fp32 gradient sums": 4 * parameters}
        return held | master, 0, max(4 * bucket, 8 * shard)
    if strategy == "zero1":
        held = {"weights": 4 * parameters, "gradients": 4 * parameters} | master
        return held, 4 * bucket * (2 if accumulates else 1), 8 * shard
    if strategy == "zero2":
        held = {"weights": own * parameters, "shard of fp32 gradient sums": 4 * shard}
        return held | master, own * bucket, 8 * shard
    if strategy == "zero3":
        held = {
            "shard of weights": own * shard,
            "gathered weights": own * min(parameters, ZERO3_LIVE_PARAMETERS),
            "shard of fp32 gradient sums": 4 * shard,
        }
        return held | master, own * bucket, 8 * shard
    raise UserError(f"{run.run_id}: strategy {strategy}: the plan knows no memory of it: pass strategy=zero1")
