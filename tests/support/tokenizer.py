"""A small corpus with tokenizer and token shards, and a way to kill the stages that make them."""

import subprocess
import sys
import time
from pathlib import Path

from preprocess.pipeline import schema
from tests.conftest import ROOT
from tests.support import PATIENCE_S
from tests.support.corpus import PROSE, document, run_stage, write_done, write_shard

FORMULAS = r"\begin{equation} \alpha_{1} + \frac{\beta}{2} \leq \int_0^1 f(x)\,dx \end{equation}" + "\n\n"


def write_tokenized(data: Path) -> Path:
    """Write 36 papers in three shards (nine for validation), a tokenizer of 600 pieces, and their tokens."""
    corpus = data / "corpus/main/split_corpus"
    for k in range(3):
        rows = [
            document(
                f"070{k}.{i:04}",
                f"Paper {i} of {k}.\n\n" + PROSE * 2 + FORMULAS * 3 + f"\\rare{'abc'[k]}{'x' * (i == 0)} ",
                domain=("math", "cs", "physics")[i % 3],
                split="val" if i < 3 else "train",
            )
            for i in range(12)
        ]
        write_shard(corpus / f"tar{k}.parquet", rows, schema.SPLIT)
    write_done(data, "split_corpus")
    run_stage("train_tokenizer", "--data", data, "vocab_size=600")
    run_stage("tokenize_corpus", "--data", data)
    return data


def kill_when(appears: str, data: Path, stage: str, *flags: str) -> None:
    """Start a stage and send it SIGKILL as soon as a file matches the pattern `appears`."""
    command = [sys.executable, f"preprocess/{stage}.py", "--data", str(data), "--workers", "1", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not list(data.glob(appears)) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
