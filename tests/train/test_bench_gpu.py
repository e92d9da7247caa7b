"""`make bench-gpu` runs to its end on a CPU, whatever fails in it; FLOPs of the full model are as planned."""

import json
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from configs.loader import CONFIGS
from train.config import load_run
from train.model.flops import flops_per_token
from train.model.llama import PretrainModel


@pytest.mark.slow
def test_a_step_that_fails_or_takes_too_long_is_recorded_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DEVICE", "cpu")
    times = {"unheard-of": 60, "train": 11, "optimizer": 300}
    with mock.patch.dict(gpu.STEPS, times), mock.patch("sys.argv", ["gpu", "--steps", ",".join(times)]):
        assert gpu.main() == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": {" in line)
    results = {name: json.loads(text) for name, text in lines.items()}
    assert "KeyError" in results["unheard-of"]["error"]
    assert results["optimizer"]["for_loop_ms"] > 0


def test_torch_counts_the_planned_flops_of_the_full_model_without_a_device() -> None:
    run = load_run(CONFIGS / "runs" / "run20.yaml")
    with FakeTensorMode():
        model = PretrainModel(run.model)
        model.head_chunk_tokens = 768
        tokens = torch.zeros((1, 768), dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            model(tokens, tokens)[0].backward()
    # torch does not count its attention kernel on CPUs, so the attention term is left out.
    assert counter.get_total_flops() == pytest.approx(768 * flops_per_token(run.model, 0), rel=0.005)
