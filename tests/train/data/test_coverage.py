"""Padding and coverage that `make bench-io` reports equal direct counts over the index of the tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.coverage import Epoch, epoch_of_text, epoch_of_tokens, epoch_samples
from tests.support.training import EOD, write_corpus
from tests.train.data.test_data import small_run
from train.data.batches import TrainingData
from train.data.documents import JsonlDocuments, write_jsonl
from train.data.shards import open_tokens
from train.data.stream import TextStream

T = 64  # some documents are shorter


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


def lengths_by_domain(data: Path) -> dict[str, list[int]]:
    """Tokens of each training document, from the index files alone."""
    lengths: dict[str, list[int]] = {}
    for path in sorted(data.glob("tokens/main-main/train/*/*.idx.parquet")):
        lengths.setdefault(path.parent.name, []).extend(pq.read_table(path)["n_tokens"].to_pylist())
    return lengths


def jsonl_of(data: Path, folder: Path) -> tuple[JsonlDocuments, Any]:
    """The documents as text, a character a token, and the encoder that gives the tokens back."""
    path = folder / "corpus.jsonl"
    texts = []
    for file in sorted(data.glob("tokens/main-main/train/*/*.bin")):
        documents = np.split(stream := np.fromfile(file, "<u4"), np.flatnonzero(stream == EOD) + 1)[:-1]
        texts += ["".join(map(chr, document[:-1] + 0x100)) for document in documents]
    write_jsonl(iter(texts), path)
    return JsonlDocuments(path), lambda text: [ord(character) - 0x100 for character in text]


@pytest.mark.parametrize("source", ["tokens", "text"])
def test_padding_and_coverage_of_truncated_documents(data: Path, source: str, tmp_path: Path) -> None:
    lengths = [n for domain in lengths_by_domain(data).values() for n in domain]
    seen = sum(min(n, T + 1) - 1 for n in lengths)
    if source == "tokens":
        tokens = open_tokens(data, "main", "main", "train")
        run = small_run(sequence_length=T, packing="truncate")
        epoch = epoch_of_tokens(TrainingData(tokens, run), epoch_samples(tokens, T, True))
    else:
        documents, encode = jsonl_of(data, tmp_path)
        epoch = epoch_of_text(TextStream(documents, encode, EOD, T, (0,), truncates=True))
    assert epoch == Epoch(len(lengths), seen, T)
    assert epoch.padding == 1 - seen / (len(lengths) * T)
    assert epoch.padding > 0.05
    assert epoch.seen(sum(lengths)) == seen / sum(lengths)
    assert epoch.passes(sum(lengths)) == sum(lengths) / (len(lengths) * T)


def test_padding_and_coverage_of_packed_windows(data: Path, tmp_path: Path) -> None:
    domains = lengths_by_domain(data)
    n_tokens = sum(map(sum, domains.values()))
    windows = sum((sum(lengths) - 1) // T for lengths in domains.values())
    tokens = open_tokens(data, "main", "main", "train")
    epoch = epoch_of_tokens(
        TrainingData(tokens, small_run(sequence_length=T)), epoch_samples(tokens, T, False)
    )
    assert epoch == Epoch(windows, windows * T, T)
    documents, encode = jsonl_of(data, tmp_path)
    streamed = epoch_of_text(TextStream(documents, encode, EOD, T, (0,)))
    assert streamed == Epoch((n_tokens - 1) // T, (n_tokens - 1) // T * T, T)
    assert streamed.padding == 0
