"""Recomputation and compilation change memory and time but not results; settings are set and reset."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import run_script
from tests.train.checkpoint.test_checkpoint import demo_run
from train.model.execution import prepare_layers, set_numerics
from train.model.llama import PretrainModel, build_model


def gradients(**values: Any) -> tuple[float, dict[str, torch.Tensor], int]:
    """(loss, gradient of each weight, FLOPs of products) of the demo model under an option."""
    run = demo_run(**values)
    model = build_model(run.model, init_seed=0)
    prepare_layers(model, run.recipe)
    tokens = torch.randint(2048, (2, 33), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        loss, _ = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
    return float(loss.detach()), named_gradients(model), counter.get_total_flops()


def named_gradients(model: PretrainModel) -> dict[str, torch.Tensor]:
    return {name: w.grad for name, w in model.named_weights().items() if w.grad is not None}


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_changes_no_bit(recompute: str) -> None:
    loss, expected, _ = gradients()
    ours, found, _ = gradients(recompute=recompute)
    assert ours == loss
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_selective_recomputation_repeats_no_product_and_full_does() -> None:
    plain, selective, full = (gradients(recompute=mode)[2] for mode in ("none", "selective", "full"))
    assert plain == selective
    assert full > 1.05 * plain


@pytest.mark.slow
def test_compiled_layers_keep_their_names_and_give_the_same_results() -> None:
    loss, expected, _ = gradients()
    ours, found, _ = gradients(compile=True)
    assert ours == pytest.approx(loss, rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 1e-4 * gradient.norm(), name


@pytest.fixture
def switches_restored() -> Iterator[None]:
    yield
    set_numerics(demo_run().recipe)


@pytest.mark.usefixtures("switches_restored")
def test_numerical_settings_follow_the_recipe() -> None:
    set_numerics(demo_run().recipe)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.are_deterministic_algorithms_enabled()
    set_numerics(demo_run(tf32=True, deterministic=True).recipe)
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.are_deterministic_algorithms_enabled()


def test_execution_settings_do_not_change_the_hash_of_a_run() -> None:
    same = demo_run(recompute="full", compile=True, deterministic=True, strategy="fsdp")
    assert same.sha256() == demo_run().sha256()
    assert demo_run(spike_sigma=6.0).sha256() != demo_run().sha256()


@pytest.mark.slow
def test_the_head_takes_at_most_a_quarter_of_the_memory_of_full_logits() -> None:
    # `python -m benchmarks.head` takes 8,192 tokens; with half as many the share can only be larger.
    figures = json.loads(run_script("-m", "benchmarks.head", "--tokens", "4096").stdout)
    assert figures["peak_share_of_full_logits"] <= 0.25
    assert max(value for key, value in figures.items() if key.endswith("_difference")) < 1e-5
