"""Measures of stability: what is planted in a log is what they count."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from analysis import stability_values as values
from analysis.readers.run_logs import Run, RunLog, read_run
from tests.support.analysis_logs import Row, header, history, write

N_STEPS, WARMUP = 400, 20  # of `history`


def log_of(tmp_path: Path, rows: Sequence[Row]) -> RunLog:
    return read_run(Run("demo", "run20", 0), [write(tmp_path / "log.0.jsonl", [header(), *rows])])


def rows_of(kind: str, rows: Sequence[Row]) -> dict[int, Row]:
    return {row["step"]: row for row in rows if row["kind"] == kind}


@pytest.mark.parametrize("steps", [(), (50,), (100, 200, 399)], ids=["none", "one", "three"])
def test_planted_spikes_are_counted_and_nothing_else(tmp_path: Path, steps: tuple[int, ...]) -> None:
    rows = history(1, N_STEPS)
    train = rows_of("train", rows)
    for step in steps:
        train[step]["loss_nats"] += 1.5
    log = log_of(tmp_path, rows)
    assert values.warmup_steps(log) == WARMUP
    late = log.train[log.train["step"] > WARMUP]
    assert tuple(late["step"][values.is_spike(log)]) == steps
    assert values.spikes_per_1000(log) == pytest.approx(1000 * len(steps) / (N_STEPS - WARMUP))


def test_a_spike_within_the_warm_up_does_not_count(tmp_path: Path) -> None:
    rows = history(1, N_STEPS)
    rows_of("train", rows)[WARMUP // 2]["loss_nats"] += 5
    assert values.spikes_per_1000(log_of(tmp_path, rows)) == 0


def test_oscillation_follows_the_noise_and_not_the_trend(tmp_path: Path) -> None:
    rows = history(1, N_STEPS)
    calm = values.oscillation(log_of(tmp_path, rows))
    for step, row in rows_of("train", rows).items():
        row["loss_nats"] += 0.5 * math.sin(step) - 0.002 * step
    assert calm == pytest.approx(0.06, rel=0.2)  # the deviation of `history`
    assert values.oscillation(log_of(tmp_path, rows)) == pytest.approx(0.5 / math.sqrt(2), rel=0.1)


def test_validation_that_turns_up_is_measured_from_its_lowest_point(tmp_path: Path) -> None:
    rows = history(1, N_STEPS)
    before = values.validation_rise(log_of(tmp_path, rows))
    gap_before = values.gap_growth(log_of(tmp_path, rows))
    for row in rows:
        if row["kind"] == "val" and row["step"] > 300:
            row["bits_per_byte"] += 0.25
            row["loss_nats"] += 0.3
    log = log_of(tmp_path, rows)
    assert before == 0
    assert values.validation_rise(log) == pytest.approx(0.25, abs=0.01)  # from the lowest at step 300
    assert values.gap_growth(log) - gap_before == pytest.approx(0.3)


def test_gradient_norms_are_told_apart_by_the_warm_up(tmp_path: Path) -> None:
    rows = history(1, N_STEPS)
    for step, row in rows_of("train", rows).items():
        row["grad_norm"] = 50.0 if step == 3 else 4.0 if step in range(380, 400) else 1.0
    log = log_of(tmp_path, rows)
    assert values.first_norm_peak(log) == 50
    assert values.late_norm_ratio(log) == 4
    assert values.late_norm_median(log) == 1


@pytest.mark.parametrize(
    ("plant", "expected"),
    [("nothing", ""), ("nan", "a loss is not finite"), ("worse", "the last validation")],
)
def test_divergence_is_named(tmp_path: Path, plant: str, expected: str) -> None:
    rows = history(1, N_STEPS)
    if plant == "nan":
        rows_of("train", rows)[200]["loss_nats"] = math.nan
    for row in rows:
        if plant == "worse" and row["kind"] == "val" and row["step"] == N_STEPS:
            row["bits_per_byte"] = 9.0
    assert values.diverged(log_of(tmp_path, rows)).startswith(expected) is True
    assert bool(values.diverged(log_of(tmp_path, rows))) == bool(expected)
