"""The time that a process waits for the others is counted, in every strategy, without accumulation."""

import itertools
import json

import pytest
import torch

from tests.support.exchange_worker import LATE_S
from tests.support.training import torchrun
from train.parallel.exchange import Exchange

CASES = ("ddp_fp32", "zero1_fp32", "zero1_bf16", "zero2_fp32", "fsdp_fp32")


def test_a_span_within_a_span_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(torch.device("cpu"))
    moments = itertools.count()
    monkeypatch.setattr(exchange, "_now", lambda: next(moments))
    with exchange.waiting(), exchange.waiting():
        pass
    exchange.begin()
    exchange.begin()  # the last of several gradients counts
    exchange.end()
    exchange.end()
    assert exchange.read() == 2  # each span takes one moment
    with exchange.paused(), exchange.waiting():
        pass
    assert exchange.read() == 0


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Seconds that the first of two processes waited for the second, by case and part of the step."""
    out = tmp_path_factory.mktemp("exchange")
    done = torchrun(["tests/support/exchange_worker.py", str(out), *CASES])
    assert done.returncode == 0, done.stderr
    return json.loads((out / "waits.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_the_wait_for_gradients_counts(waits: dict[str, dict[str, float]], case: str) -> None:
    assert waits[case]["gradients"] >= LATE_S


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("zero")])
def test_the_wait_for_weights_after_the_update_counts(waits: dict[str, dict[str, float]], case: str) -> None:
    assert waits[case]["weights"] >= LATE_S


@pytest.mark.parametrize("case", CASES)
def test_a_validation_does_not_count(waits: dict[str, dict[str, float]], case: str) -> None:
    assert waits[case]["validation"] == 0.0
