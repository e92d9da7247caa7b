"""The model: Llama as the transformers library builds it, with a loss of our own.

The library's own model keeps every consumer working without a conversion (export, `generate`, vLLM,
lm-eval). What it lacks is a head that fits into memory: at 24,576 tokens and a vocabulary of 102,400 the
fp32 logits alone are 10 GB. `chunked_cross_entropy` goes over the tokens in pieces and forms the
gradients on the way, so that the logits of one piece are all that exists.

Shapes: B sequences, T positions, N = B * T tokens, D hidden size, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from configs.loader import Config

IGNORE = -100  # a target that counts for nothing (torch's own convention)
LOSS_CHUNK_TOKENS = (
    256  # 256 x 102,400 fp32 logits are 105 MB; larger pieces are no faster on the devices measured
)


class ModelConfig(Config):
    """Shape of a model; names are those of `transformers.LlamaConfig`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    tie_word_embeddings: bool
    max_position_embeddings: int = 4096  # the paper's context; training sees `sequence_length` of it
    rope_theta: float = 10_000.0  # Llama 1 and 2
    rms_norm_eps: float = 1e-5  # Llama 2
    initializer_range: float = 0.02  # Llama's

    def llama(self) -> LlamaConfig:
        """The library's configuration of this shape."""
        shape = self.model_dump(exclude={"rope_theta"})
        return LlamaConfig(
            **shape,
            num_key_value_heads=self.num_attention_heads,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            use_cache=False,
            bos_token_id=None,
            pad_token_id=None,
        )

    def flops_per_token(self, parameters: int, sequence_length: int) -> float:
        """FLOPs of forward and backward for one token: 6N + 12 L d T (Chowdhery et al. 2022, appendix B)."""
        return 6.0 * parameters + 12.0 * self.num_hidden_layers * self.hidden_size * sequence_length


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies of N tokens; see `chunked_cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        with_gradient: bool,
        chunk_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        losses_N = torch.zeros(len(targets_N), dtype=torch.float32, device=hidden_ND.device)
        master_dtype = weight_VD.dtype
        weight_VD = weight_VD.to(hidden_ND.dtype)  # under autocast the weight is fp32, the hidden states bf16
        if with_gradient:
            grad_hidden_ND = torch.empty_like(hidden_ND)
            # fp32 even for bf16 weights: it is a sum of N / chunk_tokens addends.
            grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32)
        for start in range(0, len(targets_N), chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            hidden_CD, targets_C = hidden_ND[chunk], targets_N[chunk]
            logits_CV = (hidden_CD @ weight_VD.T).float()
            counted_C = targets_C != IGNORE
            rows_C1 = torch.where(counted_C, targets_C, 0).unsqueeze(1)
            log_z_C = logits_CV.logsumexp(dim=1)
            losses_N[chunk] = (log_z_C - logits_CV.gather(1, rows_C1).squeeze(1)) * counted_C
            if with_gradient:
                # d loss / d logits = softmax - one-hot, in the memory of the logits
                grad_CV = logits_CV.sub_(log_z_C.unsqueeze(1)).exp_()
                grad_CV.scatter_add_(1, rows_C1, torch.full_like(rows_C1, -1, dtype=torch.float32))
                grad_CV = grad_CV.mul_(counted_C.unsqueeze(1)).to(hidden_ND.dtype)
                grad_hidden_ND[chunk] = grad_CV @ weight_VD
                grad_weight_VD += grad_CV.T @ hidden_CD
        if with_gradient:
            ctx.save_for_backward(grad_hidden_ND, grad_weight_VD)
            ctx.master_dtype = master_dtype
        ctx.mark_non_differentiable(losses_N)
        return losses_N.sum(), losses_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        scale = grad_outputs[0]
        # In place: a copy of the head's gradient is 0.8 GB, and nobody calls backward twice.
        return grad_hidden_ND.mul_(scale), grad_weight_VD.mul_(scale).to(ctx.master_dtype), None, None, None


def chunked_cross_entropy(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk_tokens: int = LOSS_CHUNK_TOKENS
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a linear head without ever holding all N x V logits.

    Returns the sum over the tokens whose target is not IGNORE (nats, differentiable) and each token's own
    loss (N, fp32, not differentiable). Logits are formed in the dtype of `hidden_ND`, all sums in fp32.
    No gradient is formed under `torch.no_grad()`.
    """
    with_gradient = torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad)
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, targets_N, with_gradient, chunk_tokens)


class PretrainModel(nn.Module):
    """Llama with the loss inside `forward`.

    The loss belongs here because DDP, ZeRO and FSDP gather parameters round the root's forward: a head used
    outside of it would see a shard.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.llama = LlamaForCausalLM(config.llama())
        self.document_end_id: int | None = None  # given: a token attends to its own document only

    def forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses (nats) over all targets but IGNORE, and that of each sequence (B, detached)."""
        positions_BT = None
        if self.document_end_id is not None:
            positions_BT = document_positions(input_ids_BT, self.document_end_id)
        # Positions that begin anew keep documents apart, but only without a cache and an attention mask:
        # then the library makes the mask of them. Without positions there is none, and attention is fast.
        hidden_BTD = self.llama.model(
            input_ids=input_ids_BT, position_ids=positions_BT, use_cache=False
        ).last_hidden_state
        loss_sum, losses_N = chunked_cross_entropy(
            hidden_BTD.flatten(0, 1), self.llama.lm_head.weight, targets_BT.flatten()
        )
        return loss_sum, losses_N.view_as(targets_BT).sum(dim=1)

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Each distinct parameter by its name in a Hugging Face checkpoint (a tied head is absent)."""
        return dict(self.llama.named_parameters())


def document_positions(input_ids_BT: Tensor, document_end_id: int) -> Tensor:
    """Position of each token in its own document, or in what of it the window holds (B, T, int64)."""
    index_T = torch.arange(input_ids_BT.shape[1], device=input_ids_BT.device)
    begins_BT = torch.zeros_like(input_ids_BT, dtype=torch.bool)
    begins_BT[:, 1:] = input_ids_BT[:, :-1] == document_end_id
    return index_T - torch.where(begins_BT, index_T, 0).cummax(dim=1).values


def build_model(config: ModelConfig, init_seed: int) -> PretrainModel:
    """Model with fp32 weights drawn from `init_seed` alone: the same on every rank and at any world size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return PretrainModel(config)


def count_parameters(config: ModelConfig) -> int:
    """Distinct parameters, counted on the meta device: nothing is allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in PretrainModel(config).parameters())


def rope_frequencies(model: nn.Module) -> dict[str, Tensor]:
    """The rotary frequencies of a model by buffer name. They must stay fp32: bf16 has 8 bits for an angle."""
    return {name: buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")}
