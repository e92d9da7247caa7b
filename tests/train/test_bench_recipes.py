"""Each option of `make bench-recipes` trains Run 20's recipe for the same steps, and patches what exists."""

import importlib

import pytest

from benchmarks.recipes import OPTIONS, PATCHES, RUN, SCALE, TOKENS, TOKENS_PER_STEP, WARMUP_STEPS, Trial
from configs.loader import parse_overrides
from train.config import load_run


@pytest.mark.parametrize("option", OPTIONS)
def test_options_differ_in_nothing_that_would_make_their_runs_unequal(option: str) -> None:
    run = load_run(RUN, SCALE, overrides=parse_overrides(Trial(option, 3e-3, 0).recipe()))
    assert run.tokens_per_step == TOKENS_PER_STEP
    assert run.steps_total == TOKENS // TOKENS_PER_STEP
    assert run.warmup_steps == WARMUP_STEPS
    assert run.recipe.lr == 3e-3


@pytest.mark.parametrize("name", [name for name, _ in PATCHES.values()])
def test_what_an_option_replaces_exists(name: str) -> None:
    module, function = name.rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), function))
