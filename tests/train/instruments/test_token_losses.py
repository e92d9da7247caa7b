"""Losses by text, frequency and position: they conserve tokens and nats, and equal plain cross-entropy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from tests.support.latex_tokens import write_latex_corpus
from tests.support.training import pretrain_here, read_rows
from train.checkpoint.load import find_checkpoint, load_model, tokenizer_folder
from train.config import read_config
from train.data.batches import ValidationSet
from train.data.shards import open_tokens
from train.instruments.formulas import formula_tokens, piece_bytes
from train.instruments.token_losses import count_tokens, deciles, formula_rows, position_names
from train.model.loss import IGNORE
from train.validation import validation_sets


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("losses")
    data = write_latex_corpus(folder / "data")
    assert pretrain_here(data, folder / "run", strategy="ddp", instruments=["losses"]) == 0
    return data, folder / "run"


def test_every_division_adds_up_to_the_validation(trained: tuple[Path, Path]) -> None:
    rows = read_rows(trained[1], "instrument")
    for val in read_rows(trained[1], "val"):
        for by in ("text", "frequency_decile", "position"):
            place = {"by": by, "domain": val["domain"], "step": val["step"]}
            parts = [row for row in rows if place.items() <= row.items()]
            assert len({row["group"] for row in parts}) == len(parts) >= 2
            assert sum(row["n_tokens"] for row in parts) == val["n_tokens"]
            nats = sum(row["loss_nats"] * row["n_tokens"] for row in parts)
            assert nats == pytest.approx(val["loss_nats"] * val["n_tokens"], rel=1e-6)


def test_each_bin_equals_plain_cross_entropy(trained: tuple[Path, Path]) -> None:
    data, out = trained
    model, run = load_model(find_checkpoint(out))
    train, val = (open_tokens(data, "main", "main", split) for split in ("train", "val"))
    folder = tokenizer_folder(data, run, train.tokenizer_sha256)
    pieces = piece_bytes(Tokenizer.from_file(str(folder / "tokenizer.json")))
    decile_V = deciles(count_tokens(train))
    last = [row for row in read_rows(out, "instrument") if row["step"] == run.steps_total]
    sets = validation_sets(val, run)
    for name, windows in sets.items():
        with torch.no_grad():
            logits = model.llama(input_ids=windows.input_ids_RT).logits.double()
        nats_RT = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), windows.targets_RT.flatten(), ignore_index=IGNORE, reduction="none"
        ).view_as(windows.targets_RT)
        there = windows.targets_RT.numpy() != IGNORE
        positions = np.broadcast_to(np.arange(1, there.shape[1] + 1), there.shape)
        targets = np.where(there, windows.targets_RT.numpy(), 0)
        classes = {
            "text": np.where(formula_rows(windows, pieces), "formula", "prose"),
            "frequency_decile": (decile_V[targets] + 1).astype(str),
            "position": np.array(position_names(sets))[np.log2(positions).astype(int).clip(max=4)],
        }
        for row in (row for row in last if row["domain"] == name):
            chosen = there & (classes[row["by"]] == row["group"])
            assert row["n_tokens"] == chosen.sum()
            assert row["loss_nats"] == pytest.approx(float(nats_RT.numpy()[chosen].mean()), rel=1e-5)


def test_formulas_of_the_rows_are_those_of_whole_documents(trained: tuple[Path, Path]) -> None:
    data, out = trained
    run, tokens = read_config(out / "config.yaml"), open_tokens(data, "main", "main", "val")
    pieces = piece_bytes(Tokenizer.from_file(str(data / "tokenizers/main/tokenizer.json")))
    for name, windows in validation_sets(tokens, run).items():
        stream, found_RT = tokens.domains[name], formula_rows(windows, pieces)
        there_RT = windows.targets_RT.numpy() != IGNORE
        assert not found_RT[~there_RT].any()
        for number, id_hash in enumerate(windows.id_hashes):
            place = int(np.flatnonzero(stream.documents.id_hash == int(id_hash, 16))[0])
            ids = stream.read(int(stream.documents.start[place]), int(stream.documents.n_tokens[place]))
            rows = np.flatnonzero(windows.document_R.numpy() == number)
            found = found_RT[rows][there_RT[rows]].astype(bool)
            assert found.tolist() == formula_tokens(ids.tolist(), pieces).tolist()
            assert 0 < found.sum() < len(found)


def test_deciles_hold_a_tenth_of_the_occurrences_each() -> None:
    counts = np.random.default_rng(0).zipf(1.3, 4000).clip(max=200)
    counts[:5] = 0
    found = deciles(counts)
    share = np.bincount(found, counts, minlength=10) / counts.sum()
    assert share == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert set(found[:5]) == {9}
    lowest = [counts[found == decile].min() for decile in range(9)]
    highest = [counts[found == decile].max() for decile in range(10)]
    assert all(low >= high for low, high in itertools.pairwise([*lowest[:1], *highest[1:]]))


@pytest.mark.parametrize(
    ("length", "last"), [(1, "1"), (2, "1-2"), (3, "2-3"), (256, "128-256"), (768, "512-768")]
)
def test_positions_end_with_the_window(length: int, last: str) -> None:
    windows = validation_window(length)
    names = position_names({"math": windows})
    assert names[-1] == last
    borders = [int(name.split("-")[-1]) for name in names]
    assert [int(name.split("-")[0]) for name in names] == [1, *(border + 1 for border in borders[:-1])]


def validation_window(length: int) -> ValidationSet:
    """A validation set of one document in one window."""
    tokens = torch.zeros(1, length, dtype=torch.int64)
    return ValidationSet(tokens, tokens, torch.zeros(1, dtype=torch.int64), ("a",), (length,), (length,))


def test_tokens_are_counted_all_over_the_streams(trained: tuple[Path, Path]) -> None:
    tokens = open_tokens(trained[0], "main", "main", "train")
    streams = [stream.read(0, stream.n_tokens) for stream in tokens.domains.values()]
    whole = np.bincount(np.concatenate(streams), minlength=tokens.vocab_size)
    assert (count_tokens(tokens) == whole).all()
