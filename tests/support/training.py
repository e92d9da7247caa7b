"""A tiny token corpus and ways to run the training script on it, for the tests of `train`."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from configs.loader import CONFIGS
from preprocess.tokenizer.huggingface import write_hf_files
from preprocess.train_tokenizer import TrainTokenizerConfig, train_model
from tests.support import PATIENCE_S

ROOT = CONFIGS.parent
# The demo model on short sequences: a step takes a tenth of a second.
STEPS = 20
SMALL = {
    "sequence_length": 32,
    "global_batch_size": 8,
    "micro_batch_size": 2,
    "tokens_total": STEPS * 8 * 32,
    "warmup_tokens": 4 * 8 * 32,
    "validate_every_tokens": 10 * 8 * 32,
    "checkpoint_every_tokens": 5 * 8 * 32,
    "validation_tokens": 400,
}
KEEP_ALL = {"keep_last": 10}
SAME = ("step", "loss_nats", "grad_norm", "lr", "span_hash")  # columns that equal runs have in common
EOD, VOCAB = 2, 2048


def write_shard(
    folder: Path, name: str, documents: dict[str, np.ndarray], vocab_size: int = VOCAB, sha256: str = "0" * 64
) -> None:
    """Write the three files of a token shard. `documents`: tokens by id, without end-of-document tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    closed = [np.append(tokens, EOD).astype("<u4") for tokens in documents.values()]
    lengths = np.array([len(tokens) for tokens in closed])
    stream = np.concatenate(closed)
    stream.tofile(folder / f"{name}.bin")
    table = {
        "id": list(documents),
        "offset": np.cumsum(lengths) - lengths,
        "n_tokens": lengths,
        "n_bytes": (lengths - 1) * 4,
        "math_share": np.linspace(0, 1, len(lengths), dtype=np.float32)[np.argsort(lengths)],
        "license": [""] * len(lengths),
    }
    pq.write_table(pa.table(table), folder / f"{name}.idx.parquet")
    facts = {
        "dtype": "uint32",
        "n_tokens": int(lengths.sum()),
        "n_documents": len(lengths),
        "n_bytes": int(sum(table["n_bytes"])),
        "vocab_size": vocab_size,
        "eod_id": EOD,
        "tokenizer_sha256": sha256,
        "data_sha256": hashlib.sha256(stream.tobytes()).hexdigest(),
    }
    (folder / f"{name}.json").write_text(json.dumps(facts))


def write_token_totals(root: Path) -> None:
    """Write the `_DONE.json` that counts all token shards below a folder."""
    totals: dict[str, Counter[str]] = {}
    for path in root.glob("*/*/*.json"):
        facts = json.loads(path.read_text())
        counts = Counter({key: facts[key] for key in ("n_documents", "n_tokens", "n_bytes")})
        totals.setdefault(f"{path.parts[-3]}/{path.parts[-2]}", Counter()).update(counts)
    (root / "_DONE.json").write_text(json.dumps(totals))


def write_corpus(data: Path, seed: int = 0, n_documents: int = 40, vocab_size: int = VOCAB) -> Path:
    """Write token shards of three domains in two tars each.

    The tokens of a document are an arithmetic progression in its domain's own part of the vocabulary, which a
    model learns in a few steps.
    """
    random = np.random.default_rng(seed)
    tokenizer = data / "tokenizers" / "main" / "tokenizer.model"
    sha256 = hashlib.sha256(tokenizer.read_bytes()).hexdigest() if tokenizer.is_file() else "0" * 64
    root = data / "tokens" / "main-main"
    for number, domain in enumerate(("cs", "math", "physics")):
        for split, count in (("train", n_documents), ("val", 4)):
            for tar in range(2):
                documents = {}
                for i in range(count):
                    length, pace = random.integers(20, 200), random.integers(1, 5)
                    tokens = (random.integers(600) + pace * np.arange(length)) % 600
                    documents[f"{domain}{split}{tar}.{i}"] = 3 + 600 * number + tokens
                write_shard(root / split / domain, f"tar_{tar}", documents, vocab_size, sha256)
    write_token_totals(root)
    return data


def pretrain_command(data: Path, out: Path, *arguments: str, run: str = "run20", **values: Any) -> list[str]:
    """Script and arguments that train a run at demo scale with the values of SMALL."""
    overrides = [f"{key}={json.dumps(value)}" for key, value in (SMALL | values).items()]
    places = ["--data", str(data), "--out", str(out)]
    return [
        "train/pretrain.py",
        f"configs/runs/{run}.yaml",
        "--scale",
        "demo",
        *places,
        *arguments,
        *overrides,
    ]


def pretrain_here(data: Path, out: Path, *arguments: str, **values: Any) -> int:
    """Train a small run in this process and return the exit code. Raises what `main` raises."""
    from train.pretrain import main

    with mock.patch.object(sys, "argv", pretrain_command(data, out, *arguments, **values)):
        return main()


def pretrain(
    data: Path, out: Path, *arguments: str, processes: int = 2, **values: Any
) -> "subprocess.CompletedProcess[str]":
    """Train a small run on `processes` processes and wait for its end."""
    return torchrun(pretrain_command(data, out, *arguments, **values), processes)


def torchrun(
    script_and_arguments: list[str], processes: int = 2, timeout: float = PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """Run a script on some processes with one thread each; a single process runs without torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), *script_and_arguments],
        cwd=ROOT,
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},  # so that scripts in tests/ find the packages
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def kill_family(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a process and all its descendants, and wait for it."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def write_tokenizer(data: Path) -> Path:
    """Train a small tokenizer. Call this before `write_corpus`, whose shards then name its hash."""
    folder = data / "tokenizers" / "main"
    folder.mkdir(parents=True)
    words = Counter({f" {a}{b}{c}": 5 for a in "abcde" for b in "xyz" for c in "mn"} | {"\\alpha": 9, "$": 9})
    write_hf_files(train_model(words, [], TrainTokenizerConfig(vocab_size=320), folder), folder)
    return folder


def read_rows(out: Path, kind: str, restart: int = 0) -> list[dict[str, Any]]:
    """Rows of one kind in log.<restart>.jsonl."""
    lines = (out / f"log.{restart}.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def values(out: Path, restart: int = 0, keys: tuple[str, ...] = SAME) -> dict[int, tuple[Any, ...]]:
    """Values of the training rows of one start, by step."""
    return {row["step"]: tuple(row[key] for key in keys) for row in read_rows(out, "train", restart)}
