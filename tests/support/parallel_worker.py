"""One process that compares strategies: `parallel_worker.py OUT compare|continue STRATEGY_PRECISION …`.

For each strategy and precision the main process writes facts.json (norms, losses, faults, dtypes) and the
weights after a step. test_parallel.py starts it, alone or with torchrun. The precision `muon` means fp32 with
`optimizer: muon`.

    free, clipped  one step of SGD without clipping, and with a clip far below the norm
    padded         one step on sequences of unequal length
    adamw          losses of 20 steps of the recipe, with a checkpoint after the 10th
    accumulated    one step of many equal micro-batches
    faults         steps whose gradient is not finite or too large on the last process only

`continue` resumes from what another number of processes has left. One process takes the steps 11 to 15 from
each strategy's checkpoint of step 10 and saves; two processes then write to resumed.json:

    same           losses of the steps 11 to 20 from the strategy's own checkpoint of step 10
    elastic        losses of the steps 16 to 20 from the checkpoint of the one process
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from configs.loader import CONFIGS
from train.checkpoint.load import TrainState, list_checkpoints, load_checkpoint
from train.checkpoint.save import Saver
from train.config import Run, load_run
from train.data.batches import Batch
from train.model.llama import build_model, rope_frequencies
from train.model.loss import IGNORE
from train.optimizer import make_optimizer
from train.parallel.strategy import DataParallel, StepResult, make_strategy
from train.parallel.world import World, run_world, start_world

SEQUENCES, T, MICRO, LR, CLIP = 8, 32, 2, 0.1, 1e-3
MANY = 288  # equal micro-batches; a bf16 sum of equal terms stops growing at the 256th (8 bits of precision)
ADAMW_STEPS, FIRST, SECOND = 20, 10, 15  # a checkpoint follows FIRST and SECOND


class Case:
    """A strategy with a new model, whose loss a test can multiply by `factor`."""

    def __init__(self, world: World, run: Run, adamw: bool = False) -> None:
        self.world, self.run, self.factor = world, run, 1.0
        self.accumulated = run.grad_accum_steps(world.size)
        model = build_model(run.model, init_seed=0)
        forward = model.forward

        def spoiled(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            loss_sum, losses_B = forward(*inputs)
            return loss_sum * self.factor, losses_B

        model.forward = spoiled
        optimizer: torch.optim.Optimizer = make_optimizer(model, run, world.device)
        if not adamw:
            groups = [group | {"weight_decay": 0.0} for group in optimizer.param_groups]
            optimizer = torch.optim.SGD(groups, lr=LR)
        self.strategy: DataParallel = make_strategy(model, optimizer, world, run, self.accumulated)

    def step(
        self,
        tokens: torch.Tensor,
        lr: float = LR,
        judge: Callable[[float], str] = lambda norm: "",
        targets: torch.Tensor | None = None,
    ) -> tuple[float, StepResult]:
        """Take a step on sequences of T + 1 tokens, split over processes; return (mean loss, result)."""
        targets = tokens[:, 1:] if targets is None else targets
        n_targets, losses = int((targets != IGNORE).sum()), []
        mine, wanted = (
            whole.chunk(self.world.size)[self.world.rank].split(self.run.recipe.micro_batch_size)
            for whole in (tokens, targets)
        )
        for micro_step, (rows, row_targets) in enumerate(zip(mine, wanted, strict=True)):
            batch = Batch(rows[:, :-1], row_targets, torch.zeros(len(rows)))
            last = micro_step == self.accumulated - 1
            losses.append(self.strategy.backward(batch, n_targets, last))
        loss = float(self.world.sum(torch.cat(losses).double().sum())) / n_targets
        return loss, self.strategy.step(lr, judge)

    def train(self, start: int, end: int, save_to: Path | None = None) -> list[float]:
        """Losses of the recipe's steps `start + 1` to `end`; a checkpoint of the last follows."""
        losses = [self.step(random_tokens(step % 4), lr=1e-3)[0] for step in range(start, end)]
        if save_to:
            saver = Saver(save_to, self.strategy)
            same = {"config_sha256": "", "data_fingerprint": "", "tokenizer_sha256": ""}
            saver.save(TrainState(step=end, tokens_seen=end, **same))
            saver.wait()
            self.world.barrier()
        return losses

    def resume(self, folder: Path) -> "Case":
        """The same case with the state of a folder's newest checkpoint."""
        load_checkpoint(list_checkpoints(folder)[-1], self.strategy)
        return self


def random_tokens(seed: int) -> torch.Tensor:
    """Random token sequences for a step (SEQUENCES, T + 1)."""
    return torch.randint(2048, (SEQUENCES, T + 1), generator=torch.Generator().manual_seed(seed))


def padded_targets() -> torch.Tensor:
    """Targets of `random_tokens(0)` in sequences of 1, 5, 9, … tokens, padded (SEQUENCES, T)."""
    targets = random_tokens(0)[:, 1:].clone()
    for row in range(SEQUENCES):
        targets[row, 1 + 4 * row :] = IGNORE
    return targets


def one_step(case: Case, weights_file: Path, targets: torch.Tensor | None = None) -> dict[str, Any]:
    """Take one step from the initial weights, write the weights after it to a file, return its facts."""
    loss, result = case.step(random_tokens(0), targets=targets)
    weights = case.strategy.state().weights
    if case.world.is_main:
        save_file(dict(weights), weights_file)
    rope = sorted({str(buffer.dtype) for buffer in rope_frequencies(case.strategy.model).values()})
    return {"strategy": case.strategy.name, "loss": loss, "norm": result.grad_norm, "rope": rope}


def accumulate(world: World, run_of: Callable[..., Run], many: bool) -> float:
    """Gradient norm of a step of equal micro-batches, one or MANY for each process."""
    sequences = world.size * (MANY if many else 1)
    run = run_of(clip_grad_norm=None, micro_batch_size=1, global_batch_size=sequences)
    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    run = run.model_copy(update={"model": run.model.model_copy(update=shape)})
    tokens = (random_tokens(0)[:1, :5] % 64).expand(sequences, 5)
    case = Case(world, run)
    while (result := case.step(tokens)[1]).overflowed:  # fp16: until the loss scale is small enough
        pass
    return result.grad_norm


def take_faulty_steps(case: Case) -> dict[str, Any]:
    """Facts of faulty steps, and of the step after them, which must be the same as without them."""
    last = case.world.rank == case.world.size - 1
    before = dict(case.strategy.state().weights)
    facts: dict[str, Any] = {}
    for name, factor in (("nan", float("nan")), ("spike", 1e6)):
        case.factor = factor if last else 1.0
        result = case.step(random_tokens(1), judge=lambda norm: "" if norm < 1e3 else "far")[1]
        after = case.strategy.state().weights
        facts[name] = {
            "fault": result.fault,
            "overflowed": result.overflowed,
            "scale": case.strategy.loss_scale.scale,
            "scales": [
                float(scale) for scale in case.world.gather(torch.tensor(case.strategy.loss_scale.scale))
            ],
            "unharmed": all(torch.equal(after[key], before[key]) for key in before),
            "layers": sorted(result.layer_norms),
            "largest": max(map(abs, result.layer_norms.values()), default=0.0) if name == "spike" else None,
            "norm": result.grad_norm if name == "spike" else None,
        }
    case.factor = 1.0
    loss, result = case.step(random_tokens(0))
    after = case.strategy.state().weights
    change = sum(float((after[key] - before[key]).double().square().sum()) for key in before) ** 0.5
    return facts | {"then": {"loss": loss, "norm": result.grad_norm, "change": change}}


def compare(world: World, run_of: Callable[..., Run], folder: Path) -> None:
    """Write facts.json, weights and a checkpoint of a strategy; with muon, only of the recipe's steps."""
    facts: dict[str, Any] = {}
    precision, optimizer = run_of().recipe.precision, run_of().recipe.optimizer
    if optimizer == "adamw":
        for name, clip in (("free", None), ("clipped", CLIP)):
            case = Case(world, run_of(clip_grad_norm=clip))
            facts[name] = one_step(case, folder / f"{name}.safetensors")
        padded = Case(world, run_of(clip_grad_norm=None))
        facts["padded"] = one_step(padded, folder / "padded.safetensors", padded_targets())
        facts["faults"] = take_faulty_steps(Case(world, run_of(clip_grad_norm=None)))
    if precision != "bf16":
        case = Case(world, run_of(), adamw=True)
        facts["adamw"] = case.train(0, FIRST, folder / "checkpoints") + case.train(FIRST, ADAMW_STEPS)
        write_state(case, folder / "end.safetensors")
    if precision != "fp32":
        facts["accumulated"] = [accumulate(world, run_of, many) for many in (False, True)]
    if world.is_main:
        (folder / "facts.json").write_text(json.dumps(facts))


def resume(world: World, run_of: Callable[..., Run], folder: Path) -> None:
    """Continue a strategy's training from checkpoints."""
    case = Case(world, run_of(), adamw=True).resume(folder / "checkpoints")
    if world.size == 1:
        case.train(FIRST, SECOND, folder / "alone")
        return
    losses = {"same": case.train(FIRST, ADAMW_STEPS)}
    write_state(case, folder / "resumed.safetensors")
    case = Case(world, run_of(), adamw=True).resume(folder / "alone")
    losses["elastic"] = case.train(SECOND, ADAMW_STEPS)
    if world.is_main:
        (folder / "resumed.json").write_text(json.dumps(losses))


def write_state(case: Case, path: Path) -> None:
    """Write weights and moments."""
    named = case.strategy.state()._asdict()
    if case.world.is_main:
        save_file({f"{kind}.{name}": t for kind, ts in named.items() for name, t in ts.items()}, path)


def main() -> int:
    out, phase = Path(sys.argv[1]), {"compare": compare, "continue": resume}[sys.argv[2]]
    world = start_world()
    for name in sys.argv[3:]:
        strategy, precision = name.split("_")

        def run_of(strategy: str = strategy, precision: str = precision, **values: Any) -> Run:
            fixed = {"strategy": strategy, "precision": precision}
            if precision == "muon":
                fixed |= {"precision": "fp32", "optimizer": "muon"}
            fixed |= {"micro_batch_size": MICRO, "global_batch_size": SEQUENCES}
            return load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=fixed | values)

        folder = out / (f"{name}_2" if phase is resume else f"{name}_{world.size}")
        folder.mkdir(exist_ok=True, parents=True)
        phase(world, run_of, folder)
    world.barrier()
    return 0


if __name__ == "__main__":
    run_world(main)
