"""The tokenizer on real papers: speed, identical ids, training, stability on held-out papers.

    ARXIV_REAL=/data/arxiv-real make bench-tokenizer [DATA=data/bench-tokenizer]

In:  the papers below $ARXIV_REAL, preprocessed into DATA (all categories) unless that is done already, and
     provenance.tsv, which names the repository of each paper.
Out: a table of targets; analysis/measurements/tokenizer.json.

Encoders are timed in CPU seconds of one thread, in interleaved rounds; ratios are medians over the rounds.
Training is train_tokenizer.py as a user runs it, from Parquet to checked files. Shards are made from several
copies of every paper, so that start-up weighs little. Stability is measured by cross-validation: five
tokenizers are each trained without a fifth of the papers, or without all papers of some repositories, and
measured on those.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread for Hugging Face, as for the others

import sentencepiece as spm
import xxhash
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from benchmarks.measure import record
from benchmarks.tokenizer_folds import Row, by_paper, by_repository, cross_validate
from configs.loader import UserError, run_main
from configs.stages import CORPUS_STAGES
from preprocess import tokenize_corpus
from preprocess.pipeline import schema
from preprocess.pipeline.shard import read_rows, shards
from preprocess.pipeline.stage import units_of
from preprocess.tokenizer.encoders import ADVERSARIAL, encode_by_line, load_encoder
from tests.conftest import ROOT
from tests.support.corpus import document, write_done, write_shard

PIECES = 102_400
SPEED_BYTES = 6_000_000  # of text; SentencePiece needs 3 s for it
ROUNDS = 3
SHARD_ROUNDS, SHARD_COPIES = 3, 8
MB = 1e6


def run(script: str, *flags: object) -> tuple[float, float, float]:
    """Run a script of the project: (wall seconds, CPU seconds with children, peak MiB of one process)."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, f"preprocess/{script}.py", *map(str, flags)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{script} ended with {process.returncode}:\n{errors[-2000:]}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_root(root: Path, papers: Iterable[tuple[str, Row]]) -> Path:
    """Write a data root whose split_corpus is finished and holds (tar, row) of each paper."""
    shutil.rmtree(root, ignore_errors=True)
    by_tar = defaultdict(list)
    for tar, row in papers:
        by_tar[tar].append(row)
    corpus = root / "corpus/main/split_corpus"
    for tar, rows in by_tar.items():
        write_shard(corpus / f"{tar}.parquet", rows, schema.SPLIT)
    write_done(root, "split_corpus")
    return root


def rows_of(folder: Path) -> Iterator[tuple[str, Row]]:
    """(tar, row) of every document, with all columns."""
    for shard in shards(folder):
        for row in read_rows(shard):
            yield shard.stem, document(row["id"]) | row


# ---------------------------------------------------------------- training


def train_on(papers: Iterable[tuple[str, Row]], root: Path) -> Path:
    """Train a tokenizer on these papers; return its folder."""
    run("train_tokenizer", "--data", write_root(root, papers), f"vocab_size={PIECES}", "--workers", 2)
    return root / "tokenizers/main"


def bench_training(root: Path) -> dict[str, Any]:
    """Train with one process and with two, and compare every file."""
    folder = root / "tokenizers/main"
    flags = ("--data", root, f"vocab_size={PIECES}", "--workers")
    shutil.rmtree(folder, ignore_errors=True)
    _, cpu_s, peak_mb = run("train_tokenizer", *flags, 1)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    run("train_tokenizer", *flags, 2)
    report = json.loads((folder / "report.json").read_text())
    return {
        "mb": report["n_bytes"] / MB,
        "pieces": report["vocab_size"],
        "unique_units": report["n_units"],
        "listed_commands": len(report["commands"]),
        "listed_commands_cut": len(report["commands_cut"]),
        "cpu_s": cpu_s,
        "peak_mb": peak_mb,
        "files_identical_for_1_and_2_workers": first == {p.name: p.read_bytes() for p in folder.iterdir()},
    }


# ---------------------------------------------------------------- encoding


def bench_encoding(tokenizer: Path, texts: list[str]) -> dict[str, Any]:
    """Speed of the encoders on a sample; equal ids and losslessness on all texts and adversarial strings."""
    reference, fast, name = load_encoder(tokenizer / "tokenizer.model")
    hugging_face = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    hugging_face.encode_special_tokens = True
    ways: dict[str, Callable[[list[str]], Any]] = {
        "ours": lambda some: [fast(text) for text in some],
        "sentencepiece_by_document": lambda some: [reference.encode(text) for text in some],
        "sentencepiece_by_line": lambda some: [encode_by_line(reference, text) for text in some],
        "hf_encode_batch": lambda some: hugging_face.encode_batch(some, add_special_tokens=False),
        "hf_encode_batch_fast": lambda some: hugging_face.encode_batch_fast(some, add_special_tokens=False),
    }
    some, n_bytes = [], 0
    for text in sorted(texts, key=lambda text: xxhash.xxh3_64_intdigest(text.encode())):
        if n_bytes < SPEED_BYTES:
            some.append(text)
            n_bytes += len(text.encode())
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, encode in ways.items():
            began = time.process_time()
            encode(some)
            seconds[way].append(time.process_time() - began)
    auto = AutoTokenizer.from_pretrained(tokenizer)
    differing = lossy = 0
    for text in (*texts, *ADVERSARIAL):
        ids = reference.encode(text)
        others = (fast(text), encode_by_line(reference, text), auto.encode(text, add_special_tokens=False))
        differing += any(other != ids for other in others)
        lossy += reference.decode(ids) != text
    return {
        "encoder": name,
        "mb_per_s": {way: n_bytes / MB / median(each) for way, each in seconds.items()},
        "times_faster_than": {
            way: median(theirs / ours for theirs, ours in zip(each, seconds["ours"], strict=True))
            for way, each in seconds.items()
            if way != "ours"
        },
        "documents": len(texts),
        "adversarial_strings": len(set(ADVERSARIAL)),
        "texts_with_other_ids": differing,
        "texts_not_given_back": lossy,
    }


# ---------------------------------------------------------------- shards


def bench_shards(root: Path) -> dict[str, Any]:
    """From Parquet to shards: speed of one process, share of the encoder, gain from a second process."""
    rows = [row["text"] for _, row in rows_of(root / "corpus/main/split_corpus")]
    mb = sum(len(text.encode()) for text in rows) / MB
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(SHARD_ROUNDS):
        for workers, seconds in walls.items():
            shutil.rmtree(root / "tokens", ignore_errors=True)
            seconds.append(run("tokenize_corpus", "--data", root, "--workers", workers)[0])
    sizes = {}
    for packed in (False, True):
        shutil.rmtree(root / "tokens", ignore_errors=True)
        run("tokenize_corpus", "--data", root, "--workers", 2, f"packed={str(packed).lower()}")
        files = list((root / "tokens").rglob("*.bin"))
        n_tokens = sum(json.loads(file.with_suffix(".json").read_text())["n_tokens"] for file in files)
        sizes["packed" if packed else "uint32"] = sum(file.stat().st_size for file in files) / n_tokens
    cpu_s, share = encoding_share(root)
    return {
        "mb": mb,
        "mb_per_cpu_s_of_one_core": mb / cpu_s,
        "mb_per_wall_s": {f"{workers}_workers": mb / median(each) for workers, each in walls.items()},
        "encoding_share_of_time": share,
        "two_workers_over_one": median(one / two for one, two in zip(walls[1], walls[2], strict=True)),
        "bytes_per_token": sizes,
    }


def encoding_share(root: Path) -> tuple[float, float]:
    """Run tokenize_shard on all shards in this process: (CPU seconds, share of them inside the encoder)."""
    model_file, inside = root / "tokenizers/main/tokenizer.model", 0.0
    _, fast, name = load_encoder(model_file)

    def timed(text: str) -> list[int]:
        nonlocal inside
        began = time.process_time()
        ids = fast(text)
        inside += time.process_time() - began
        return ids

    reference = spm.SentencePieceProcessor(model_file=str(model_file))
    config = tokenize_corpus.TokenizeCorpusConfig()
    with patch.object(tokenize_corpus, "load_encoder", lambda path: (reference, timed, name)):
        began = time.process_time()
        for unit in units_of(root / "corpus/main/split_corpus"):
            tokenize_corpus.tokenize_shard(unit, model_file, "", root / "tokens-timed", config, "")
        cpu_s = time.process_time() - began
    return cpu_s, inside / cpu_s


def targets(figures: dict[str, Any]) -> list[tuple[str, float, str, float]]:
    """The project's targets: (name, measured value, ">=" or "<=", target)."""
    encoding, shard, training = (figures[part] for part in ("encoding", "shards", "training"))
    faster, paper, repository = encoding["times_faster_than"], figures["by_paper"], figures["by_repository"]
    known = repository["seen_in_3_training_papers"]
    return [
        ("encoding / sentencepiece by document", faster["sentencepiece_by_document"], ">=", 5),
        ("encoding / Hugging Face encode_batch", faster["hf_encode_batch"], ">=", 3),
        ("texts whose ids differ between encoders", encoding["texts_with_other_ids"], "<=", 0),
        ("texts that are not given back", encoding["texts_not_given_back"], "<=", 0),
        ("adversarial strings", encoding["adversarial_strings"], ">=", 200),
        ("shards: share of the time spent encoding", shard["encoding_share_of_time"], ">=", 0.6),
        ("shards: two workers / one", shard["two_workers_over_one"], ">=", 1.8),
        ("shards: bytes a token, packed", shard["bytes_per_token"]["packed"], "<=", 2.126),
        ("training 102,400 pieces from 50 MB: CPU s", training["cpu_s"], "<=", 30),
        ("training: files identical", training["files_identical_for_1_and_2_workers"], ">=", 1),
        ("by paper: commands whole", paper["commands_whole"], ">=", 0.985),
        ("by paper: commands crossed", paper["commands_crossed"], "<=", 0.005),
        ("by paper: tokens a byte", paper["tokens_per_byte"], "<=", 0.24),
        ("by repository: seen commands whole", known["commands_whole"], ">=", 0.995),
    ]


def main() -> None:
    """Prepare, measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/bench-tokenizer"), help="data root")
    parser.add_argument(
        "--real", type=Path, default=os.environ.get("ARXIV_REAL"), help="default: $ARXIV_REAL"
    )
    args = parser.parse_args()
    if args.real is None:
        raise UserError(
            "ARXIV_REAL names no folder of real papers: ARXIV_REAL=/data/arxiv-real make bench-tokenizer"
        )
    sources = ("--src", args.real / "src", "--metadata", args.real / "arxiv-metadata-oai-snapshot.json")
    for stage in CORPUS_STAGES:
        selection = ["categories=broad"] if stage == "filter_metadata" else []
        run(stage, "--data", args.data, "--workers", 2, *sources, *selection)
    corpus, work = args.data / "corpus/main", args.data / "bench"
    rows = list(rows_of(corpus / "split_corpus"))
    # All papers with clean text, also those that filters drop: 50 MB.
    every = [(tar, row | {"split": "train"}) for tar, row in rows_of(corpus / "normalize_text")]
    everything = write_root(work / "everything", every)
    figures: dict[str, Any] = {"training": bench_training(everything)}
    figures["encoding"] = bench_encoding(everything / "tokenizers/main", [row["text"] for _, row in every])
    copies = [
        (f"{tar}_{k}", row | {"id": f"{row['id']}.{k}"}) for k in range(SHARD_COPIES) for tar, row in every
    ]
    large = write_root(work / "large", copies)
    shutil.copytree(everything / "tokenizers", large / "tokenizers")
    figures["shards"] = bench_shards(large)
    folds = {"by_paper": by_paper(rows), "by_repository": by_repository(rows, args.real / "provenance.tsv")}
    for name, fold_of in folds.items():
        figures[name] = cross_validate(rows, fold_of, lambda papers, root=work / name: train_on(papers, root))
    for what, measured, sign, target in targets(figures):
        met = measured >= target if sign == ">=" else measured <= target
        print(f"{what:45} {measured:10.4g} {sign} {target:<6g} {'met' if met else 'NOT MET'}")
    print(
        "written:", record("tokenizer", figures, ("sentencepiece", "kitoken", "tokenizers", "transformers"))
    )


if __name__ == "__main__":
    run_main(main)
