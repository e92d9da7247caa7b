"""The learning rate of each step, and which weights decay."""

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
