"""A run that trains from text: equal batches after a kill, validation on token shards, what is refused."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from configs.loader import CONFIGS, UserError
from tests.conftest import ROOT
from tests.support.training import (
    SMALL,
    kill_family,
    pretrain_command,
    pretrain_here,
    read_rows,
    values,
    write_corpus,
    write_tokenizer,
)
from train.config import Run, load_run
from train.data.documents import ParquetDocuments, write_jsonl
from train.data.shards import open_tokens
from train.data.source import Source, open_source
from train.data.stream import load_encoder
from train.model.loss import IGNORE
from train.parallel.world import World

T = SMALL["sequence_length"]
ONE = World(0, 1, torch.device("cpu"))
# So many steps that the run ends only when it is stopped or killed.
LONG = {"tokens_total": 4000 * 8 * T, "unique_tokens": 10**9, "keep_last": 4000, "strategy": "ddp"}
CHECKPOINT, BEYOND = 5, 8  # the step from which the killed run resumes; one that it had reached by then


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards for validation, four Parquet shards of text and a JSONL file."""
    root = tmp_path_factory.mktemp("data")
    write_tokenizer(root)
    write_corpus(root)
    draw = random.Random(0)
    words = [f"{a}{b}{c}" for a in "abcde" for b in "xyz" for c in "mn"]
    texts = [" ".join(draw.choices(words, k=draw.randrange(5, 60))) for _ in range(200)]
    folder = root / "corpus/main/split_corpus"
    folder.mkdir(parents=True)
    for shard in range(4):
        rows = texts[shard::4]
        split = ["val" if row % 10 == 9 else "train" for row in range(len(rows))]
        pq.write_table(pa.table({"text": rows, "split": split}), folder / f"{shard}.parquet")
    write_jsonl(iter(texts), root / "corpus.jsonl")
    return root


def recipe_of(data: Path, source: str) -> dict[str, object]:
    if source == "parquet":
        return {"source": "parquet"}
    return {"source": "jsonl", "source_location": str(data / "corpus.jsonl"), "packing": "truncate"}


def small_run(**values: object) -> Run:
    return load_run(CONFIGS / "runs/run20.yaml", "demo", overrides=SMALL | values)


def opened(data: Path, **values: object) -> Source:
    return open_source(data, small_run(**values), open_tokens(data, "main", "main", "val"))


# ---------------------------------------------------------------- two processes


def train_until(
    data: Path, out: Path, step: int, restart: int, **values: object
) -> "subprocess.Popen[bytes]":
    """Two processes that have logged a step and written the checkpoint before it."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    process = subprocess.Popen(
        [sys.executable, *launcher, *pretrain_command(data, out, **values)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    manifest = out / f"checkpoints/step_{CHECKPOINT:07d}/manifest.json"
    log = out / f"log.{restart}.jsonl"
    while process.poll() is None:
        if manifest.is_file() and log.is_file() and f'"step": {step},' in log.read_text():
            return process
        time.sleep(0.1)
    raise AssertionError(f"ended before step {step} with exit code {process.returncode}")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["parquet", "jsonl"])
def test_a_killed_run_resumes_with_the_same_batches(data: Path, tmp_path: Path, source: str) -> None:
    recipe = recipe_of(data, source) | LONG
    kill_family(train_until(data, tmp_path, BEYOND, 0, **recipe))
    for later in (tmp_path / "checkpoints").glob("*step_*"):
        if later.name != f"step_{CHECKPOINT:07d}":
            shutil.rmtree(later)
    resumed = train_until(data, tmp_path, BEYOND, 1, **recipe)
    (tmp_path / "STOP").touch()
    resumed.wait()
    before, after = values(tmp_path), values(tmp_path, restart=1)
    assert min(after) == CHECKPOINT + 1
    assert {step: before[step] for step in range(CHECKPOINT + 1, BEYOND + 1)} == {
        step: after[step] for step in range(CHECKPOINT + 1, BEYOND + 1)
    }
    rows = read_rows(tmp_path, "train")
    assert rows[-1]["loss_nats"] < rows[0]["loss_nats"]
    targets = {row["tokens/all"] for row in rows}
    assert targets == {8 * T} if source == "parquet" else max(targets) < 8 * T  # padding is no target
    state = json.loads((tmp_path / f"checkpoints/step_{CHECKPOINT:07d}/state.json").read_text())
    assert len(state["positions"]) == 2


# ---------------------------------------------------------------- one process


def test_a_run_from_text_validates_on_token_shards_and_names_its_data(data: Path, tmp_path: Path) -> None:
    text, shards = tmp_path / "text", tmp_path / "shards"
    assert pretrain_here(data, text, source="parquet") == 0
    assert pretrain_here(data, shards) == 0

    def judged(out: Path) -> list[tuple[object, ...]]:
        keys = ("step", "domain", "n_tokens", "n_bytes")
        return [tuple(row[key] for key in keys) for row in read_rows(out, "val")]

    assert judged(text) == judged(shards)
    (header,) = read_rows(text, "header")
    fingerprint = ParquetDocuments(str(data / "corpus/main/split_corpus")).fingerprint
    assert (header["data_source"], header["data_fingerprint"]) == ("parquet", fingerprint)
    state = json.loads((text / "checkpoints/step_0000020/state.json").read_text())
    assert state["data_fingerprint"] == fingerprint
    (text / "DONE").unlink()
    other = shutil.copytree(data, tmp_path / "other")
    folder = other / "corpus/main/split_corpus"
    shutil.copy(folder / "1.parquet", folder / "2.parquet")
    with pytest.raises(UserError, match=r"was trained with another data \("):
        pretrain_here(other, text, source="parquet")


@pytest.mark.parametrize("source", ["parquet", "jsonl"])
def test_batches_are_the_text_in_the_tokens_of_the_run(data: Path, source: str) -> None:
    run = small_run(**recipe_of(data, source))
    there = opened(data, **recipe_of(data, source))
    there.start(run, ONE, 0, ())
    encode = load_encoder(data / "tokenizers/main")
    texts = [json.loads(line)["text"] for line in (data / "corpus.jsonl").read_text().splitlines()]
    known = np.concatenate([[*encode(text), 2] for text in texts]).tolist()
    pairs = {*pairwise(known)}
    n_targets = there.begin_step(1)
    batches = [there.next() for _ in range(run.grad_accum_steps(1))]
    assert n_targets == sum(int((batch.targets_BT != IGNORE).sum()) for batch in batches)
    sequences = [tokens for _, tokens in there.sequences()]
    assert len(sequences) == 8
    for tokens in sequences:
        inside = [pair for pair in pairwise(tokens) if pair[0] != 2]
        assert set(inside) <= pairs


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"mixture": {"math": 1}}, "without mixture or anneal_mixture"),
        ({"anneal_mixture": {"math": 1}}, "without mixture or anneal_mixture"),
        ({"curriculum": True}, "leave curriculum out"),
        ({"unique_tokens": 1000}, "unique_tokens is less than tokens_total"),
        ({"gradient_surgery": "pcgrad"}, "leave gradient_surgery out"),
        ({"instruments": ["norms"]}, "leave instruments out"),
        ({"source": "jsonl"}, "pass source_location=FILE"),
        ({"source": "tokens", "source_location": "text"}, "source_location names text, but source is tokens"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_text_cannot_do_is_refused_by_name(data: Path, recipe: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        opened(data, **({"source": "parquet"} | recipe))


@pytest.mark.parametrize(
    ("positions", "size", "says"),
    [
        ([[0, 1, 2]], 2, "was read by 1 processes until step 5 .* not by 2: start 1"),
        ([], 1, "until step 5 it was trained from token shards; start"),
        ([[0, 1, 2]] * 8, 8, "4 shards with rows are too few for 8 processes"),
    ],
    ids=["other number", "token shards", "too few shards"],
)
def test_a_resume_that_could_not_be_exact_is_refused(
    data: Path, positions: list[list[int]], size: int, says: str
) -> None:
    source = opened(data, source="parquet")
    with pytest.raises(UserError, match=says):
        source.start(small_run(source="parquet"), World(0, size, torch.device("cpu")), 5, positions)
