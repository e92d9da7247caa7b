"""One process that saves and loads a checkpoint and reports the memory that loading took: `… OUT STRATEGY`.

It writes OUT/memory.<rank>.json: peak_bytes (growth of anonymous memory while loading), shard_bytes (this
process's weights and moments), largest_bytes (the largest tensor). test_resume_memory.py starts it.
"""

import gc
import json
import sys
import threading
from pathlib import Path

import torch

from configs.loader import CONFIGS
from tests.train.checkpoint.test_checkpoint import state
from train.checkpoint.load import list_checkpoints, load_checkpoint
from train.checkpoint.save import Saver
from train.config import load_run
from train.data.batches import Batch
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.strategy import make_strategy
from train.parallel.world import run_world, start_world

PAGE_BYTES = 4096


def anonymous_bytes() -> int:
    """Resident memory of this process that no file backs (proc(5), statm: resident - shared)."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * PAGE_BYTES


class Peak(threading.Thread):
    """Samples the anonymous memory every 0.5 ms from start to stop and keeps the largest."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.peak = anonymous_bytes()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.0005):
            self.peak = max(self.peak, anonymous_bytes())

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self.peak - self.before


def main() -> int:
    out, name = Path(sys.argv[1]), sys.argv[2]
    world = start_world()
    run = load_run(
        CONFIGS / "runs/run20.yaml",
        "demo",
        overrides={"strategy": name, "sequence_length": 8, "global_batch_size": 2, "micro_batch_size": 1},
    )
    shape = {"vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8}
    run = run.model_copy(update={"model": run.model.model_copy(update=shape)})
    model = build_model(run.model, 0)
    n_bytes = {name: weight.numel() * 4 for name, weight in model.named_weights().items()}
    strategy = make_strategy(model, make_optimizer(model, run, world.device), world, run, 1)
    tokens = torch.zeros((1, 9), dtype=torch.long)
    strategy.backward(Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(1, dtype=torch.long)), 16, True)
    strategy.step(1e-4)  # creates the optimiser's moments
    saver = Saver(out / "checkpoints", strategy)
    saver.save(state(2))
    saver.wait()
    world.barrier()
    gc.collect()
    peak = Peak()
    peak.start()
    load_checkpoint(list_checkpoints(out / "checkpoints")[-1], strategy)
    facts = {
        "peak_bytes": peak.stop(),
        "shard_bytes": 3 * sum(n_bytes.values()) // (1 if name == "ddp" else world.size),
        "largest_bytes": max(n_bytes.values()),
    }
    (out / f"memory.{world.rank}.json").write_text(json.dumps(facts))
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
