"""Kill training at random steps, go on, and compare every bit: part two of `make prove-resume`.

    python -m benchmarks.prove_training --kills 5 --strategies zero1 ddp fsdp

In: nothing, a small corpus is made. For each strategy a small run is trained on two processes undisturbed,
then again with SIGKILL to all processes at random steps and a restart after each. Loss, gradient norm and
the hash of the final weights and moments must be equal in every bit. A query over the logs proves that in
the final history no span of text was trained twice or left out. Last, a run goes on with 2, 1 and again 2
processes: the same spans in the same order, the same loss to 1e-4. Ends with 1 where something differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import xxhash

from analysis.readers import run_logs
from tests.support.training import ROOT, STEPS, pretrain_command, write_corpus
from train.config import Run, read_config
from train.data.batches import TrainingData, step_samples
from train.data.shards import open_tokens

SAVED_EVERY = 3  # steps
EVERY_STEP = {"checkpoint_every_tokens": SAVED_EVERY * 8 * 32, "keep_last": 2}
MAX_KILLS = 6  # of a run: more do not fit between its steps at that distance
START_S = 1800  # that a start may take where many other things run


def train(data: Path, out: Path, processes: int = 2, kill_at: int | None = None, **values: Any) -> bool:
    """Start or go on with a run; SIGKILL all its processes once step `kill_at` is in the log.

    Returns whether it was killed (a run can be over before). Raises RuntimeError where it fails by itself.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    command += pretrain_command(data, out, **(EVERY_STEP | values))
    log = out / f"log.{len(list(out.glob('log.*.jsonl')))}.jsonl"
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


def kill_family(running: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a process and all that it started."""
    try:
        family = [psutil.Process(running.pid), *psutil.Process(running.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    running.wait()


def draw_steps(generator: random.Random, count: int) -> list[int]:
    """Steps to kill a run at, from the second to the last but one: each start gets to a checkpoint."""
    closer = (SAVED_EVERY - 1) * (count - 1)
    drawn = sorted(generator.sample(range(2, STEPS - closer), count))
    return [step + number * (SAVED_EVERY - 1) for number, step in enumerate(drawn)]


def world_sizes(out: Path) -> list[int]:
    """Number of processes of each start of a run, from its logs."""
    logs = sorted(out.glob("log.*.jsonl"), key=lambda path: int(path.name.split(".")[1]))
    return [json.loads(log.read_text().splitlines()[0])["world_size"] for log in logs]


def history(out: Path) -> pd.DataFrame:
    """The steps that led to the final weights, by the rules of every reader of logs."""
    files = sorted(out.glob("log.*.jsonl"), key=lambda path: int(path.name.split(".")[1]))
    return run_logs.read_run(run_logs.Run("demo", out.name, 0), files).train.reset_index(drop=True)


def final_hash(out: Path) -> str:
    """Hash of the weights and moments after the last step."""
    digest = xxhash.xxh3_128()
    for name in ("weights", "moments"):
        digest.update((out / "checkpoints" / f"step_{STEPS:07d}" / f"{name}.safetensors").read_bytes())
    return digest.hexdigest()


def check_ledger(out: Path, data: Path) -> None:
    """Every step once, each with the spans that the data order gives it, and no two spans overlap."""
    run: Run = read_config(out / "config.yaml")
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train")
    order = TrainingData(tokens, run)
    train_rows = history(out)
    assert list(train_rows["step"]) == list(range(1, STEPS + 1)), "a step is missing or there twice"
    for step, span_hash in zip(train_rows["step"], train_rows["span_hash"], strict=True):
        assert span_hash == order.span_hash(step_samples(step, run)), f"step {step} saw other spans"
    spans = np.concatenate([order.spans(step_samples(step, run)) for step in train_rows["step"]])
    by_document = spans[np.lexsort((spans[:, 1], spans[:, 0]))]
    same = by_document[1:, 0] == by_document[:-1, 0]
    assert (by_document[1:, 1][same] >= by_document[:-1, 2][same]).all(), "a span was trained twice"
    # The run is shorter than an epoch: all its targets are distinct, and as many as its steps take.
    assert int((spans[:, 2] - spans[:, 1]).sum()) == STEPS * run.tokens_per_step


def prove_kills(data: Path, folder: Path, strategy: str, kills: int, generator: random.Random) -> None:
    """Bit-equality and token ledger of a run that is killed at random steps."""
    straight, killed = folder / f"{strategy}-straight", folder / f"{strategy}-killed"
    train(data, straight, strategy=strategy)
    steps = draw_steps(generator, kills)
    hit = [step for step in steps if train(data, killed, kill_at=step, strategy=strategy)]
    train(data, killed, strategy=strategy)
    assert hit == steps, f"{strategy}: to be killed at steps {steps}, killed at {hit}"
    starts = len(world_sizes(killed))
    assert starts == kills + 1, f"{strategy}: {kills} kills, but {starts} starts: it had ended before"
    ours, theirs = history(killed), history(straight)
    for column in ("step", "loss_nats", "grad_norm", "lr", "span_hash"):
        assert list(ours[column]) == list(theirs[column]), f"{strategy}: {column} differs"
    assert final_hash(killed) == final_hash(straight), f"{strategy}: final weights or moments differ"
    check_ledger(killed, data)
    print(f"{strategy}: killed at steps {hit}, {starts} starts: every bit equal, every span once", flush=True)


def prove_elastic(data: Path, folder: Path, generator: random.Random) -> None:
    """The same data order and loss with 2, then 1, then 2 processes."""
    straight, elastic = folder / "zero1-straight", folder / "elastic"
    if not straight.is_dir():
        train(data, straight, strategy="zero1")
    first, second = draw_steps(generator, 2)
    train(data, elastic, kill_at=first)
    train(data, elastic, processes=1, kill_at=second)
    train(data, elastic)
    assert (sizes := world_sizes(elastic)) == [2, 1, 2], f"the starts had {sizes} processes"
    ours, theirs = history(elastic), history(straight)
    assert list(ours["span_hash"]) == list(theirs["span_hash"]), "another order of spans"
    apart = float((ours["loss_nats"] - theirs["loss_nats"]).abs().max())
    assert apart < 1e-4, f"losses are {apart} apart"
    check_ledger(elastic, data)
    print(
        f"2 -> 1 -> 2 processes at steps {first}, {second}: same spans, losses {apart:.1e} apart", flush=True
    )


def main() -> int:
    """Prove it for each strategy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=5, choices=range(1, MAX_KILLS + 1), help="of each run")
    parser.add_argument("--strategies", nargs="*", default=["zero1", "ddp", "fsdp"])
    parser.add_argument("--no-elastic", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which it is killed")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = write_corpus(folder / "data")
        try:
            for strategy in arguments.strategies:
                prove_kills(data, folder, strategy, arguments.kills, generator)
            if not arguments.no_elastic:
                prove_elastic(data, folder, generator)
        except AssertionError as error:
            print(f"not proved: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
