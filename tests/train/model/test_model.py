"""The chunked loss, initial weights and rotary frequencies."""

import subprocess
import sys
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from configs.loader import CONFIGS, read_yaml, validate
from tests.conftest import ROOT
from train.model.llama import ModelConfig, build_model, rope_frequencies
from train.model.loss import IGNORE, chunked_cross_entropy

N, D, V = 50, 16, 97


@pytest.fixture(scope="module")
def demo() -> ModelConfig:
    return validate(ModelConfig, read_yaml(CONFIGS / "models" / "demo.yaml"), "demo")


def head(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, D, generator=random).to(dtype).requires_grad_()
    weight = torch.randn(V, D, generator=random).to(dtype).requires_grad_()
    targets = torch.randint(V, (N,), generator=random)
    targets[::7] = IGNORE
    return hidden, weight, targets


@pytest.mark.parametrize("chunk_tokens", [1, 7, N, 1000])
def test_loss_and_gradients_equal_the_full_cross_entropy(chunk_tokens: int) -> None:
    hidden, weight, targets = head()
    loss, losses = chunked_cross_entropy(hidden, weight, targets, chunk_tokens)
    (3 * loss).backward()
    ours = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    full = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORE, reduction="none")
    (3 * full.sum()).backward()
    torch.testing.assert_close(loss, full.sum(), rtol=1e-5, atol=0)
    torch.testing.assert_close(losses, full.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, (hidden.grad, weight.grad), rtol=1e-5, atol=1e-5)


def test_bf16_states_over_fp32_weights_give_fp32_weight_gradients_within_one_percent() -> None:
    hidden, weight, targets = head()
    loss, _ = chunked_cross_entropy(hidden.bfloat16(), weight, targets, 7)
    loss.backward()
    assert loss.dtype == weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    ours, weight.grad = weight.grad, None
    F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORE, reduction="sum").backward()
    assert (ours - weight.grad).norm() < 0.01 * weight.grad.norm()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_gradient_is_computed_under_no_grad(wanted: bool) -> None:
    hidden, weight, targets = head()
    with torch.set_grad_enabled(wanted), FlopCounterMode(display=False) as counter:
        loss, _ = chunked_cross_entropy(hidden, weight, targets, 16)
    assert loss.requires_grad is wanted
    # One matrix product for the logits, and one for the gradient of each factor.
    assert counter.get_total_flops() == (3 if wanted else 1) * 2 * N * D * V


@pytest.mark.parametrize("autocast", [True, False])
def test_the_head_multiplies_in_bf16_under_autocast(demo: ModelConfig, autocast: bool) -> None:
    model = build_model(demo, init_seed=0)
    tokens = torch.zeros((1, 8), dtype=torch.int64)
    with (
        mock.patch("train.model.llama.chunked_cross_entropy", wraps=chunked_cross_entropy) as head,
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model(tokens, tokens)[0].backward()
    assert (head.call_args.args[0].dtype == torch.bfloat16) is autocast
    gradient = model.llama.lm_head.weight.grad
    assert gradient is not None
    assert gradient.dtype == torch.float32


def test_losses_of_sequences_add_up_and_match_those_from_the_library(demo: ModelConfig) -> None:
    model = build_model(demo, init_seed=0)
    tokens = torch.randint(demo.vocab_size, (3, 17), generator=torch.Generator().manual_seed(1))
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[1, 5:] = IGNORE
    loss, losses = model(inputs, targets)
    logits = model.llama(input_ids=inputs).logits
    full = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none")
    torch.testing.assert_close(losses, full.view(3, -1).sum(1).detach(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(loss.detach(), losses.sum())


def test_initial_weights_depend_on_the_seed_alone(demo: ModelConfig) -> None:
    one = build_model(demo, init_seed=5).named_weights()
    torch.rand(10)  # changes the state of the global generator
    again, other = (build_model(demo, init_seed=seed).named_weights() for seed in (5, 6))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_tied_head_is_one_parameter_with_the_embedding(demo: ModelConfig) -> None:
    names = build_model(demo, init_seed=0).named_weights()
    assert "lm_head.weight" not in names
    untied = build_model(demo.model_copy(update={"tie_word_embeddings": False}), init_seed=0)
    assert "lm_head.weight" in untied.named_weights()


def test_rotary_frequencies_are_found_and_fp32(demo: ModelConfig) -> None:
    frequencies = rope_frequencies(build_model(demo, init_seed=0))
    assert frequencies
    assert all(buffer.dtype == torch.float32 for buffer in frequencies.values())


# ---------------------------------------------------------------- documents in one window


def test_bf16_chunks_add_up_to_nearly_one_fp32_product() -> None:
    hidden, weight, targets = head(torch.bfloat16)
    gradients = []
    for chunk_tokens in (5, N):
        loss, _ = chunked_cross_entropy(hidden, weight, targets, chunk_tokens)
        (gradient,) = torch.autograd.grad(loss, weight)
        gradients.append(gradient.float())
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[1].norm()


@pytest.mark.gpu
def test_bf16_products_are_summed_in_fp32_on_cuda() -> None:
    hidden, weight, targets = (tensor.detach().cuda() for tensor in head(torch.bfloat16))
    weight.requires_grad_()
    loss, _ = chunked_cross_entropy(hidden, weight, targets, 5)
    (ours,) = torch.autograd.grad(loss, weight)
    full = F.cross_entropy(hidden.float() @ weight.float().T, targets, ignore_index=IGNORE, reduction="sum")
    (reference,) = torch.autograd.grad(full, weight)
    assert (ours.float() - reference.float()).norm() < 0.01 * reference.float().norm()


def test_what_needs_only_the_shape_does_not_import_the_library() -> None:
    modules = ("train.pretrain", "train.plan", "train.study", "train.chain")
    code = f"import sys, {', '.join(modules)}; sys.exit('transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
