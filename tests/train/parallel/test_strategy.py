"""Which strategies are refused, and how fp16's loss scale changes, in a run, too."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from configs.loader import CONFIGS, UserError
from tests.support.training import KEEP_ALL, STEPS, pretrain_here, read_rows, values, write_corpus
from train.config import load_run
from train.guard import MAX_FAULTS
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.accelerated import why_refused
from train.parallel.loss_scale import GROWTH_STEPS, LARGEST, LossScale
from train.parallel.strategy import make_strategy
from train.parallel.world import World


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategy": "zero1"}, "fp16 has not been compared with one process under zero1"),
        ({"strategy": "zero3"}, "pass strategy=fsdp"),
        ({"strategy": "ddp", "gradient_surgery": "pcgrad"}, "pass precision=bf16 or fp32"),
    ],
    ids=["zero1", "zero3", "pcgrad"],
)
def test_fp16_is_refused_where_it_is_not_known_to_be_right(values: dict[str, Any], message: str) -> None:
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides={"precision": "fp16"} | values)
    two, model = World(rank=0, size=2, device=torch.device("cpu")), build_model(run.model, 0)
    with pytest.raises(UserError, match=message):
        make_strategy(model, make_optimizer(model, run, two.device), two, run, 1)


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_muon_is_refused_where_matrices_are_cut_into_pieces(strategy: str) -> None:
    values = {"optimizer": "muon", "strategy": strategy}
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=values)
    two, model = World(rank=0, size=2, device=torch.device("cpu")), build_model(run.model, 0)
    with pytest.raises(UserError, match=f"which {strategy} cuts into flat pieces: pass strategy=ddp"):
        make_strategy(model, make_optimizer(model, run, two.device), two, run, 1)


@pytest.mark.parametrize(
    ("environment", "refusal"),
    [
        ({}, ""),
        ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_DEEPSPEED": "false"}, ""),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, ""),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "pass precision=fp16"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "pass strategy=zero1"),
        ({"ACCELERATE_USE_FSDP": "true"}, "pass strategy=fsdp"),
    ],
    ids=["torchrun", "launcher", "same precision", "another precision", "deepspeed", "fsdp"],
)
def test_accelerate_refuses_what_its_launcher_asks_beyond_data_parallelism(
    environment: dict[str, str], refusal: str
) -> None:
    said = why_refused(environment, "bf16")
    assert refusal in said
    assert bool(said) == bool(refusal)


# ---------------------------------------------------------------- loss scale


def test_the_scale_halves_at_each_overflow_and_doubles_after_many_good_steps() -> None:
    scale = LossScale(scale=8.0).after_update().after_overflow()
    assert scale == LossScale(scale=4.0, good_steps=0, overflows=1)
    for _ in range(GROWTH_STEPS - 1):
        scale = scale.after_update()
    assert scale.scale == 4.0
    assert scale.after_update() == LossScale(scale=8.0, good_steps=0, overflows=1)


def test_the_scale_has_limits() -> None:
    assert not LossScale(scale=1.0).may_shrink
    assert LossScale(scale=LARGEST, good_steps=GROWTH_STEPS).after_update().scale == LARGEST


def test_overflows_in_a_run_are_logged_and_are_no_faults_and_the_run_resumes_with_the_same_bits(
    tmp_path: Path,
) -> None:
    corpus = write_corpus(tmp_path / "data")
    arguments = KEEP_ALL | {"precision": "fp16"}
    with mock.patch("train.parallel.ddp.INITIAL_SCALE", 2.0**40):  # far too large
        assert pretrain_here(corpus, tmp_path / "whole", **arguments) == 0
    events = read_rows(tmp_path / "whole", "event")
    overflows = [row for row in events if row["event"] == "overflow"]
    assert len(overflows) > MAX_FAULTS
    assert [row["loss_scale"] for row in overflows] == [2.0 ** (39 - i) for i in range(len(overflows))]
    assert {row["event"] for row in events} == {"overflow", "checkpoint"}
    rows = read_rows(tmp_path / "whole", "train")
    assert [row["step"] for row in rows if row["skipped"]] == [row["step"] for row in overflows]

    for step in (5, 15):
        name = f"step_{step:07d}"
        checkpoints = tmp_path / f"from {step}" / "checkpoints"
        shutil.copytree(tmp_path / "whole" / "checkpoints" / name, checkpoints / name)
        state = json.loads((checkpoints / name / "state.json").read_text())
        assert state["loss_scale"]["overflows"] == sum(row["step"] <= step for row in overflows)
        assert pretrain_here(corpus, checkpoints.parent, **arguments) == 0
        before = values(tmp_path / "whole")
        assert values(checkpoints.parent) == {later: before[later] for later in range(step + 1, STEPS + 1)}
