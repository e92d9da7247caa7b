"""Time, slots and energy of Run 20 agree with an outside calculation."""

import pytest

from configs.loader import CONFIGS
from train.config import Run, load_run
from train.model.flops import PEAK_FLOP_PER_S, flops_per_token
from train.planning.devices import DEVICES
from train.planning.hours import (
    CPU_FLOP_PER_S,
    SLOT_LOSS_HOURS,
    energy_kwh,
    gpu_hours,
    training_hours,
    walltime_slots,
)


@pytest.fixture(scope="module")
def run20() -> Run:
    return load_run(CONFIGS / "runs" / "run20.yaml")


def test_flops_and_steps_of_run_20(run20: Run) -> None:
    assert flops_per_token(run20.model, 768) == pytest.approx(8.60e9, rel=1e-3)
    assert run20.steps_total == 33_175


@pytest.mark.parametrize(("mfu", "days"), [(0.3, 27.7), (0.4, 20.8), (0.5, 16.6)])
def test_days_of_run_20_on_two_a100(run20: Run, mfu: float, days: float) -> None:
    assert gpu_hours(run20, DEVICES["a100-80gb"], 2, mfu) / 24 == pytest.approx(days, abs=0.05)


def test_half_the_tokens_or_twice_the_devices_take_half_the_time(run20: Run) -> None:
    half = load_run(CONFIGS / "runs" / "ladder_data_half.yaml")
    whole = training_hours(run20, CPU_FLOP_PER_S)
    assert training_hours(half, CPU_FLOP_PER_S) == pytest.approx(whole / 2, rel=1e-3)
    assert training_hours(run20, 2 * CPU_FLOP_PER_S) == pytest.approx(whole / 2)


def test_a_slot_gives_less_than_its_length() -> None:
    assert walltime_slots(24 - SLOT_LOSS_HOURS) == 1
    assert walltime_slots(24) == 2
    assert walltime_slots(10, slot_hours=10) == 2


def test_energy_counts_all_gpus_and_what_is_around_them() -> None:
    assert energy_kwh(10, gpus=2, watts=400, overhead=1.5) == pytest.approx(12)


def test_every_device_has_a_peak() -> None:
    assert {device.name for device in DEVICES.values()} <= set(PEAK_FLOP_PER_S)
