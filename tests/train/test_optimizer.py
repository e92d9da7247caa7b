"""The learning rate of each step, which weights decay, and which Muon updates."""

import pytest
import torch

from configs.loader import CONFIGS
from train.config import Run, load_run
from train.model.llama import build_model
from train.optimizer import learning_rate, make_optimizer


def run_with(name: str = "run20", **values: object) -> Run:
    return load_run(CONFIGS / "runs" / f"{name}.yaml", "demo", overrides=dict(values))


def test_the_warm_up_rises_linearly_to_the_learning_rate() -> None:
    run = run_with()
    peak = run.warmup_steps
    assert learning_rate(run, 1) == pytest.approx(run.recipe.lr / peak)
    assert learning_rate(run, peak // 2) == pytest.approx(run.recipe.lr / 2)
    assert learning_rate(run, peak) == pytest.approx(run.recipe.lr)


def test_the_cosine_reaches_its_minimum_at_the_last_step() -> None:
    run = run_with()
    rates = [learning_rate(run, step) for step in range(run.warmup_steps, run.steps_total + 1)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1 * run.recipe.lr)
    middle = (run.warmup_steps + run.steps_total) // 2
    assert learning_rate(run, middle) == pytest.approx(0.55 * run.recipe.lr)


def test_a_constant_rate_stays() -> None:
    run = run_with("run23")
    assert learning_rate(run, run.steps_total) == run.recipe.lr


def test_without_a_warm_up_the_first_step_has_the_full_learning_rate() -> None:
    assert learning_rate(run_with("run23", warmup_tokens=0), 1) == run_with("run23").recipe.lr


def test_matrices_are_decayed_and_norms_are_not() -> None:
    run = run_with()
    model = build_model(run.model, 0)
    decayed, spared = make_optimizer(model, run, torch.device("cpu")).param_groups
    assert all(weight.ndim == 2 for weight in decayed["params"])
    assert all(weight.ndim == 1 for weight in spared["params"])
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(spared["params"]) == len(model.named_weights())


# ---------------------------------------------------------------- Muon


def after_a_step(**values: object) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights before and after an update whose gradients are random."""
    run = run_with(weight_decay=0.0, **values)
    model = build_model(run.model, 0)
    weights = model.named_weights()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for name, weight in weights.items():
        generator = torch.Generator().manual_seed(len(name))
        weight.grad = torch.randn(weight.shape, generator=generator)
    make_optimizer(model, run, torch.device("cpu")).step()
    return before, {name: weight.detach() for name, weight in weights.items()}


def test_muon_updates_the_matrices_of_layers_and_adamw_the_rest() -> None:
    before, by_muon = after_a_step(optimizer="muon", lr=0.01)
    _, by_adamw = after_a_step(lr=0.01)
    same = {name for name in before if torch.equal(by_muon[name], by_adamw[name])}
    matrices = {name for name, weight in before.items() if ".layers." in name and weight.ndim == 2}
    assert len(matrices) == 7 * run_with().model.num_hidden_layers
    assert same == set(before) - matrices


def test_an_update_of_muon_is_orthogonal_and_as_large_as_one_of_adamw() -> None:
    before, after = after_a_step(optimizer="muon", lr=0.01)
    name = "model.layers.0.mlp.up_proj.weight"
    update = (after[name] - before[name]).double()
    assert float(update.square().mean().sqrt()) == pytest.approx(0.2 * 0.01, rel=0.2)  # AdamW's usual size
    singular = torch.linalg.svdvals(update)
    assert float(singular.max() / singular.min()) < 2  # of a random matrix of this shape: 10 or more


def test_weight_decay_is_the_same_for_both_optimisers() -> None:
    run = run_with(optimizer="muon")
    groups = make_optimizer(build_model(run.model, 0), run, torch.device("cpu")).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1]
    assert {group["lr"] for group in groups} == {run.recipe.lr}
