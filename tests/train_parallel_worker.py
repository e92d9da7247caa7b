"""One process of the comparison of strategies: `train_parallel_worker.py OUT STRATEGY_PRECISION …`.

For each strategy and precision it takes one step of SGD without clipping and one with a clip far below the
norm, and the main process writes what it sees: gradient norms, weights, dtypes. Started by
test_train_parallel.py, alone or through torchrun.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from configs.loader import CONFIGS
from train.config import load_run
from train.data import Batch
from train.model import build_model, rope_frequencies
from train.optimizer import make_optimizer
from train.parallel import make_strategy
from train.world import World, run_world, start_world

SEQUENCES, T, MICRO, LR, CLIP = 8, 32, 2, 0.1, 1e-3


def take_step(
    world: World, strategy_name: str, precision: str, clip: float | None, weights_file: Path
) -> Any:
    """Facts of one step from the initial weights; the weights after it go to a file."""
    values = {"strategy": strategy_name, "precision": precision, "clip_grad_norm": clip}
    values |= {"micro_batch_size": MICRO, "global_batch_size": SEQUENCES}
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=values)
    accumulated = run.grad_accum_steps(world.size)
    model = build_model(run.model, init_seed=0)
    groups = [
        group | {"weight_decay": 0.0} for group in make_optimizer(model, run, world.device).param_groups
    ]
    strategy = make_strategy(model, torch.optim.SGD(groups, lr=LR), world, run, accumulated)
    tokens = torch.randint(2048, (SEQUENCES, T + 1), generator=torch.Generator().manual_seed(0))
    losses = []
    for micro_step, rows in enumerate(tokens.chunk(world.size)[world.rank].split(MICRO)):
        batch = Batch(rows[:, :-1], rows[:, 1:], torch.zeros(len(rows)))
        losses.append(strategy.backward(batch, SEQUENCES * T, last=micro_step == accumulated - 1))
    loss = float(world.sum(torch.cat(losses).double().sum())) / (SEQUENCES * T)
    norm = strategy.step(LR).grad_norm
    weights = strategy.state().weights
    if world.is_main:
        save_file(dict(weights), weights_file)
    rope = sorted({str(buffer.dtype) for buffer in rope_frequencies(model).values()})
    return {"strategy": strategy.name, "loss": loss, "norm": norm, "rope": rope}


def main() -> int:
    out = Path(sys.argv[1])
    world = start_world()
    for case in sys.argv[2:]:
        folder = out / f"{case}_{world.size}"
        folder.mkdir(exist_ok=True, parents=True)
        facts = {
            name: take_step(world, *case.split("_"), clip, folder / f"{name}.safetensors")
            for name, clip in (("free", None), ("clipped", CLIP))
        }
        if world.is_main:
            (folder / "facts.json").write_text(json.dumps(facts))
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
