"""Cross-entropy of a linear head that never holds all logits.

For 24,576 tokens and a vocabulary of 102,400, the fp32 logits alone would take 10 GB. `chunked_cross_entropy`
takes the tokens in chunks and computes the gradients in the forward pass, so only the logits of one chunk
exist at a time.
"""

from typing import Any

import torch
from torch import Tensor

IGNORE = -100  # a target without a loss (the default ignore_index of torch's cross_entropy)
# Each chunk reads and writes the head's V x D gradient once: 0.84 GB in fp32 for 102,400 x 2,048. With chunks
# of 256 tokens, an A100 (2 TB/s) spends 40 ms of the 680 ms of a micro-batch of 12,288 tokens on that; with
# chunks of 2,048 it spends 5 ms, and their logits take 0.84 GB instead of 0.1. These figures are calculated.
# On two CPU cores, chunks above 256 tokens were measured to be no faster.
CPU_CHUNK_TOKENS, CUDA_CHUNK_TOKENS = 256, 2048


def default_chunk_tokens(device: torch.device) -> int:
    """Tokens of a chunk on a device if the recipe does not set them."""
    return CUDA_CHUNK_TOKENS if device.type == "cuda" else CPU_CHUNK_TOKENS


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
            # fp32 even for bf16 weights, because it sums up N / chunk_tokens products.
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
                # d loss / d logits = softmax(logits) - one_hot(target), written over the logits
                grad_CV = logits_CV.sub_(log_z_C.unsqueeze(1)).exp_()
                grad_CV.scatter_add_(1, rows_C1, torch.full_like(rows_C1, -1, dtype=torch.float32))
                grad_CV = grad_CV.mul_(counted_C.unsqueeze(1)).to(hidden_ND.dtype)
                grad_hidden_ND[chunk] = grad_CV @ weight_VD
                _add_product(grad_weight_VD, grad_CV.T, hidden_CD)
                del grad_CV
            del logits_CV  # otherwise it would live until the next chunk's logits are there
        if with_gradient:
            ctx.save_for_backward(grad_hidden_ND, grad_weight_VD)
            ctx.master_dtype = master_dtype
        ctx.mark_non_differentiable(losses_N)
        return losses_N.sum(), losses_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        scale = grad_outputs[0]
        # In place, because a copy of the head's gradient takes 0.8 GB. Backward is called once.
        return grad_hidden_ND.mul_(scale), grad_weight_VD.mul_(scale).to(ctx.master_dtype), None, None, None


def chunked_cross_entropy(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk_tokens: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a linear head without ever holding all N x V logits.

    Returns the sum over the tokens whose target is not IGNORE (nats, scalar, fp32, differentiable) and each
    token's own loss (N, fp32, not differentiable). Logits are computed in the dtype of `hidden_ND`, all sums
    in fp32. Under `torch.no_grad()` no gradient is computed.
    """
    with_gradient = torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad)
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, targets_N, with_gradient, chunk_tokens)


def _add_product(total_VD: Tensor, a_VC: Tensor, b_CD: Tensor) -> None:
    """total += a @ b, in one pass over the fp32 `total` if the device can do that."""
    if a_VC.dtype == total_VD.dtype:
        torch.addmm(total_VD, a_VC, b_CD, out=total_VD)
    elif total_VD.is_cuda:
        torch.addmm(total_VD, a_VC, b_CD, out_dtype=total_VD.dtype, out=total_VD)
    else:  # on CPUs, addmm has no out_dtype
        total_VD += a_VC @ b_CD
