"""The steps of `make bench-gpu`, each in a process of its own: `python -m benchmarks.gpu_steps NAME`.

Prints one JSON line. BENCH_DEVICE=cpu takes the demo model and a few micro-batches.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from configs.loader import CONFIGS
from train.config import Run, load_run
from train.data.batches import Batch
from train.model.execution import prepare_layers, set_numerics
from train.model.flops import flops_per_token, peak_flop_per_s
from train.model.llama import PretrainModel
from train.model.loss import chunked_cross_entropy
from train.optimizer import make_optimizer
from train.parallel.strategy import make_strategy
from train.parallel.world import World
from train.planning.devices import DEVICES
from train.planning.memory import plan_memory
from train.planning.report import largest_micro_batch

ON_CUDA = os.environ.get("BENCH_DEVICE", "cuda") == "cuda"
DEVICE = torch.device("cuda" if ON_CUDA else "cpu")
DTYPE = torch.bfloat16 if ON_CUDA else torch.float32  # bf16 is slow on CPUs
WARM_UP = 3 if ON_CUDA else 1  # micro-batches that are not timed
MICRO_BATCHES = 200 if ON_CUDA else 4  # of the step `train`; others take a quarter
TIMED_S = 50.0  # after which no further micro-batch begins
N_ACCUMULATED = 64  # micro-batches of a step of Run 20 on two GPUs
DOCUMENT_END = 1  # token id
CHUNKS = (256, 512, 1024, 2048, 4096)
KINDS = {  # words in the names of CUDA kernels
    "products": ("gemm", "cutlass", "nvjet", "xmma"),
    "attention": ("flash", "fmha", "attention"),
    "optimiser": ("adam", "multi_tensor"),
    "reductions": ("reduce", "softmax", "norm"),
    "copies": ("memcpy", "memset", "copy"),
    "element by element": ("elementwise", "triton", "cat", "index", "scatter", "gather"),
}


def load(**values: Any) -> Run:
    """Run 20 on one device; on a CPU at demo scale, which is fp32."""
    scale = "full" if ON_CUDA else "demo"
    return load_run(CONFIGS / "runs" / "run20.yaml", scale, overrides=values).fitted_to(1)


def synchronize() -> None:
    """Wait for the GPU."""
    if ON_CUDA:
        torch.cuda.synchronize()


def build(run: Run, attention: str | None = None) -> PretrainModel:
    """The model with random weights, made on the device: copying 5 GB there takes longer."""
    set_numerics(run.recipe)
    with DEVICE:
        model = PretrainModel(run.model)
    model.head_chunk_tokens = run.recipe.head_chunk_tokens
    if run.recipe.mask_documents:
        model.keep_documents_apart(DOCUMENT_END)
    if attention:
        model.llama.set_attn_implementation(attention)
    prepare_layers(model, run.recipe)
    return model


def random_batch(run: Run) -> Batch:
    """A micro-batch of random tokens."""
    shape = (run.recipe.micro_batch_size, run.recipe.sequence_length + 1)
    tokens = torch.randint(run.model.vocab_size, shape, device=DEVICE)
    if run.recipe.mask_documents:  # half of each window belongs to one document
        tokens[:, shape[1] // 2] = DOCUMENT_END
    return Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(shape[0], device=DEVICE))


def timed(call: Callable[[], Any], n_calls: int) -> float:
    """Mean seconds of a call, after WARM_UP others; at most about TIMED_S in all."""
    for _ in range(WARM_UP):
        call()
    synchronize()
    began, n_done = time.perf_counter(), 0
    while n_done < n_calls and time.perf_counter() - began < TIMED_S:
        for _ in range(min(10, n_calls - n_done)):
            call()
            n_done += 1
        synchronize()
    return (time.perf_counter() - began) / n_done


def facts(run: Run, micro_s: float, update_s: float = 0.0) -> dict[str, Any]:
    """Speed with the update's share of a step of Run 20, and memory, beside the plan's."""
    recipe = run.recipe
    tokens = recipe.micro_batch_size * recipe.sequence_length
    tokens_per_s = tokens / (micro_s + update_s / N_ACCUMULATED)
    name = torch.cuda.get_device_name() if ON_CUDA else "cpu"
    peak = peak_flop_per_s(name)
    found: dict[str, Any] = {
        "device": name,
        "micro_batch_size": recipe.micro_batch_size,
        "sequence_length": recipe.sequence_length,
        "micro_batch_s": micro_s,
        "update_s": update_s,
        "tokens_per_s": tokens_per_s,
    }
    if peak:
        found["mfu"] = tokens_per_s * flops_per_token(run.model, recipe.sequence_length) / peak
        found["peak_flop_per_s"] = peak
    if ON_CUDA:
        free, total = torch.cuda.mem_get_info()
        found["peak_allocated_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["peak_reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
        found["beside_the_allocator_gb"] = (total - free - torch.cuda.memory_reserved()) / 1e9
        found["planned_gb"] = plan_memory(run, 1).peak / 1e9
        found["allocated_over_planned"] = found["peak_allocated_gb"] / found["planned_gb"]
    return found


def train(n_micro: int = MICRO_BATCHES, attention: str | None = None, **values: Any) -> dict[str, Any]:
    """Micro-batches and updates as train/pretrain.py makes them in one process.

    `attention` replaces the implementation that the run would take, by its name in transformers.
    """
    run = load(**values)
    model = build(run, attention)
    optimizer = make_optimizer(model, run, DEVICE)
    strategy = make_strategy(model, optimizer, World(0, 1, DEVICE), run, N_ACCUMULATED)
    batch = random_batch(run)
    n_targets = batch.targets_BT.numel() * N_ACCUMULATED
    strategy.backward(batch, n_targets, True)
    strategy.step(1e-5)  # makes the moments, so that the peak holds them
    micro_s = timed(lambda: strategy.backward(batch, n_targets, True), n_micro)
    began = time.perf_counter()
    strategy.step(1e-5)
    synchronize()
    return facts(run, micro_s, time.perf_counter() - began)


def layers() -> dict[str, Any]:
    """Forward and backward pass in bf16 throughout, without an update."""
    run = load()
    model = build(run).to(DTYPE)
    batch = random_batch(run)
    micro_s = timed(lambda: model(batch.input_ids_BT, batch.targets_BT)[0].backward(), MICRO_BATCHES // 4)
    return {k: v for k, v in facts(run, micro_s).items() if "planned" not in k}


def several(cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`train` under several options; one that fails leaves its error."""
    found: dict[str, Any] = {}
    for name, values in cases.items():
        try:
            found[name] = train(MICRO_BATCHES // 4, **values)
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
        if ON_CUDA:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    return found


def micro() -> dict[str, Any]:
    """`train` at the largest micro-batch that the plan says fits on this GPU."""
    name = torch.cuda.get_device_name() if ON_CUDA else "NVIDIA H100 80GB HBM3"
    device = next((device for device in DEVICES.values() if device.name == name), None)
    if device is None:
        raise ValueError(f"the plan does not know {name}")
    return train(
        MICRO_BATCHES // 4, micro_batch_size=largest_micro_batch(load(), device, 1) if ON_CUDA else 4
    )


def head() -> dict[str, Any]:
    """Milliseconds and peak memory of the head's forward and backward pass, by tokens of a piece."""
    run = load()
    n_tokens = run.recipe.micro_batch_size * run.recipe.sequence_length
    made = {"device": DEVICE, "dtype": DTYPE, "requires_grad": True}
    hidden = torch.randn(n_tokens, run.model.hidden_size, **made)
    weight = (torch.randn(run.model.vocab_size, run.model.hidden_size, **made).detach() / 50).requires_grad_()
    targets = torch.randint(run.model.vocab_size, (n_tokens,), device=DEVICE)
    found: dict[str, Any] = {"tokens": n_tokens}
    for chunk in CHUNKS:
        if ON_CUDA:
            torch.cuda.reset_peak_memory_stats()
        seconds = timed(
            lambda chunk=chunk: chunked_cross_entropy(hidden, weight, targets, chunk)[0].backward(),  # type: ignore[misc]
            20 if ON_CUDA else 1,
        )
        found[str(chunk)] = {"ms": 1e3 * seconds}
        if ON_CUDA:
            found[str(chunk)]["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def optimizer() -> dict[str, Any]:
    """Milliseconds of an update of all weights by AdamW's three implementations."""
    model = build(load())
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    found = {}
    for name in ("fused", "foreach", "for_loop"):
        options = {"fused": name == "fused", "foreach": name == "foreach"}
        adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, **options)
        found[f"{name}_ms"] = 1e3 * timed(adamw.step, 10 if ON_CUDA else 2)
        del adamw
    return found


def profile_step() -> dict[str, Any]:
    """Share of the device's time by kind of kernel, and the kernels that take most, of two micro-batches."""
    run = load()
    model = build(run)
    strategy = make_strategy(model, make_optimizer(model, run, DEVICE), World(0, 1, DEVICE), run, 2)
    batch = random_batch(run)
    n_targets = 2 * batch.targets_BT.numel()
    for _ in range(WARM_UP):
        strategy.backward(batch, n_targets, True)
    strategy.step(1e-5)
    synchronize()
    activities = [ProfilerActivity.CUDA if ON_CUDA else ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        strategy.backward(batch, n_targets, False)
        strategy.backward(batch, n_targets, True)
        strategy.step(1e-5)
        synchronize()
    times = Counter[str]()
    for event in profiled.key_averages():
        times[event.key] += event.self_device_time_total if ON_CUDA else event.self_cpu_time_total
    total = sum(times.values())
    kinds = Counter[str]()
    for name, spent in times.items():
        lower = name.lower()
        kinds[next((k for k, words in KINDS.items() if any(w in lower for w in words)), "other")] += spent
    return {
        "device_ms": total / 1e3,
        "share_by_kind": {kind: spent / total for kind, spent in kinds.most_common()},
        "longest": [{"name": n[:90], "share": spent / total} for n, spent in times.most_common(15)],
    }


MODES = {"selective": {"recompute": "selective"}, "full": {"recompute": "full"}}
DOCUMENTS = {
    "flex": {"mask_documents": True},
    "mask": {"mask_documents": True, "attention": "sdpa"},
}
RUNNERS: dict[str, Callable[[], dict[str, Any]]] = {
    "train": train,
    "layers": layers,
    "compile": lambda: train(MICRO_BATCHES // 4, compile=True),
    "recompute": lambda: several(MODES),
    "micro": micro,
    "documents": lambda: several(DOCUMENTS),
    "head": head,
    "optimizer": optimizer,
    "profile": profile_step,
}


def main() -> None:
    """Run the step that the command line names and print its figures."""
    if ON_CUDA and not torch.cuda.is_available():
        sys.exit("torch sees no GPU; BENCH_DEVICE=cpu runs the same code on the demo model")
    if not ON_CUDA:
        torch.set_num_threads(1)
    print(json.dumps(RUNNERS[sys.argv[1]]()))


if __name__ == "__main__":
    main()
