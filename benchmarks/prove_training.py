"""Kill training at random steps, resume it, and compare every bit: part two of `make prove-resume`.

    python -m benchmarks.prove_training --kills 5 --strategies zero1 ddp fsdp

The script makes a small corpus. For each strategy it trains a small run on two processes without a kill, and
then again with SIGKILL to all processes at random steps and a restart after each. Losses, gradient norms and
the hash of the final weights and moments must be equal in every bit. A check of the logs shows that the final
history trained on every span of text exactly once. Last, a run uses 2, then 1, then 2 processes: it must see
the same spans in the same order with the same losses to 1e-4. The exit code is 1 if anything differs.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xxhash

from analysis.readers import run_logs
from tests.support.training import ROOT, STEPS, kill_family, pretrain_command, write_corpus
from train.config import Run, read_config
from train.data.batches import TrainingData, step_samples
from train.data.shards import open_tokens
from train.log import log_files

SAVED_EVERY = 3  # steps
EVERY_STEP = {"checkpoint_every_tokens": SAVED_EVERY * 8 * 32, "keep_last": 2}
STRATEGIES = ["zero1", "zero2", "zero3", "ddp", "accelerate", "fsdp"]
MAX_KILLS = 6  # kills of one run, SAVED_EVERY steps apart; its steps leave no room for more
START_S = 1800  # time limit of one start, generous for a busy machine


def train(data: Path, out: Path, processes: int = 2, kill_at: int | None = None, **values: Any) -> bool:
    """Start or resume a run; SIGKILL all its processes once step `kill_at` is in the log.

    Returns whether it was killed: a run can finish before. Raises RuntimeError if it fails by itself.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    command += pretrain_command(data, out, **(EVERY_STEP | values))
    log = out / f"log.{len(log_files(out))}.jsonl"
    with (out.parent / f"{out.name}.out").open("a+b") as output:
        running = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        try:
            until = time.monotonic() + START_S
            while running.poll() is None and time.monotonic() < until:
                if kill_at and log.is_file() and f'"train", "step": {kill_at},' in log.read_text():
                    return True
                time.sleep(0.01)
        finally:
            kill_family(running)
        if running.returncode:
            output.seek(0)
            raise RuntimeError(f"{out} ended with {running.returncode}:\n{output.read().decode()[-4000:]}")
    return False


def draw_steps(generator: random.Random, count: int) -> list[int]:
    """Random steps at which to kill a run, so far apart that each start saves a checkpoint."""
    closer = (SAVED_EVERY - 1) * (count - 1)
    drawn = sorted(generator.sample(range(2, STEPS - closer), count))
    return [step + number * (SAVED_EVERY - 1) for number, step in enumerate(drawn)]


def world_sizes(out: Path) -> list[int]:
    """The number of processes of each start of a run, from its logs."""
    return [json.loads(log.read_text().splitlines()[0])["world_size"] for log in log_files(out)]


def history(out: Path) -> pd.DataFrame:
    """The steps that led to the final weights, as `analysis` reads them from the logs."""
    run = run_logs.Run("demo", out.name, 0)
    return run_logs.read_run(run, log_files(out)).train.reset_index(drop=True)


def final_hash(out: Path) -> str:
    """Hash of the weights and moments after the last step."""
    digest = xxhash.xxh3_128()
    for name in ("weights", "moments"):
        digest.update((out / "checkpoints" / f"step_{STEPS:07d}" / f"{name}.safetensors").read_bytes())
    return digest.hexdigest()


def check_spans(out: Path, data: Path) -> None:
    """Assert that each step was logged once with the spans of the data order, and that no spans overlap."""
    run: Run = read_config(out / "config.yaml")
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train")
    order = TrainingData(tokens, run)
    train_rows = history(out)
    assert list(train_rows["step"]) == list(range(1, STEPS + 1)), "a step is missing or was logged twice"
    for step, span_hash in zip(train_rows["step"], train_rows["span_hash"], strict=True):
        assert span_hash == order.span_hash(step_samples(step, run)), f"step {step} trained on other spans"
    spans = np.concatenate([order.spans(step_samples(step, run)) for step in train_rows["step"]])
    by_document = spans[np.lexsort((spans[:, 1], spans[:, 0]))]
    same = by_document[1:, 0] == by_document[:-1, 0]
    assert (by_document[1:, 1][same] >= by_document[:-1, 2][same]).all(), "a span was trained twice"
    # The run is shorter than an epoch, so its targets are distinct. Their number must be that of its steps.
    assert int((spans[:, 2] - spans[:, 1]).sum()) == STEPS * run.tokens_per_step


def prove_kills(data: Path, folder: Path, strategy: str, kills: int, generator: random.Random) -> None:
    """Assert that a run killed at random steps equals an undisturbed one in every bit."""
    straight, killed = folder / f"{strategy}-straight", folder / f"{strategy}-killed"
    train(data, straight, strategy=strategy)
    steps = draw_steps(generator, kills)
    hit = [step for step in steps if train(data, killed, kill_at=step, strategy=strategy)]
    train(data, killed, strategy=strategy)
    assert hit == steps, f"{strategy}: planned kills at steps {steps}, killed at {hit}"
    starts = len(world_sizes(killed))
    assert starts == kills + 1, f"{strategy}: {kills} kills, but {starts} starts: the run ended too early"
    ours, theirs = history(killed), history(straight)
    for column in ("step", "loss_nats", "grad_norm", "lr", "span_hash"):
        assert list(ours[column]) == list(theirs[column]), f"{strategy}: {column} differs"
    assert final_hash(killed) == final_hash(straight), f"{strategy}: final weights or moments differ"
    check_spans(killed, data)
    print(f"{strategy}: killed at steps {hit}, {starts} starts: every bit equal, every span once", flush=True)


def prove_elastic(data: Path, folder: Path, generator: random.Random) -> None:
    """Assert that data order and losses stay the same with 2, then 1, then 2 processes."""
    straight, elastic = folder / "zero1-straight", folder / "elastic"
    if not straight.is_dir():
        train(data, straight, strategy="zero1")
    first, second = draw_steps(generator, 2)
    train(data, elastic, kill_at=first)
    train(data, elastic, processes=1, kill_at=second)
    train(data, elastic)
    assert (sizes := world_sizes(elastic)) == [2, 1, 2], f"the starts had {sizes} processes"
    ours, theirs = history(elastic), history(straight)
    assert list(ours["span_hash"]) == list(theirs["span_hash"]), "the order of spans differs"
    apart = float((ours["loss_nats"] - theirs["loss_nats"]).abs().max())
    assert apart < 1e-4, f"losses differ by {apart} nats"
    check_spans(elastic, data)
    print(
        f"2 -> 1 -> 2 processes at steps {first}, {second}: same spans, losses differ by {apart:.1e} nats",
        flush=True,
    )


def main() -> int:
    """Prove it for each strategy; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--kills", type=int, default=5, choices=range(1, MAX_KILLS + 1), help="kills of each run"
    )
    parser.add_argument(
        "--strategies", nargs="*", default=STRATEGIES, help=f"default: {' '.join(STRATEGIES)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the steps at which to kill")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_corpus(folder / "data")
        try:
            for strategy in arguments.strategies:
                prove_kills(data, folder, strategy, arguments.kills, generator)
            prove_elastic(data, folder, generator)
        except AssertionError as error:
            print(f"not proved: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
