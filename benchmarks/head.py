"""Memory of the vocabulary head: `python benchmarks/head.py [--tokens 8192] [--record]`.

The process runs forward and backward pass of the chunked cross-entropy for a vocabulary of 102,400 and
compares its peak memory with the logits that a full cross-entropy would hold. Gradients are subtracted,
because every head has them. Loss and gradients are compared with those of torch's own cross-entropy, computed
in blocks of rows. Out: one JSON line; with --record also analysis/measurements/head_memory.json.
"""

import argparse
import json
import resource

import torch
import torch.nn.functional as F

from benchmarks.measure import record
from train.model.loss import CPU_CHUNK_TOKENS, IGNORE, chunked_cross_entropy

VOCABULARY = 102_400
HIDDEN = 64  # hidden size; the memory of the logits does not depend on it
REFERENCE_ROWS = 512  # rows of the reference at a time, so that it fits into memory, too


def peak_bytes() -> int:
    """Peak resident memory of this process; ru_maxrss is in kilobytes on Linux (getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(n_tokens: int) -> dict[str, float]:
    """Peak memory of the head as a share of full logits, and relative errors of loss and gradients."""
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(n_tokens, HIDDEN, generator=random).requires_grad_()
    weight = (torch.randn(VOCABULARY, HIDDEN, generator=random) / 8).requires_grad_()
    targets = torch.randint(VOCABULARY, (n_tokens,), generator=random)
    targets[::11] = IGNORE
    before = peak_bytes()
    loss, _ = chunked_cross_entropy(hidden, weight, targets, CPU_CHUNK_TOKENS)
    (loss / n_tokens).backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    gradient_bytes = sum(
        t.grad.numel() * t.grad.element_size() for t in (hidden, weight) if t.grad is not None
    )
    peak = peak_bytes() - before - gradient_bytes
    ours = loss.detach() / n_tokens, hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, n_tokens, REFERENCE_ROWS):
        rows = slice(start, start + REFERENCE_ROWS)
        part = F.cross_entropy(hidden[rows] @ weight.T, targets[rows], ignore_index=IGNORE, reduction="sum")
        (part / n_tokens).backward()
        total += part.detach().double() / n_tokens
    theirs = total, hidden.grad, weight.grad
    names = ("loss", "hidden_gradient", "weight_gradient")
    differences = {
        f"{name}_difference": float((a.double() - b.double()).norm() / b.double().norm())
        for name, a, b in zip(names, ours, theirs, strict=True)
    }
    full = n_tokens * VOCABULARY * 4
    return {
        "tokens": n_tokens,
        "vocabulary": VOCABULARY,
        "chunk_tokens": CPU_CHUNK_TOKENS,
        "full_logits_mib": full / 2**20,
        "peak_mib": peak / 2**20,
        "peak_share_of_full_logits": peak / full,
        **differences,
    }


def main() -> None:
    """Print the figures; with --record, also write them to analysis/measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=int, default=8192, help="default: 8192")
    parser.add_argument("--record", action="store_true", help="write analysis/measurements/head_memory.json")
    arguments = parser.parse_args()
    figures = measure(arguments.tokens)
    print(json.dumps(figures))
    if arguments.record:
        record("head_memory", figures, ["torch"])


if __name__ == "__main__":
    main()
