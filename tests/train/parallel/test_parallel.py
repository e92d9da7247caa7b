"""All strategies, on two processes, compute the same step as one process, skip faulty steps, and resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from configs.loader import CONFIGS
from tests.support.parallel_worker import (
    ADAMW_STEPS,
    CLIP,
    FIRST,
    LR,
    SECOND,
    padded_targets,
    random_tokens,
)
from tests.support.training import torchrun
from train.config import load_run
from train.model.llama import build_model
from train.model.loss import IGNORE

pytestmark = pytest.mark.slow

REFERENCE = "ddp_fp32_1"  # strategy, precision, processes
SHARED = ("ddp", "accelerate", "zero1", "zero2", "zero3", "fsdp")
FP32 = [f"{name}_fp32_2" for name in SHARED]
BF16 = ["ddp_bf16_1", *(f"{name}_bf16_2" for name in SHARED)]
FP16 = ["ddp_fp16_1", *(f"{name}_fp16_2" for name in ("ddp", "accelerate", "fsdp"))]
ALL = [REFERENCE, *FP32, *BF16, *FP16]
MUON = [f"{name}_muon_2" for name in ("ddp", "accelerate", "fsdp")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("strategies")
    for processes in (1, 2):
        every = [*ALL, "ddp_muon_1", *MUON]
        cases = [case[:-2] for case in every if case.endswith(f"_{processes}")]
        work(out, "compare", cases, processes)
    return out


@pytest.fixture(scope="module")
def resumed(outcomes: Path) -> Path:
    for processes in (1, 2):
        work(
            outcomes,
            "continue",
            [case[:-2] for case in [*ALL, *MUON] if case.endswith("2") and "bf16" not in case],
            processes,
        )
    return outcomes


def work(out: Path, phase: str, cases: list[str], processes: int) -> None:
    done = torchrun(["tests/support/parallel_worker.py", str(out), phase, *cases], processes)
    assert done.returncode == 0, done.stderr


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "facts.json").read_text())


def initial_weights() -> dict[str, torch.Tensor]:
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo")
    return {name: w.detach() for name, w in build_model(run.model, 0).named_weights().items()}


def change(folder: Path, name: str) -> torch.Tensor:
    """The change of all weights by the step, as one fp64 vector."""
    weights, before = load_file(folder / f"{name}.safetensors"), initial_weights()
    return torch.cat([(weights[key].double() - before[key]).flatten() for key in sorted(before)])


@pytest.mark.parametrize("name", FP32)
def test_fp32_loss_norm_and_step_equal_one_process(outcomes: Path, name: str) -> None:
    ours, reference = facts(outcomes / name), facts(outcomes / REFERENCE)
    assert ours["free"]["strategy"] == name.split("_")[0]
    assert ours["free"]["loss"] == pytest.approx(reference["free"]["loss"], rel=1e-6)
    assert ours["free"]["norm"] == pytest.approx(reference["free"]["norm"], rel=1e-5)
    one = change(outcomes / REFERENCE, "free")
    assert (change(outcomes / name, "free") - one).norm() < 1e-5 * one.norm()


def test_the_step_is_the_gradient_of_the_mean_loss_over_all_tokens(outcomes: Path) -> None:
    # With SGD the norm of the change must be lr times the norm of the gradient. This checks the reference.
    norm = facts(outcomes / REFERENCE)["free"]["norm"]
    assert float(change(outcomes / REFERENCE, "free").norm()) == pytest.approx(LR * norm, rel=1e-4)


@pytest.fixture(scope="module")
def padded_gradient() -> torch.Tensor:
    """Gradient of the mean loss over all targets but padding, by a plain loop over sequences in fp64."""
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo")
    model, targets = build_model(run.model, 0).double(), padded_targets()
    n_targets = int((targets != IGNORE).sum())
    for row, wanted in zip(random_tokens(0)[:, :-1], targets, strict=True):
        logits = model.llama(input_ids=row[None]).logits[0]
        loss = F.cross_entropy(logits, wanted, ignore_index=IGNORE, reduction="sum")
        (loss / n_targets).backward()
    weights = model.named_weights()
    return torch.cat([weights[key].grad.flatten() for key in sorted(weights)])  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [REFERENCE, *FP32])
def test_sequences_of_unequal_length_count_by_their_targets(
    outcomes: Path, padded_gradient: torch.Tensor, name: str
) -> None:
    norm = float(padded_gradient.norm())
    assert facts(outcomes / name)["padded"]["norm"] == pytest.approx(norm, rel=1e-5)
    ours = change(outcomes / name, "padded") / -LR
    assert (ours - padded_gradient).norm() < 1e-5 * norm


@pytest.mark.parametrize("name", [REFERENCE, *FP32])
def test_clipping_scales_the_step_and_reports_the_norm_before(outcomes: Path, name: str) -> None:
    ours = facts(outcomes / name)
    assert ours["clipped"]["norm"] == pytest.approx(ours["free"]["norm"], rel=1e-6)
    assert ours["clipped"]["norm"] > 100 * CLIP
    assert float(change(outcomes / name, "clipped").norm()) == pytest.approx(LR * CLIP, rel=1e-2)


@pytest.mark.parametrize("name", [*BF16, *FP16])
def test_16_bits_are_within_one_percent_of_fp32(outcomes: Path, name: str) -> None:
    ours, reference = facts(outcomes / name)["free"], facts(outcomes / REFERENCE)["free"]
    assert ours["loss"] == pytest.approx(reference["loss"], rel=0.01)
    assert ours["norm"] == pytest.approx(reference["norm"], rel=0.01)


@pytest.mark.parametrize("name", FP32)
def test_fp32_losses_of_twenty_steps_equal_one_process(outcomes: Path, name: str) -> None:
    ours, reference = facts(outcomes / name)["adamw"], facts(outcomes / REFERENCE)["adamw"]
    assert len(ours) == ADAMW_STEPS
    assert ours == pytest.approx(reference, abs=1e-4)
    assert ours[-1] < ours[0] - 0.1


@pytest.mark.parametrize("name", MUON)
def test_losses_of_twenty_steps_of_muon_equal_one_process(outcomes: Path, name: str) -> None:
    ours, reference = facts(outcomes / name)["adamw"], facts(outcomes / "ddp_muon_1")["adamw"]
    assert ours == pytest.approx(reference, abs=1e-4)  # its iterations in bf16 leave 3e-5
    adamw = facts(outcomes / REFERENCE)["adamw"]
    assert ours[0] == pytest.approx(adamw[0], rel=1e-6)
    assert ours != pytest.approx(adamw, abs=1e-3)


@pytest.mark.parametrize("name", [*BF16, *FP16])
def test_gradients_of_many_16_bit_micro_batches_are_summed_in_fp32(outcomes: Path, name: str) -> None:
    one, many = facts(outcomes / name)["accumulated"]
    assert many == pytest.approx(one, rel=0.01)  # a sum in bf16 would be too small by a ninth


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["nan", "spike"])
def test_a_fault_on_one_process_changes_no_weights(outcomes: Path, name: str, kind: str) -> None:
    ours = facts(outcomes / name)["faults"]
    if "fp16" in name:  # a gradient that is not finite halves the loss scale, on all processes
        assert ours[kind]["overflowed"]
        assert ours[kind]["unharmed"]
        assert ours[kind]["scales"] == [ours[kind]["scale"]] * int(name[-1])
        return
    assert ours[kind]["fault"]
    assert ours[kind]["unharmed"]
    assert ours[kind]["layers"] == sorted(initial_weights())
    if kind == "spike":
        assert 0 < ours[kind]["largest"] <= ours[kind]["norm"] * 1.01


@pytest.mark.parametrize("name", ALL)
def test_the_step_after_a_fault_is_the_same_as_without_it(outcomes: Path, name: str) -> None:
    ours = facts(outcomes / name)
    then, without = ours["faults"]["then"], ours["free"]
    if "fp16" in name:  # by now the loss scale is smaller, and other gradients vanish
        assert then["norm"] == pytest.approx(without["norm"], rel=1e-3)
    else:
        assert (then["loss"], then["norm"]) == (without["loss"], without["norm"])
    assert then["change"] == pytest.approx(
        float(change(outcomes / name, "free").norm()), rel=1e-3 if "fp16" in name else 1e-6
    )


@pytest.mark.parametrize("name", ALL)
def test_rotary_frequencies_stay_fp32(outcomes: Path, name: str) -> None:
    assert facts(outcomes / name)["free"]["rope"] == ["torch.float32"]


# ---------------------------------------------------------------- resumption in new processes


@pytest.mark.parametrize("name", [*FP32, *FP16[1:], *MUON])
def test_resumed_training_gives_the_same_bits(resumed: Path, name: str) -> None:
    losses = json.loads((resumed / name / "resumed.json").read_text())["same"]
    assert losses == facts(resumed / name)["adamw"][FIRST:]
    ours, theirs = (load_file(resumed / name / f"{end}.safetensors") for end in ("resumed", "end"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", [*FP32, *FP16[1:], *MUON])
def test_two_processes_then_one_then_two_train_as_one_process_does(resumed: Path, name: str) -> None:
    losses = json.loads((resumed / name / "resumed.json").read_text())["elastic"]
    tolerance = 2e-2 if "fp16" in name else 1e-4
    reference = "ddp_muon_1" if "muon" in name else REFERENCE
    assert losses == pytest.approx(facts(resumed / reference)["adamw"][SECOND:], abs=tolerance)
