"""Communication beside computation: collectives, and training steps with and without them.

    make bench-communication

Out: analysis/measurements/communication.json, which analysis/comm_report.py draws.

    links       all-reduce and all-gather from 1 MiB to 256 MiB (gloo), and the ring model fitted to them
    steps       a step of each strategy with the exchange, and of as many processes that train alone, side by
                side; what the log calls exchange_s; the collectives of a step
    traffic     the collectives of a step in bf16, as Run 20 trains, counted, beside `expected_traffic`
    full_model  what the full model's step computes and, by `expected_traffic`, exchanges

Times are the least over repeats for collectives and medians over alternating blocks for steps.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.communication_worker import (
    MICRO_BATCH,
    PRECISIONS,
    SEQUENCE_LENGTH,
    STRATEGIES,
    TRAFFIC_PROCESSES,
)
from benchmarks.measure import record
from configs.loader import CONFIGS, run_main
from configs.ring_model import ALL_GATHER, ALL_REDUCE, Timing, fit, worst_error
from tests.support.training import torchrun
from train.config import load_run
from train.model.flops import PEAK_FLOP_PER_S, flops_per_token
from train.model.llama import ModelConfig, count_parameters

PROCESSES = (1, 2, 4)
PADDING = 0.01  # of shards to equal lengths
DEVICES = ("NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3")


# gloo's all-gather allocates a tensor at each call. By default glibc returns tensors of 32 MiB and more to
# the kernel each time and gets them back page by page, which takes longer than the exchange (mallopt(3)).
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def measure(processes: int, part: str) -> Any:
    """What the worker writes for one part, on so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        done = torchrun(["benchmarks/communication_worker.py", part, str(out)], processes)
        if done.returncode:
            raise RuntimeError(f"the worker ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return json.loads(out.read_text())


def links(processes: int) -> dict[str, Any]:
    """Timings of both collectives with the link fitted to each."""
    timings = [Timing(*values) for values in measure(processes, "links")]
    found: dict[str, Any] = {}
    for kind in (ALL_REDUCE, ALL_GATHER):
        own = [timing for timing in timings if timing.kind == kind]
        link = fit(own, processes)
        found[kind] = {
            "bytes": [timing.n_bytes for timing in own],
            "seconds": [timing.seconds for timing in own],
            "latency_s": link.latency_s,
            "bytes_per_s": link.bytes_per_s,
            "worst_error": worst_error(link, own, processes),
        }
        print(
            f"{processes} processes, {kind}: {link.latency_s * 1e6:.0f} us and "
            f"{link.bytes_per_s / 1e9:.2f} GB/s a hop, within {found[kind]['worst_error']:.0%} of every size",
            flush=True,
        )
    return found


Traffic = dict[str, dict[str, float]]  # "a_step", "a_micro_batch" → kind → bytes


def expected_traffic(strategy: str, parameters: int, in_root: int) -> Traffic:
    """Bytes of the collectives of a step in bf16, and of each of its micro-batches.

    Gradients are exchanged in fp32 by ddp and fsdp, in bf16 by DeepSpeed, which all-reduces them where a
    reduce-scatter would do, in stage 2 after every micro-batch. fsdp gathers bf16 weights for the forward
    pass and again for the backward pass, except those `in_root` (embedding and head), which stay gathered.
    """
    once: dict[str, float] = {}
    each: dict[str, float] = {}
    if strategy == "ddp":
        once = {ALL_REDUCE: 4 * parameters}
    elif strategy == "fsdp":
        once = {"reduce_scatter": 4 * parameters}
        each = {ALL_GATHER: 4 * (parameters - in_root) + 2 * in_root}
    else:
        once = {ALL_GATHER: 2 * parameters}
        (once if strategy == "zero1" else each)[ALL_REDUCE] = 2 * parameters
    return {"a_step": once, "a_micro_batch": each}


def sizes(model: ModelConfig) -> tuple[int, int]:
    """(all parameters, those outside of the layers)."""
    parameters = count_parameters(model)
    with_one_layer_less = model.model_copy(update={"num_hidden_layers": model.num_hidden_layers - 1})
    layers = (parameters - count_parameters(with_one_layer_less)) * model.num_hidden_layers
    return parameters, parameters - layers


def checked_traffic() -> dict[str, Traffic]:
    """The counted traffic at mini scale. Raises RuntimeError where it is not as expected."""
    counted = measure(TRAFFIC_PROCESSES, "traffic")
    mini = sizes(load_run(CONFIGS / "runs" / "run20.yaml", "mini").model)
    for name in STRATEGIES:
        expected = expected_traffic(name, *mini)
        for when, kinds in counted[name].items():
            for kind, n_bytes in kinds.items():
                if abs(n_bytes - expected[when].get(kind, 0)) > PADDING * 4 * mini[0]:
                    raise RuntimeError(f"{name} exchanges {counted[name]} bytes, expected were {expected}")
    return counted


def full_model() -> dict[str, Any]:
    """What one step of Run 20 at full scale computes, for the report, which knows no models."""
    run = load_run(CONFIGS / "runs" / "run20.yaml", "full")
    return {
        "run": run.run_id,
        "parameters": count_parameters(run.model),
        "traffic": {name: expected_traffic(name, *sizes(run.model)) for name in STRATEGIES},
        "flops_per_token": flops_per_token(run.model, run.recipe.sequence_length),
        "tokens_per_step": run.tokens_per_step,
        "sequences_per_step": run.recipe.global_batch_size,
        "micro_batch_size": run.recipe.micro_batch_size,
        "peak_flop_per_s": {name: PEAK_FLOP_PER_S[name] for name in DEVICES},
    }


def main() -> None:
    """Measure, print, record."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ |= KEEP_MEMORY
    figures: dict[str, Any] = {
        "command": "make bench-communication",
        "backend": "gloo",
        "load_before": os.getloadavg()[0],
        "links": {str(n): links(n) for n in PROCESSES if n > 1},
        "model": f"Run 20 at mini scale, {MICRO_BATCH} x {SEQUENCE_LENGTH} tokens a process, {PRECISIONS[0]}",
        "steps": [],
    }
    for processes in PROCESSES:
        for step in measure(processes, "steps"):
            figures["steps"].append(step)
            print(
                f"{processes} processes, {step['strategy']}: {step['step_s'] * 1e3:.0f} ms a step, "
                f"{step['alone_s'] * 1e3:.0f} without exchange, exchange_s {step['exchange_s'] * 1e3:.0f} ms",
                flush=True,
            )
    figures["traffic"] = checked_traffic()
    figures["full_model"] = full_model()
    assert {step["strategy"] for step in figures["steps"]} >= set(STRATEGIES)
    print(record("communication", figures, ("torch", "deepspeed")))


if __name__ == "__main__":
    run_main(main)
