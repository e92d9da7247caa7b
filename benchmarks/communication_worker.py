"""One process of `make bench-communication`: `communication_worker.py links|steps|traffic OUT`.

The first process writes what it measured to OUT.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from configs.loader import CONFIGS
from configs.ring_model import ALL_GATHER, ALL_REDUCE
from train.config import Run, load_run
from train.data.batches import Batch
from train.model.llama import build_model, count_parameters
from train.node_check.speed import MIB, time_collectives
from train.optimizer import make_optimizer
from train.parallel.strategy import DataParallel, make_strategy
from train.parallel.world import World, run_world, start_world

STRATEGIES = ("ddp", "zero1", "zero2", "fsdp")
PRECISIONS = ("fp32", "bf16")  # of the timed steps, because CPUs are slow in bf16; of the traffic
SEQUENCE_LENGTH, MICRO_BATCH = 128, 2
TRAFFIC_PROCESSES = 2
SIZES = tuple(2**power * MIB for power in range(9))  # 1 MiB to 256 MiB
ROUNDS, REPEATS = 6, 2  # all sizes in each round, so that a disturbance does not hit one size alone
BLOCKS, STEPS = 5, 3  # blocks with and without exchange alternate, each of so many steps

# torch.distributed's functions → the kind of the ring model that they cost as much as
ROUNDS_AS = {
    "all_reduce": ALL_REDUCE,
    "all_gather_into_tensor": ALL_GATHER,
    "all_gather_single": ALL_GATHER,
    "all_gather": ALL_GATHER,
    "reduce_scatter_tensor": "reduce_scatter",
    "reduce_scatter_single": "reduce_scatter",
    "reduce": "reduce_scatter",
}


class Traffic:
    """Counts bytes of collectives by kind, apart from tensors of a few numbers (norms, flags)."""

    LEAST_BYTES = 1024

    def __init__(self) -> None:
        self.n_bytes: Counter[str] = Counter()
        self._depth = 0
        for name, kind in ROUNDS_AS.items():
            if hasattr(dist, name):
                setattr(dist, name, self._counting(getattr(dist, name), kind))

    def _counting(self, collective: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
            tensors += [t for a in args if isinstance(a, list) for t in a]
            # The largest is the whole: the output of a gather, the input of the others.
            n_bytes = max((t.nbytes for t in tensors), default=0)
            if isinstance(args[0] if args else None, list):
                n_bytes = sum(t.nbytes for t in args[0])
            if not self._depth and n_bytes >= self.LEAST_BYTES:
                self.n_bytes[kind] += n_bytes
            self._depth += 1  # some of these functions call others of them
            try:
                return collective(*args, **kwargs)
            finally:
                self._depth -= 1

        return counting

    def read(self) -> dict[str, int]:
        """Bytes by kind since the last reading."""
        found, self.n_bytes = dict(self.n_bytes), Counter()
        return found


class Trainer:
    """A strategy with a new model of Run 20 at mini scale, fed with random tokens."""

    def __init__(self, world: World, strategy: str, precision: str, accumulation: int = 1) -> None:
        sequences = MICRO_BATCH * accumulation * world.size
        values = {"strategy": strategy, "precision": precision, "sequence_length": SEQUENCE_LENGTH}
        values |= {"micro_batch_size": MICRO_BATCH, "global_batch_size": sequences}
        self.run: Run = load_run(CONFIGS / "runs" / "run20.yaml", "mini", overrides=values)
        model = build_model(self.run.model, init_seed=0)
        optimizer = make_optimizer(model, self.run, world.device)
        self.accumulation = accumulation
        self.strategy: DataParallel = make_strategy(model, optimizer, world, self.run, accumulation)
        tokens = torch.randint(self.run.model.vocab_size, (MICRO_BATCH, SEQUENCE_LENGTH + 1))
        self.batch = Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(MICRO_BATCH))
        self.n_targets = sequences * SEQUENCE_LENGTH

    def step(self) -> None:
        """Train one step."""
        for micro_step in range(self.accumulation):
            self.strategy.backward(self.batch, self.n_targets, micro_step == self.accumulation - 1)
        self.strategy.step(1e-4)

    def seconds(self) -> float:
        """Seconds a step, over a block that all processes begin together."""
        if dist.is_initialized():
            dist.barrier()
        began = time.perf_counter()
        for _ in range(STEPS):
            self.step()
        return (time.perf_counter() - began) / STEPS


def measure_links(world: World) -> list[tuple[str, int, float]]:
    """(kind, bytes, least seconds over all rounds)."""
    least: dict[tuple[str, int], float] = {}
    for _ in range(ROUNDS):
        for timing in time_collectives(world.device, None, SIZES, REPEATS):
            key = timing.kind, timing.n_bytes
            least[key] = min(timing.seconds, least.get(key, timing.seconds))
    return [(*key, seconds) for key, seconds in least.items()]


def measure_steps(world: World, traffic: Traffic) -> list[dict[str, Any]]:
    """A row for each strategy; one process has but one."""
    rows = []
    for name in STRATEGIES if world.size > 1 else STRATEGIES[:1]:
        together = Trainer(world, name, PRECISIONS[0])
        alone = Trainer(World(0, 1, world.device), "ddp", PRECISIONS[0])
        for trainer in (together, alone):  # allocators and lazy initialisation
            trainer.seconds()
        traffic.read(), together.strategy.exchange.read()
        with_s, without_s, exchange_s = [], [], []
        for _ in range(BLOCKS):
            with_s.append(together.seconds())
            exchange_s.append(together.strategy.exchange.read() / STEPS)
            without_s.append(alone.seconds())
        n_bytes = {kind: total / BLOCKS / STEPS for kind, total in traffic.read().items()}
        rows.append(
            {
                "processes": world.size,
                "strategy": name if world.size > 1 else "one process",
                "step_s": median(with_s),
                "alone_s": median(without_s),
                "exchange_s": median(exchange_s) if world.size > 1 else 0.0,
                "bytes": n_bytes or ddp_bytes(world, together),
            }
        )
    return rows


def ddp_bytes(world: World, trainer: Trainer) -> dict[str, int]:
    """DistributedDataParallel calls no Python function: it averages one fp32 gradient for each parameter."""
    return {ALL_REDUCE: 4 * count_parameters(trainer.run.model)} if world.size > 1 else {}


def measure_traffic(world: World, traffic: Traffic) -> dict[str, Any]:
    """Bytes by kind that a step exchanges once, and that each of its micro-batches exchanges."""
    found = {}
    for name in STRATEGIES:
        totals = []
        for accumulation in (1, 2):
            trainer = Trainer(world, name, PRECISIONS[1], accumulation)
            trainer.step()  # the first step of some strategies differs
            traffic.read()
            trainer.step()
            totals.append(traffic.read() or ddp_bytes(world, trainer))
        each = {kind: totals[1].get(kind, 0) - totals[0][kind] for kind in totals[0]}
        once = {kind: totals[0][kind] - each[kind] for kind in totals[0]}
        found[name] = {"a_step": once, "a_micro_batch": each}
    return found


def main() -> int:
    part, out = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    traffic = Traffic()  # before DeepSpeed is imported, which keeps some of the functions
    world = start_world()
    result: Any
    if part == "links":
        result = measure_links(world)
    elif part == "steps":
        result = measure_steps(world, traffic)
    else:
        result = measure_traffic(world, traffic)
    if world.is_main:
        out.write_text(json.dumps(result))
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
