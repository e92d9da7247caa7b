"""The plan in words: what fits, what would make a run fit, and the copy in docs/training.md."""

from typing import Any

import pytest

from configs.loader import CONFIGS, UserError
from train.config import Run, load_run
from train.planning.devices import DEVICES
from train.planning.hours import SLOT_HOURS
from train.planning.report import (
    Prices,
    describe,
    find_changes,
    find_device,
    fits,
    largest_micro_batch,
)

A100 = DEVICES["a100-80gb"]
PRICES = Prices(A100.watts, A100.dollars_per_hour, SLOT_HOURS)


def load(**values: Any) -> Run:
    return load_run(CONFIGS / "runs" / "run20.yaml", overrides=values)


def test_the_documentation_shows_the_plan_of_run_20() -> None:
    text = (CONFIGS.parent / "docs/training.md").read_text()
    assert f"```\n{describe(load().fitted_to(2), A100, 2, PRICES)}\n```" in text, (
        "paste the output of `python train/plan.py configs/runs/run20.yaml` into docs/training.md"
    )


@pytest.mark.parametrize(
    ("device", "gpus", "values"),
    [
        ("a100-40gb", 2, {"micro_batch_size": 32}),
        ("a100-40gb", 1, {}),
        ("a100-80gb", 2, {"micro_batch_size": 32, "head_chunk_tokens": 24_576}),
        ("a100-40gb", 1, {"model": "1b_double", "micro_batch_size": 8}),
    ],
    ids=["long batch", "one GPU", "long pieces of the head", "model too large"],
)
def test_each_change_that_the_plan_names_makes_the_run_fit(
    device: str, gpus: int, values: dict[str, Any]
) -> None:
    run, gpu = load(**values), DEVICES[device]
    assert not fits(run, gpu, gpus)
    changes = find_changes(run, gpu, gpus)
    assert changes
    for change in changes:
        assert fits(run.with_recipe(**change.values).fitted_to(change.gpus), gpu, change.gpus)
        assert change.words(gpus)


def test_nothing_makes_a_model_fit_that_is_larger_than_the_device() -> None:
    assert not find_changes(load(model="1b_double"), A100._replace(memory_bytes=2e9), 1)


def test_the_largest_micro_batch_fits_and_the_next_does_not() -> None:
    most = largest_micro_batch(load(), A100, 2)
    assert most > 1
    assert fits(load(micro_batch_size=most), A100, 2)
    assert not fits(load(micro_batch_size=2 * most), A100, 2)


def test_an_unknown_device_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match="known: a100-40gb, a100-80gb"):
        find_device("a100")
