"""Effects of all runs at once: critical values of the tables, planted effects, designs with gaps."""

import numpy as np
import pytest

from analysis.effects import CONFIDENCE
from analysis.joint_effects import joint_effects

Values = dict[str, dict[int, float]]


def a_study(rng: np.random.Generator, effects: dict[str, float], seeds: dict[str, int]) -> Values:
    """Runs whose values are effect + seed + noise of deviation 0.01; `seeds`: how many each run has."""
    of_seed = rng.normal(0, 0.05, max(seeds.values()))
    return {
        run: {seed: 2 + effects[run] + of_seed[seed] + rng.normal(0, 0.01) for seed in range(seeds[run])}
        for run in effects
    }


@pytest.mark.parametrize(
    ("n_runs", "n_seeds", "expected"),
    # Two-sided 5 % points of Dunnett's t for (treatments, degrees of freedom) = (1, 20), (3, 15), (5, 20).
    [(1, 21, 2.086), (3, 6, 2.61), (5, 5, 2.73)],
)
def test_critical_values_are_those_of_dunnetts_tables(n_runs: int, n_seeds: int, expected: float) -> None:
    runs = [f"run{i}" for i in range(n_runs + 1)]
    values = a_study(np.random.default_rng(0), dict.fromkeys(runs, 0.0), dict.fromkeys(runs, n_seeds))
    joint = joint_effects(values, [("run0", run) for run in runs[1:]], {})
    assert joint.degrees_of_freedom == n_runs * (n_seeds - 1)
    assert joint.critical == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("n_others", [5, 3], ids=["equal_seeds", "baseline_has_more_seeds"])
def test_all_planted_effects_lie_in_their_intervals_at_once(n_others: int) -> None:
    planted = {"base": 0.0, "worse": 0.1, "same": 0.0, "better": -0.02}
    seeds = {run: 5 if run == "base" else n_others for run in planted}
    contrasts = [("base", "worse"), ("base", "same"), ("worse", "better")]
    rng = np.random.default_rng(n_others)
    n_held = 0
    for _ in range(100):
        joint = joint_effects(a_study(rng, planted, seeds), contrasts, {})
        n_held += all(one.low <= planted[b] - planted[a] <= one.high for (a, b), one in joint.effects.items())
    assert n_held >= 100 * CONFIDENCE - 7  # 2.5 standard deviations below what is expected
    assert {one.n_pairs for one in joint.effects.values()} == {n_others}


def test_a_seed_that_is_harder_for_all_runs_changes_no_effect() -> None:
    rng = np.random.default_rng(0)
    values = a_study(rng, {"a": 0.0, "b": 0.05}, {"a": 3, "b": 3})
    harder = {run: {seed: v + (seed == 1) for seed, v in of.items()} for run, of in values.items()}
    before, after = (joint_effects(v, [("a", "b")], {}).effects["a", "b"] for v in (values, harder))
    assert (after.mean, after.low, after.high) == pytest.approx((before.mean, before.low, before.high))


def test_documents_widen_an_interval() -> None:
    values = a_study(np.random.default_rng(0), {"a": 0.0, "b": 0.05}, {"a": 3, "b": 3})
    without = joint_effects(values, [("a", "b")], {})
    wide = joint_effects(values, [("a", "b")], {("a", "b"): 0.01}).effects["a", "b"]
    assert wide.mean == without.effects["a", "b"].mean
    assert wide.high - wide.mean > 0.1 * without.critical  # the documents' deviation is 0.1


def test_power_is_the_share_of_studies_that_find_the_effect() -> None:
    rng = np.random.default_rng(1)
    n_runs, n_seeds = 5, 5
    runs = [f"run{i}" for i in range(n_runs + 1)]
    probe = joint_effects(
        a_study(rng, dict.fromkeys(runs, 0.0), dict.fromkeys(runs, n_seeds)),
        [("run0", run) for run in runs[1:]],
        {},
    )
    effect = probe.detectable(n_seeds) / probe.residual_deviation * 0.01  # in terms of the true deviation
    planted = {run: effect * (run == "run1") for run in runs}
    found = 0
    for _ in range(100):
        joint = joint_effects(
            a_study(rng, planted, dict.fromkeys(runs, n_seeds)), [("run0", run) for run in runs[1:]], {}
        )
        found += joint.effects["run0", "run1"].low > 0
    assert 68 <= found <= 92  # 80 ± three standard deviations


def test_without_common_seeds_or_repeated_runs_nothing_is_said() -> None:
    with pytest.raises(ValueError, match="no seed in common"):
        joint_effects({"a": {0: 1.0, 1: 1.1}, "b": {2: 1.0}}, [("a", "b")], {})
    with pytest.raises(ValueError, match="two seeds or more"):
        joint_effects({"a": {0: 1.0}, "b": {0: 1.2}}, [("a", "b")], {})
