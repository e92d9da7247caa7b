"""One of two processes, of which the second is late: `exchange_worker.py OUT STRATEGY_PRECISION …`.

The second process waits until the first waits for it, and then LATE_S more. So the first must have waited
LATE_S for its gradients, and as long for its weights. It writes what it measured to OUT.
"""

import json
import sys
import time
from pathlib import Path

import torch

from configs.loader import CONFIGS
from tests.support import PATIENCE_S
from train.config import load_run
from train.data.batches import Batch
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.strategy import DataParallel, make_strategy
from train.parallel.world import World, run_world, start_world

SEQUENCES, T = 2, 16
LATE_S = 0.3


def meet(world: World, strategy: DataParallel, sign: Path) -> None:
    """The first process will touch `sign` when a span begins; the second is late by LATE_S from then on."""
    if world.is_main:
        now = strategy.exchange._now

        def touch() -> float:
            strategy.exchange._now = now  # type: ignore[method-assign]
            began = now()
            sign.touch()
            return began

        strategy.exchange._now = touch  # type: ignore[method-assign]
    else:
        deadline = time.monotonic() + PATIENCE_S
        while not sign.exists():
            assert time.monotonic() < deadline, f"{strategy.name}: the first process opened no span"
            time.sleep(0.01)
        time.sleep(LATE_S)


def waits(world: World, case: str, signs: Path) -> dict[str, float]:
    """Seconds that this process waited in the backward pass, in the update, and in a validation."""
    strategy_name, precision = case.split("_")
    values = {"strategy": strategy_name, "precision": precision}
    values |= {"micro_batch_size": 1, "global_batch_size": SEQUENCES}
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=values)
    model = build_model(run.model, init_seed=0)
    strategy = make_strategy(model, make_optimizer(model, run, world.device), world, run, 1)
    assert strategy.name == strategy_name
    tokens = torch.arange(T + 1).expand(1, T + 1)
    batch = Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(1))
    found = {}

    meet(world, strategy, signs / f"{case}.gradients")
    strategy.backward(batch, SEQUENCES * T, True)
    found["gradients"] = strategy.exchange.read()

    if strategy_name.startswith("zero"):  # the others gather no weights after the update
        update = strategy.optimizer.step
        # DeepSpeed updates each group alone, but in one of its optimisers all at once.
        updates_left = 1 if case == "zero1_bf16" else len(strategy.optimizer.param_groups)

        def late_update(closure: None = None) -> None:
            nonlocal updates_left
            updates_left -= 1
            if not updates_left and world.is_main:
                meet(world, strategy, signs / f"{case}.weights")
            update()
            if not updates_left and not world.is_main:
                meet(world, strategy, signs / f"{case}.weights")

        strategy.optimizer.step = late_update  # type: ignore[method-assign, assignment]
    strategy.step(1e-3)
    found["weights"] = strategy.exchange.read()

    with strategy.exchange.paused():
        strategy.evaluate(batch.input_ids_BT, batch.targets_BT)
    found["validation"] = strategy.exchange.read()
    return found


def main() -> int:
    out = Path(sys.argv[1])
    world = start_world()
    found = {case: waits(world, case, out) for case in sys.argv[2:]}
    if world.is_main:
        (out / "waits.json").write_text(json.dumps(found))
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
