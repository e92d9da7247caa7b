"""Which steps the guard skips, when faults stop a run, and what report the run then writes."""

import json
import math
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from configs.loader import UserError
from tests.support.training import (
    pretrain_command,
    pretrain_here,
    read_rows,
    torchrun,
    write_corpus,
    write_tokenizer,
)
from train.checkpoint.load import newest_intact
from train.guard import MAX_FAULTS, WINDOW_STEPS, Guard, GuardState, deviation_above
from train.model.llama import PretrainModel, build_model

HALF = WINDOW_STEPS // 2


def guard_after(losses: list[float], norms: list[float], sigma: float | None = 6.0) -> Guard:
    guard = Guard(sigma, GuardState())
    for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), start=1):
        guard.record(step, loss, norm, guard.judge(loss, norm))
    return guard


def usual(n_steps: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """A falling loss with noise, and log-normal gradient norms, as in training."""
    random = np.random.default_rng(seed)
    falling = 3 + 5 * np.exp(-np.arange(n_steps) / 100)
    losses = falling * np.exp(0.02 * random.standard_normal(n_steps))
    return list(map(float, losses)), list(map(float, np.exp(0.3 * random.standard_normal(n_steps))))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient norm"])
@pytest.mark.parametrize("sigma", [None, 6.0])
def test_a_value_that_is_not_finite_is_a_fault_from_the_first_step_on(
    bad: float, where: str, sigma: float | None
) -> None:
    guard = Guard(sigma, GuardState())
    fault = guard.judge(bad, 1.0) if where == "loss" else guard.judge(3.0, bad)
    assert fault == f"the {where} is {bad}"


@pytest.mark.parametrize("seed", range(5))
def test_normal_training_has_no_spikes(seed: int) -> None:
    assert guard_after(*usual(1000, seed)).state.skipped == 0


@pytest.mark.parametrize(
    ("loss", "norm", "what"), [(4.5, 1.0, "loss"), (3.0, 20.0, "gradient norm")], ids=["loss", "norm"]
)
def test_a_spike_is_found_and_does_not_hide_the_next(loss: float, norm: float, what: str) -> None:
    guard = guard_after(*usual(800))
    for step in (801, 802, 803):
        fault = guard.judge(loss, norm)
        assert fault.startswith(f"the {what} is")
        assert "sigma above" in fault
        guard.record(step, loss, norm, fault)
    assert guard.judge(3.0, 1.0) == ""


def test_without_sigma_a_spike_is_no_fault() -> None:
    assert guard_after(*usual(800), sigma=None).judge(100.0, 1000.0) == ""


def test_a_sudden_fall_is_no_spike() -> None:
    assert guard_after(*usual(800)).judge(0.1, 1e-6) == ""


def test_spikes_are_not_judged_on_a_short_history() -> None:
    assert guard_after(*usual(HALF - 1)).judge(1000.0, 1000.0) == ""
    assert guard_after(*usual(HALF)).judge(1000.0, 1000.0) != ""


def test_deviations_match_the_standard_deviation_of_a_normal_distribution() -> None:
    history = list(map(float, np.random.default_rng(0).normal(5.0, 2.0, 100_000)))
    assert deviation_above(5.0 + 6 * 2.0, history) == pytest.approx(6.0, rel=0.02)


def test_the_history_survives_a_checkpoint() -> None:
    losses, norms = usual(300)
    straight = guard_after(losses, norms)
    first = guard_after(losses[:150], norms[:150])
    again = Guard(6.0, GuardState.model_validate_json(first.state.model_dump_json()))
    for step in range(151, 301):
        again.record(step, losses[step - 1], norms[step - 1], again.judge(losses[step - 1], norms[step - 1]))
    assert again.state == straight.state
    assert len(straight.state.log_losses) == WINDOW_STEPS


@pytest.mark.parametrize(("apart", "too_many"), [(1, True), (WINDOW_STEPS // MAX_FAULTS, True), (100, False)])
def test_only_faults_close_together_are_too_many(apart: int, too_many: bool) -> None:
    guard = Guard(None, GuardState())
    for step in range(1, MAX_FAULTS * apart + 1):
        fault = "nan" if step % apart == 0 else ""
        guard.record(step, 3.0, 1.0, fault)
    assert guard.too_many_faults == too_many
    assert guard.state.skipped == MAX_FAULTS


# ---------------------------------------------------------------- in a run


def spoiled_model(bad_steps: set[int]) -> Any:
    """`build_model`, but the loss of some steps is NaN (4 micro-batches a step; validation calls it, too)."""

    def build(*arguments: Any) -> PretrainModel:
        model = build_model(*arguments)
        forward, calls = model.forward, 0

        def spoiled(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            nonlocal calls
            loss_sum, losses_B = forward(*inputs)
            calls += model.training
            bad = model.training and (calls - 1) // 4 + 1 in bad_steps
            return (loss_sum * math.nan, losses_B * math.nan) if bad else (loss_sum, losses_B)

        model.forward = spoiled  # type: ignore[method-assign]
        return model

    return mock.patch("train.pretrain.build_model", build)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_tokenizer(data)
    return write_corpus(data)


def test_a_step_that_is_not_finite_is_logged_as_skipped_and_the_run_continues(
    corpus: Path, tmp_path: Path
) -> None:
    with spoiled_model({3, 7}):
        assert pretrain_here(corpus, tmp_path) == 0
    rows = {row["step"]: row for row in read_rows(tmp_path, "train")}
    assert [step for step, row in rows.items() if row["skipped"]] == [3, 7]
    assert rows[3]["loss_nats"] is rows[3]["grad_norm"] is None
    assert rows[3]["span_hash"]
    assert all(math.isfinite(rows[step]["loss_nats"]) for step in rows if step not in (3, 7))
    assert rows[20]["loss_nats"] < rows[1]["loss_nats"] - 0.1
    events = [(row["step"], row["event"]) for row in read_rows(tmp_path, "event")]
    assert [event for event in events if event[1] == "nan"] == [(3, "nan"), (7, "nan")]


def test_repeated_faults_stop_the_run_with_a_message_and_a_report(corpus: Path, tmp_path: Path) -> None:
    with (
        spoiled_model(set(range(8, 21))),
        pytest.raises(UserError, match="lower lr, and start again with --force") as error,
    ):
        pretrain_here(corpus, tmp_path)
    black_box = tmp_path / f"blackbox.step_{7 + MAX_FAULTS}.json"
    assert str(black_box) in str(error.value)
    assert read_rows(tmp_path, "event")[-1]["event"] == "gave_up"
    content = json.loads(black_box.read_text())
    assert content["fault"] == "the loss is nan"
    assert content["guard"]["fault_steps"] == list(range(8, 8 + MAX_FAULTS))
    assert content["grad_norm"] is None
    assert "model.layers.0.mlp.up_proj.weight" in content["layer_grad_norms"]
    sequences = content["sequences"]
    assert [row["sample"] for row in sequences] == list(range(11 * 8, 12 * 8))
    assert all(len(row["token_ids"]) == 33 and row["documents"] for row in sequences)
    assert any(
        row["text"] for row in sequences
    )  # most token ids of this corpus are beyond its tokenizer's vocabulary
    # The checkpoint on disk is from before the faults: without them the run finishes.
    assert pretrain_here(corpus, tmp_path) == 0
    assert read_rows(tmp_path, "train", restart=1)[0]["step"] == 11


@pytest.mark.slow
def test_no_process_exits_from_a_faulty_run_before_all_is_written(corpus: Path, tmp_path: Path) -> None:
    # Two processes with four micro-batches a step each, as `spoiled_model` counts them.
    _, *arguments = pretrain_command(corpus, tmp_path, strategy="ddp", micro_batch_size=1)
    done = torchrun(["-m", "tests.support.faulty_run_worker", *arguments])
    assert "number 5 within 128 steps" in done.stderr
    assert newest_intact(tmp_path / "checkpoints") == (tmp_path / "checkpoints" / "step_0000005", [])
    assert json.loads((tmp_path / "blackbox.step_10.json").read_text())["step"] == 10
    assert not list(tmp_path.glob(".blackbox*"))
