"""Communication against computation: what the report reads, and what it calculates."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.comm_report import (
    INTERCONNECTS,
    KEYS,
    compute_s,
    crossing,
    exchange_s,
    full_table,
    links_table,
    step_bytes,
    steps_table,
)
from analysis.measured_report import MEASUREMENTS, read
from configs.ring_model import ALL_GATHER, ALL_REDUCE, Link
from configs.script import UserError
from tests.conftest import run_script

LINK = {"latency_s": 1e-4, "bytes_per_s": 1e9}
FULL = {
    "run": "full/run20/seed0",
    "parameters": 1_000_000_000,
    "flops_per_token": 6e9,
    "tokens_per_step": 1_000_000,
    "sequences_per_step": 1000,
    "micro_batch_size": 10,
    "peak_flop_per_s": {"NVIDIA A100-SXM4-80GB": 3e14, "NVIDIA H100 80GB HBM3": 1e15},
    "traffic": {
        "zero1": {"a_step": {ALL_REDUCE: 2e9, ALL_GATHER: 2e9}, "a_micro_batch": {}},
        "zero2": {"a_step": {ALL_GATHER: 2e9}, "a_micro_batch": {ALL_REDUCE: 2e9}},
    },
}


def timings(kind: str, processes: int) -> dict[str, Any]:
    sizes = [2**20, 2**24, 2**28]
    seconds = [Link(**LINK).seconds(kind, processes, size) for size in sizes]
    return LINK | {"bytes": sizes, "seconds": seconds, "worst_error": 0.0}


@pytest.fixture
def measured() -> dict[str, Any]:
    step = {"step_s": 0.3, "alone_s": 0.2, "exchange_s": 0.09, "bytes": {ALL_REDUCE: 5_000_000}}
    return {
        "date": "2026-11-28",
        "backend": "gloo",
        "model": "a model",
        "links": {str(n): {kind: timings(kind, n) for kind in (ALL_REDUCE, ALL_GATHER)} for n in (2, 4)},
        "steps": [
            {"processes": 1, "strategy": "one process", "bytes": {}, "step_s": 0.2, "alone_s": 0.2}
            | {"exchange_s": 0.0},
            step | {"processes": 2, "strategy": "ddp"},
        ],
        "traffic": {},
        "full_model": FULL,
    }


def test_a_step_with_and_without_exchange(measured: dict[str, Any]) -> None:
    _, ddp = steps_table(measured).rows
    model = 2 * (1e-4 + 2.5e6 / 1e9)
    assert ddp == ("2", "ddp", "300", "200", "100", "90", f"{model * 1e3:.0f}", "5.0")


def test_collectives_that_follow_the_model_are_0_percent_off(measured: dict[str, Any]) -> None:
    rows = links_table(measured).rows
    assert len(rows) == 2 * 2 * 3
    assert {row[-1] for row in rows} == {"+0"}


def test_computation_shrinks_with_the_gpus_and_zero1_exchange_does_not() -> None:
    link = Link(0.0, 50e9)
    assert compute_s(FULL, "NVIDIA A100-SXM4-80GB", 64) == compute_s(FULL, "NVIDIA A100-SXM4-80GB", 8) / 8
    at = [exchange_s(step_bytes(FULL, "zero1", n), link, n) for n in (64, 512)]
    assert at[1] == pytest.approx(at[0], rel=0.02)
    # 2 (n - 1) / n x 2 GB and half of that again, over 50 GB/s
    assert at[0] == pytest.approx(3 * 63 / 64 * 2e9 / 50e9)


def test_what_is_exchanged_after_every_micro_batch_falls_with_their_number() -> None:
    """1,000 sequences on 10 GPUs are 10 micro-batches each, on 1,000 GPUs one."""
    assert step_bytes(FULL, "zero2", 10) == {ALL_GATHER: 2e9, ALL_REDUCE: 2e10}
    assert step_bytes(FULL, "zero2", 1000) == {ALL_GATHER: 2e9, ALL_REDUCE: 2e9}


@pytest.mark.parametrize("strategy", ["zero1", "zero2"])
@pytest.mark.parametrize("bytes_per_s", [12.5e9, 50e9])
def test_the_crossing_is_where_exchange_overtakes(strategy: str, bytes_per_s: float) -> None:
    device, link = "NVIDIA H100 80GB HBM3", Link(0.0, bytes_per_s)
    gpus = crossing(FULL, strategy, device, bytes_per_s)
    assert gpus is not None

    def overtakes(n: int) -> bool:
        return exchange_s(step_bytes(FULL, strategy, n), link, n) > compute_s(FULL, device, n)

    assert overtakes(gpus)
    assert not overtakes(gpus - 1)


def test_a_faster_interconnect_and_a_slower_gpu_carry_more_gpus() -> None:
    by_wire = [crossing(FULL, "zero1", "NVIDIA H100 80GB HBM3", bandwidth) for bandwidth in (12.5e9, 50e9)]
    assert by_wire[0] < by_wire[1]  # type: ignore[operator]
    slower = crossing(FULL, "zero1", "NVIDIA A100-SXM4-80GB", 50e9)
    assert slower > by_wire[1]  # type: ignore[operator]


def test_every_interconnect_has_its_source_in_the_table(measured: dict[str, Any]) -> None:
    table = full_table(measured)
    assert len(table.rows) == len(FULL["traffic"]) * len(INTERCONNECTS)
    assert all(any(wire.source in note for note in table.notes) for wire in INTERCONNECTS)


def test_the_script_writes_tables_and_figure(measured: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    run_script("analysis/comm_report.py", "--measured", tmp_path / "measured.json", "--out", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {
        f"{name}.{kind}"
        for name in ("comm_links", "comm_steps", "comm_full_model")
        for kind in ("md", "csv", "tex")
    }
    assert names == tables | {f"communication.{kind}" for kind in ("png", "pdf", "json")}


def test_the_published_measurements_hold_what_is_read() -> None:
    measured = read(MEASUREMENTS / "communication.json", KEYS, "bench-communication")
    assert {row[:2] for row in steps_table(measured).rows} >= {
        (str(n), name) for n in (2, 4) for name in ("ddp", "zero1", "zero2", "fsdp")
    }
    assert [row[0] for row in links_table(measured).rows].count("2") == 2 * 9
    assert set(measured["full_model"]["peak_flop_per_s"]) == set(FULL["peak_flop_per_s"])


@pytest.mark.parametrize(("content", "says"), [(None, "make bench-comm"), ("{}", "holds no full_model")])
def test_missing_measurements(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "communication.json"
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=says):
        read(path, KEYS, "bench-communication")
