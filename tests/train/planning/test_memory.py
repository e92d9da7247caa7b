"""The planned memory is that of real steps on CPUs, and of the full model counted without a device."""

import json
import typing

import pytest
import torch

from configs.loader import CONFIGS
from tests.support.memory import count_kept, measure_peak
from tests.support.memory_worker import run_of
from tests.support.training import torchrun
from train.config import Recipe, Run, load_run
from train.model.llama import build_model
from train.optimizer import takes_muon
from train.parallel.world import World
from train.planning.memory import KEPT, activation_bytes, head_bytes, plan_memory

ALONE = World(0, 1, torch.device("cpu"))
# On two processes; on one, every strategy is ddp.
CASES = [
    *(f"{strategy}_bf16_none" for strategy in ("fsdp", "zero2", "zero3", "ddp")),
    *(f"zero1_bf16_{recompute}" for recompute in KEPT),
    "zero1_fp32_none",
]


@pytest.mark.parametrize("recompute", KEPT)
@pytest.mark.parametrize(("scale", "precision"), [("demo", "fp32"), ("demo", "bf16"), ("mini", "fp32")])
def test_peaks_of_one_process_are_within_five_percent(scale: str, precision: str, recompute: str) -> None:
    run = run_of(f"ddp_{precision}_{recompute}", scale)
    planned = plan_memory(run, 1, on_cuda=False).computing
    assert planned == pytest.approx(measure_peak(run, ALONE), rel=0.05)


def test_the_peak_with_muon_is_within_five_percent() -> None:
    run = run_of("ddp_fp32_none", "mini").with_recipe(optimizer="muon")
    adamw, muon = (plan_memory(r, 1, on_cuda=False) for r in (run.with_recipe(optimizer="adamw"), run))
    assert muon.computing == pytest.approx(measure_peak(run, ALONE), rel=0.05)
    matrices = sum(
        weight.numel()
        for name, weight in build_model(run.model, 0).named_weights().items()
        if takes_muon(run.recipe, name, weight)
    )
    assert adamw.held["moments"] - muon.held["moments"] == 4 * matrices


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Peak bytes of every case, measured in one start of two processes."""
    out = tmp_path_factory.mktemp("peaks") / "peaks.json"
    done = torchrun(["tests/support/memory_worker.py", str(out), *CASES])
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_peaks_of_two_processes_are_within_ten_percent(case: str, peaks: dict[str, int]) -> None:
    planned = plan_memory(run_of(case, "mini"), 2, on_cuda=False).computing
    assert planned == pytest.approx(peaks[case], rel=0.1)


@pytest.fixture
def run20() -> Run:
    """Run 20 in full, with micro-batches of 16 sequences."""
    return load_run(CONFIGS / "runs" / "run20.yaml")


def kept_by_plan(run: Run, autocast: bool) -> float:
    arithmetic = "fp32" if run.recipe.precision == "fp32" else "autocast" if autocast else "bf16"
    tokens = run.recipe.micro_batch_size * run.recipe.sequence_length
    layers = activation_bytes(run.model, run.recipe.recompute, arithmetic, tokens)
    return layers + head_bytes(run.model, arithmetic, tokens)


@pytest.mark.parametrize("recompute", KEPT)
@pytest.mark.parametrize("arithmetic", ["fp32", "bf16", "autocast"])
def test_the_full_model_keeps_what_is_planned(run20: Run, arithmetic: str, recompute: str) -> None:
    values = {"recompute": recompute, "precision": "fp32" if arithmetic == "fp32" else "bf16"}
    run = run20.with_recipe(**values)
    autocast = arithmetic == "autocast"
    saved, in_all = count_kept(run, autocast)
    planned = kept_by_plan(run, autocast)
    assert in_all == pytest.approx(planned, rel=0.005)
    if recompute == "none":
        assert saved == pytest.approx(planned, rel=0.005)


def test_counts_without_memory_equal_those_of_real_tensors() -> None:
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo")
    (saved, in_all), (really_saved, really_in_all) = (count_kept(run, False, fake) for fake in (True, False))
    assert saved == really_saved
    assert in_all == pytest.approx(really_in_all, rel=1e-3)


def test_run_20_on_two_a100_agrees_with_an_outside_calculation(run20: Run) -> None:
    plan = plan_memory(run20, 2)
    assert sum(plan.held.values()) == pytest.approx(19e9, rel=0.01)
    assert plan.activations == pytest.approx(27.6e9, rel=0.05)


@pytest.mark.parametrize("strategy", typing.get_args(Recipe.model_fields["strategy"].annotation))
def test_every_strategy_has_a_plan_and_needs_no_more_on_more_devices(run20: Run, strategy: str) -> None:
    run = run20.with_recipe(strategy=strategy)
    two, eight = plan_memory(run, 2), plan_memory(run, 8)
    assert eight.peak <= two.peak
    assert plan_memory(run.fitted_to(1024), 1024).peak < two.peak
