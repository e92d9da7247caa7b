"""PCGrad equals a float64 reference, or the plain gradient if domains agree; it refuses sharding."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.loader import CONFIGS, UserError
from tests.support.training import pretrain, pretrain_here, write_corpus
from train.config import Run, load_run
from train.data.batches import Batch
from train.data.order import permutation
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.pcgrad import PCGrad, project
from train.parallel.strategy import make_strategy
from train.parallel.world import World

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def reference(vectors: list[np.ndarray], key: tuple[object, ...]) -> np.ndarray:
    """Algorithm 1 of Yu et al. 2020 on flat float64 vectors."""
    total = np.zeros_like(vectors[0])
    for task, vector in enumerate(vectors):
        own = vector.copy()
        others = [i for i in range(len(vectors)) if i != task]
        for position in permutation(len(others), (*key, task)):
            other = vectors[others[position]]
            if own @ other < 0:
                own -= (own @ other) / (other @ other) * other
        total += own
    return total


@pytest.mark.parametrize("seed", range(5))
def test_projection_equals_a_float64_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = [random.normal(size=50) - 0.3 * i for i in range(3)]
    parts = [[torch.tensor(v[:20]), torch.tensor(v[20:]).view(6, 5)] for v in vectors]
    found = torch.cat([part.flatten() for part in project(parts, ("key", seed))]).numpy()
    assert found == pytest.approx(reference(vectors, ("key", seed)), rel=1e-12, abs=1e-12)


def test_after_projection_two_tasks_do_not_conflict() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    assert project([[a], [b]], ())[0].tolist() == [0.5, 1.5]  # (0.5, 0.5) + (0, 1)


def run_of(strategy: str = "ddp") -> Run:
    small = {"sequence_length": 16, "global_batch_size": 6, "micro_batch_size": 3, "strategy": strategy}
    return load_run(CONFIGS / "runs/run11.yaml", "demo", overrides=small)


def gradients(name: str, same_text: bool) -> list[torch.Tensor]:
    """Gradients of one step of two micro-batches in which every domain occurs twice."""
    run = run_of()
    if name == "plain":
        run = run.with_recipe(gradient_surgery="none")
    model = build_model(run.model, 0)
    strategy = make_strategy(model, make_optimizer(model, run, ALONE.device), ALONE, run, 2)
    assert isinstance(strategy, PCGrad) == (name == "pcgrad")
    generator = torch.Generator().manual_seed(1)
    for last in (False, True):
        ids = torch.randint(0, 2000, (1 if same_text else 3, 17), generator=generator).expand(3, 17)
        batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), torch.arange(3))
        strategy.backward(batch, 2 * 3 * 16, last)
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def test_domains_that_agree_give_the_plain_gradient() -> None:
    for a, b in zip(gradients("plain", True), gradients("pcgrad", True), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-8)


def test_run_11_trains_and_resumes_to_the_same_losses(tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "data")
    arguments = {"gradient_surgery": "pcgrad", "mixture": {"cs": 1, "math": 1, "physics": 1}, "keep_last": 10}
    assert pretrain_here(data, tmp_path / "a", **arguments) == 0
    log = (tmp_path / "a/log.0.jsonl").read_text()
    for later in ("step_0000015", "step_0000020"):
        for path in (tmp_path / "a/checkpoints" / later).iterdir():
            path.unlink()
        (tmp_path / "a/checkpoints" / later).rmdir()
    assert pretrain_here(data, tmp_path / "a", **arguments) == 0
    again = (tmp_path / "a/log.1.jsonl").read_text()
    lines = [line.partition('"loss_nats"')[2] for line in log.splitlines() if '"train"' in line][10:]
    repeated = [line.partition('"loss_nats"')[2] for line in again.splitlines() if '"train"' in line]
    assert len(lines) == 10
    assert lines == repeated


def test_two_processes_project_the_same_gradients_as_one(tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "data")
    arguments = {"gradient_surgery": "pcgrad", "strategy": "ddp", "tokens_total": 5 * 8 * 32}
    assert pretrain_here(data, tmp_path / "one", **arguments) == 0
    assert pretrain(data, tmp_path / "two", **arguments).returncode == 0
    one, two = (
        [row for row in map(json.loads, (tmp_path / name / "log.0.jsonl").open()) if row["kind"] == "train"]
        for name in ("one", "two")
    )
    assert [row["span_hash"] for row in one] == [row["span_hash"] for row in two]
    for a, b in zip(one, two, strict=True):
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "fsdp"])
def test_sharded_strategies_are_refused_with_a_message(strategy: str) -> None:
    run, two = run_of(strategy), World(rank=0, size=2, device=torch.device("cpu"))
    model = build_model(run.model, 0)
    with pytest.raises(UserError, match="pass strategy=ddp"):
        make_strategy(model, make_optimizer(model, run, two.device), two, run, 1)


def test_projection_orders_differ_between_updates() -> None:
    orders = {tuple(permutation(2, (0, "pcgrad", updates, 0)).tolist()) for updates in range(20)}
    assert orders == set(itertools.permutations(range(2)))
