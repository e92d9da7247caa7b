"""The rule of the verdicts, case by case."""

import math

import pytest

from analysis.verdicts import (
    MIXED,
    NO_DATA,
    NOT_SUPPORTED,
    NOT_TESTABLE,
    OPEN,
    SUPPORTED,
    UNDECIDED,
    Predicts,
    of_claim,
    verdict,
)


@pytest.mark.parametrize(
    ("low", "high", "predicts", "expected"),
    [
        pytest.param(0.02, 0.05, "above", SUPPORTED, id="above_zero"),
        pytest.param(-0.05, -0.02, "above", NOT_SUPPORTED, id="on_the_other_side"),
        pytest.param(-0.01, 0.05, "above", UNDECIDED, id="across_zero"),
        pytest.param(0.001, 0.009, "above", NOT_SUPPORTED, id="too_small_to_count"),
        pytest.param(0.001, 0.02, "above", SUPPORTED, id="above_zero_and_perhaps_large"),
        pytest.param(-0.05, -0.02, "below", SUPPORTED, id="below_zero"),
        pytest.param(0.02, 0.05, "below", NOT_SUPPORTED, id="not_below"),
        pytest.param(-0.009, 0.009, "within", SUPPORTED, id="within_the_margin"),
        pytest.param(0.011, 0.02, "within", NOT_SUPPORTED, id="beyond_the_margin"),
        pytest.param(-0.02, 0.005, "within", UNDECIDED, id="across_the_margin"),
        pytest.param(math.nan, math.nan, "above", NO_DATA, id="no_interval"),
    ],
)
def test_the_interval_decides(low: float, high: float, predicts: Predicts, expected: str) -> None:
    assert verdict(low, high, predicts, margin=0.01) == expected


def test_a_threshold_other_than_zero() -> None:
    assert verdict(1.2, 1.6, "below", 2) == SUPPORTED
    assert verdict(1.2, 2.6, "below", 2) == UNDECIDED
    assert verdict(2.2, 2.6, "below", 2) == NOT_SUPPORTED


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([SUPPORTED, UNDECIDED, NO_DATA], SUPPORTED),
        ([NOT_SUPPORTED, UNDECIDED], NOT_SUPPORTED),
        ([SUPPORTED, NOT_SUPPORTED], MIXED),
        ([UNDECIDED, UNDECIDED], NOT_TESTABLE),
        ([UNDECIDED, NO_DATA], OPEN),
    ],
)
def test_a_claim_follows_from_its_tests(verdicts: list[str], expected: str) -> None:
    assert of_claim(verdicts) == expected
