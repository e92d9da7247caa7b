"""Training speed beside transformers' Trainer, and how much of the corpus a recipe ever trains on.

    make bench-train [SCALE=mini] [DATA=data/mini] [VARIANT=main]

In:  token shards below DATA (make preprocess SCALE=mini ...; for SCALE=demo: make demo).
Out: tables; analysis/measurements/train.json.

Both train Run 20's model from the same weights on the same batches in the same order, with ZeRO-1 on two
processes and a constant learning rate. Ours is train/pretrain.py as a user starts it; the peer is Trainer
with its batches in memory (benchmarks/training_peer.py). Start-up, the first steps, validation and
checkpoints are not timed. Runs alternate; the ratio is the median over the pairs.

The authors' release truncates each paper to its first T tokens and pads shorter ones; ours packs papers into
windows. From the lengths of the documents follow two shares: that of positions whose token is a target, and
that of the corpus's tokens that are ever a target.
"""

import json
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.coverage import epoch_of_tokens, epoch_samples
from benchmarks.measure import record, token_arguments
from configs.loader import UserError, run_main
from tests.support.training import torchrun
from train.config import Run, load_run
from train.data.batches import TrainingData
from train.data.shards import TokenSet, open_tokens

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "configs/runs/run20.yaml"
PROCESSES, PAIRS = 2, 5
STEPS, UNTIMED_STEPS = 24, 4  # caches and allocators settle in the untimed first steps
SAME_STEPS, SAME_NATS = 5, 1e-4  # the first losses of both must agree to this


def train_steps(script: str, *arguments: object) -> None:
    """Run a training script on two processes with one thread each."""
    done = torchrun([script, str(RUN), *map(str, arguments)], PROCESSES, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stderr[-4000:]}")


def step_seconds(seconds: list[float]) -> float:
    """Mean duration of the timed steps, given the time at which each step ended."""
    return mean(after - before for before, after in pairwise(seconds[UNTIMED_STEPS - 1 :]))


def time_ours(folder: Path, arguments: list[str]) -> tuple[float, list[float]]:
    """Time train/pretrain.py: (seconds a step, loss of each step in nats)."""
    train_steps("train/pretrain.py", *arguments, "--out", folder)
    rows = [json.loads(line) for line in (folder / "log.0.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    return step_seconds([row["wall_s"] for row in steps]), [row["loss_nats"] for row in steps]


def time_peer(folder: Path, arguments: list[str]) -> tuple[float, list[float]]:
    """Time transformers' Trainer: (seconds a step, loss of each step in nats)."""
    folder.mkdir()
    train_steps("benchmarks/training_peer.py", *arguments, "--out", folder / "times.json")
    times = json.loads((folder / "times.json").read_text())
    return step_seconds(times["seconds"]), times["losses"]


def shares(tokens: TokenSet, run: Run, sequence_length: int) -> dict[str, dict[str, float]]:
    """Share of useful positions and share of the corpus ever trained on, for both recipes at one length."""
    n_tokens = sum(stream.n_tokens for stream in tokens.domains.values())
    shares = {}
    for name, packing in (("packed", "windows"), ("truncated and padded", "truncate")):
        values = {"sequence_length": sequence_length, "packing": packing}
        recipe = run.with_recipe(**values)
        samples = epoch_samples(tokens, sequence_length, packing == "truncate")
        epoch = epoch_of_tokens(TrainingData(tokens, recipe), samples)
        shares[name] = {"useful": 1 - epoch.padding, "seen": epoch.seen(n_tokens)}
    return shares


def main() -> None:
    """Measure, print, record."""
    arguments, data = token_arguments(__doc__)
    run = load_run(RUN, arguments.scale, 0, {"corpus": arguments.variant})
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train")
    total = STEPS * run.tokens_per_step
    options = ["--scale", arguments.scale, "--data", str(data.resolve()), f"corpus={arguments.variant}"]
    options += [f"tokens_total={total}", "schedule=constant", f"validate_every_tokens={total}"]

    ours, peer = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for pair in range(PAIRS):
            ours.append(time_ours(Path(scratch) / f"ours{pair}", options))
            peer.append(time_peer(Path(scratch) / f"peer{pair}", options))
            print(f"pair {pair + 1} of {PAIRS}: {ours[-1][0]:.3f} and {peer[-1][0]:.3f} s a step", flush=True)
    ratios = [theirs[0] / own[0] for own, theirs in zip(ours, peer, strict=True)]
    figures: dict[str, Any] = {
        "command": f"make bench-train SCALE={arguments.scale} VARIANT={arguments.variant}",
        "model": run.recipe.model + f" at scale {arguments.scale}",
        "tokens_per_step": run.tokens_per_step,
        "timed_steps": STEPS - UNTIMED_STEPS,
        "pairs": PAIRS,
        "processes": PROCESSES,
    }
    for name, times in (("ours", ours), ("Trainer with DeepSpeed ZeRO-1", peer)):
        speed, losses = run.tokens_per_step / median(s for s, _ in times), times[0][1]
        print(f"{name:>30}: {speed:8,.0f} tokens/s, mean loss {mean(losses):.4f} nats")
        figures[name] = {"tokens_per_s": speed, "mean_loss_nats": mean(losses)}
    # With the same weights and batches the first losses must agree, else the speeds cannot be compared.
    apart = max(abs(a - b) for a, b in zip(ours[0][1][:SAME_STEPS], peer[0][1][:SAME_STEPS], strict=True))
    figures[f"largest_difference_of_the_first_{SAME_STEPS}_losses_nats"] = apart
    if apart > SAME_NATS:
        raise UserError(
            f"the first {SAME_STEPS} losses differ by up to {apart:.1e} nats: speeds not compared"
        )
    figures["ratio"] = median(ratios)
    figures["ratios"] = ratios
    print(f"{'ratio':>30}: {median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))})\n")

    figures["shares"] = {}
    print(f"{'':>30}  useful tokens  corpus ever seen")
    for length in (run.recipe.sequence_length, 768):
        for recipe, share in shares(tokens, run, length).items():
            print(f"{recipe + f', T = {length}':>30}: {share['useful']:12.1%} {share['seen']:17.1%}")
            figures["shares"][f"{recipe}, T = {length}"] = share
    record("train", figures, ("torch", "transformers", "accelerate", "deepspeed"))


if __name__ == "__main__":
    run_main(main)
