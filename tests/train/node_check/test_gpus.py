"""What nvidia-smi and the kernel's log say of GPUs, and an nvidia-smi that is missing, broken or hangs."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support import PATIENCE_S
from tests.support.nvidia import KERNEL_LOG, smi_line
from train.node_check import gpus
from train.node_check.gpus import given_gpus, gpu_faults, parse_gpus, xid_faults

HEALTHY = "\n".join([smi_line(), smi_line(index="1", pci_bus_id="00000000:86:00.0")]) + "\n"


def faults(line: str, expected: int = 1) -> list[str]:
    return gpu_faults(parse_gpus(line), expected)


def test_a_healthy_node_has_no_fault() -> None:
    found = parse_gpus(HEALTHY)
    assert [gpu.index for gpu in found] == [0, 1]
    assert (found[0].name, found[0].max_sm_mhz, found[0].limit_watts) == ("NVIDIA A100-SXM4-80GB", 1410, 400)
    assert gpu_faults(found, expected=2) == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ecc_errors_uncorrected_volatile_total": "3"}, "GPU 0 has had 3 uncorrected ECC errors"),
        ({"retired_pages_pending": "Yes"}, "pages to retire"),
        ({"clocks_throttle_reasons_hw_slowdown": "Active"}, "slowed down by its hardware"),
        ({"clocks_throttle_reasons_sw_thermal_slowdown": "Active"}, r"too hot \(31 C\)"),
        ({"temperature_gpu": "91"}, r"too hot \(91 C\)"),
        ({"memory_used": "40123"}, "not idle: 40123 MiB in use, 0 % busy"),
        ({"utilization_gpu": "97"}, "not idle: 4 MiB in use, 97 % busy"),
        ({"pcie_link_width_current": "4"}, "4 of its 16 PCIe lanes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_fault_is_named(changed: dict[str, str], says: str) -> None:
    (found,) = faults(smi_line(**changed))
    assert re.search(says, found)


def test_a_missing_gpu_is_named() -> None:
    assert faults(smi_line(), expected=8) == ["nvidia-smi shows 1 GPUs, the job was given 8"]


def test_a_divided_gpu_speaks_against_a_node_only_if_processes_must_meet() -> None:
    divided = smi_line(mig_mode_current="Enabled", memory_used="[N/A]", utilization_gpu="[N/A]")
    assert faults(divided, expected=1) == []
    assert "divided (MIG)" in faults("\n".join([divided, smi_line(index="1")]), expected=2)[0]


def test_values_that_a_card_does_not_have_are_no_faults() -> None:
    line = smi_line(
        mig_mode_current="[N/A]",
        ecc_errors_uncorrected_volatile_total="[N/A]",
        temperature_gpu="[Unknown Error]",
        pcie_link_width_current="[Not Supported]",
    )
    assert faults(line) == []


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("GPU-6d1c2a3e-77d5-4a06-9c3e-0d3b3f9a1c55", [0]),
        ("1,2", [1]),  # the third has fallen off the bus
        ("MIG-4f0c1a6e-0001", [0, 1]),
    ],
)
def test_gpus_of_other_jobs_are_left_out(visible: str | None, indices: list[int]) -> None:
    lines = [smi_line(), smi_line(index="1", uuid="GPU-other", utilization_gpu="100")]
    assert [gpu.index for gpu in given_gpus(parse_gpus("\n".join(lines)), visible)] == indices


@pytest.mark.parametrize("text", ["No devices were found\n", "0, GPU-1\n", "<html>\n"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has not the"):
        parse_gpus(text)


class TestXids:
    def test_recent_errors_of_the_hardware_of_our_gpus(self) -> None:
        found = xid_faults(KERNEL_LOG, 100_000.0, ["00000000:3B:00.0", "00000000:86:00.0"])
        assert found == ["GPU at 0000:86:00: Xid 95, uncontained ECC error"]  # 79 is old, 31 a program's

    def test_soon_after_the_start_of_the_node(self) -> None:
        (found,) = xid_faults(KERNEL_LOG, 3600.0, ["00000000:3B:00.0"])
        assert found == "GPU at 0000:3b:00: Xid 79, GPU has fallen off the bus"

    def test_gpus_of_other_jobs_do_not_count(self) -> None:
        assert xid_faults(KERNEL_LOG, 100_000.0, ["00000000:D8:00.0"]) == []


class TestProgram:
    """A real program in the place of nvidia-smi."""

    @pytest.fixture
    def smi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return tmp_path / "nvidia-smi"

    def write(self, smi: Path, script: str) -> None:
        smi.write_text(f"#!/bin/sh\n{script}\n")
        smi.chmod(0o755)

    def test_missing(self, smi: Path) -> None:
        assert gpus.read_gpus() == ([], [], ["no nvidia-smi: GPUs are not looked at"])

    def test_it_is_asked_for_the_columns_that_are_read(self, smi: Path) -> None:
        self.write(smi, f'[ "$1" = "--query-gpu={",".join(gpus.COLUMNS)}" ] && printf "%s" "{HEALTHY}"')
        found, faults, notes = gpus.read_gpus()
        assert (len(found), faults, notes) == (2, [], [])

    def test_no_driver(self, smi: Path) -> None:
        self.write(
            smi, 'echo "NVIDIA-SMI has failed because it could not communicate with the driver."; exit 9'
        )
        assert "failed with code 9: NVIDIA-SMI has failed because" in gpus.read_gpus()[1][0]

    def test_nonsense_is_a_note(self, smi: Path) -> None:
        self.write(smi, "echo hello")
        found, faults, (note,) = gpus.read_gpus()
        assert (found, faults) == ([], [])
        assert "cannot be read" in note

    def test_hanging_with_a_child_that_holds_its_output(self, smi: Path, tmp_path: Path) -> None:
        child = tmp_path / "child"
        self.write(smi, f"setsid sleep {2 * PATIENCE_S:.0f} & echo $! > {child}; wait")
        began = time.monotonic()
        answer = gpus.ask([str(smi)], answer_s=3)
        waited = time.monotonic() - began
        os.kill(int(child.read_text()), signal.SIGKILL)
        assert answer is None
        assert waited < PATIENCE_S  # not until the child lets go
