"""Token shards: every document and its end, whole or made again, whatever became of them in between."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loader import LawBroken, UserError
from preprocess import tokenize_corpus
from preprocess.pipeline import schema
from preprocess.pipeline.shard import read_rows
from preprocess.pipeline.stage import write_json
from preprocess.tokenize_corpus import pack
from tests.support.corpus import document, run_stage, write_shard
from tests.support.tokenizer import kill_when, tree, write_tokenized
from train.data.shards import open_tokens


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenized(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    """A copy of it all that a test may change."""
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def test_shards_hold_every_document_and_its_end(original: Path) -> None:
    reference = spm.SentencePieceProcessor(model_file=str(original / "tokenizers/main/tokenizer.model"))
    texts = {
        (row["split"], row["domain"], row["id"]): row["text"]
        for path in (original / "corpus/main/split_corpus").glob("*.parquet")
        for row in read_rows(path)
    }
    found = {}
    for path in (original / "tokens/main-main").glob("*/*/*.bin"):
        tokens = np.fromfile(path, "<u4")
        facts = json.loads(path.with_suffix(".json").read_text())
        assert facts["n_tokens"] == len(tokens)
        for row in read_rows(path.with_suffix(".idx.parquet")):
            ids = tokens[row["offset"] :][: row["n_tokens"]].tolist()
            assert ids[-1] == facts["eod_id"] == reference.eos_id()
            text = reference.decode(ids[:-1])
            assert row["n_bytes"] == len(text.encode())
            found[path.parts[-3], path.parts[-2], row["id"]] = text
    assert found == texts


def test_a_text_with_sentencepiece_s_own_space_breaks_the_law(data: Path) -> None:
    shutil.rmtree(data / "tokens")
    rows = [document("0704.0001"), document("0704.0002", "a\u2581b")]
    write_shard(data / "corpus/main/split_corpus/tar0.parquet", rows, schema.SPLIT)
    with pytest.raises(LawBroken, match=r"tar0.parquet: 0704.0002: decoding"):
        run_stage("tokenize_corpus", "--data", data)
    assert not (data / "tokens/main-main/_DONE.json").exists()


# ---------------------------------------------------------------- packed


@settings(deadline=None)
@given(tokens=st.lists(st.integers(0, (1 << 17) - 1), max_size=40))
def test_packing_takes_17_bits_a_token_and_loses_none(tokens: list[int]) -> None:
    packed = pack(np.array(tokens, "<u4"))
    assert packed.nbytes == -(-len(tokens) // 8) * 17
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(int)
    low = bits[:, :128].reshape(-1, 16) @ (1 << np.arange(16))
    high = bits[:, 128:].reshape(-1) << 16
    assert (low + high)[: len(tokens)].tolist() == tokens


def test_packed_shards_are_made_again_and_read_as_the_same_tokens(original: Path, data: Path) -> None:
    run_stage("tokenize_corpus", "--data", data, "packed=true")
    assert {json.loads(p.read_text())["dtype"] for p in data.glob("tokens/*/*/*/*.json")} == {"packed17"}
    plain, packed = (open_tokens(root, "main", "main", "train") for root in (original, data))
    assert packed.fingerprint == plain.fingerprint
    for name, stream in plain.domains.items():
        other = packed.domains[name]
        assert other.read(0, other.n_tokens).tolist() == stream.read(0, stream.n_tokens).tolist()
        sizes = [sum(Path(f"{s}.bin").stat().st_size for s in d.shards) for d in (stream, other)]
        assert sizes[1] <= sizes[0] * 17 / 32 + 17 * len(stream.shards)


# ---------------------------------------------------------------- changes, damage and kills


def change_shard(data: Path, **values: str) -> None:
    """Give every document of one shard other values."""
    shard = data / "corpus/main/split_corpus/tar0.parquet"
    write_shard(shard, [row | values for row in read_rows(shard)], schema.SPLIT)


@pytest.mark.parametrize("removed_by_a_killed_run", ["", "*.json", "*.bin", "*.idx.parquet"])
def test_a_paper_that_changes_its_split_leaves_nothing_behind(
    data: Path, removed_by_a_killed_run: str
) -> None:
    for path in (data / "tokens/main-main").glob(f"val/*/{removed_by_a_killed_run or 'none'}"):
        path.unlink()
    change_shard(data, split="train")
    run_stage("tokenize_corpus", "--data", data)
    assert not list(data.glob("tokens/main-main/val/*/tar0.*"))
    assert len(list(data.glob("tokens/main-main/train/*/tar0.bin"))) == 3


def test_shards_without_documents_are_refused(data: Path) -> None:
    (data / "corpus/main/split_corpus/tar2.parquet").unlink()
    with pytest.raises(UserError, match=r"1 token shards \(tar2, …\) have no shard of documents any more"):
        run_stage("tokenize_corpus", "--data", data)


@pytest.mark.parametrize("packed", ["packed=false", "packed=true"])
@pytest.mark.parametrize("name", ["tar1.bin", "tar1.idx.parquet", "tar1.json"])
def test_a_deleted_file_of_a_shard_is_made_again(data: Path, name: str, packed: str) -> None:
    run_stage("tokenize_corpus", "--data", data, packed)
    whole = tree(data / "tokens")
    (data / "tokens/main-main/train/math" / name).unlink()
    assert "2 of 3 shards are finished" in run_stage("tokenize_corpus", "--data", data, packed)
    assert tree(data / "tokens") == whole


def test_a_truncated_shard_is_made_again(original: Path, data: Path) -> None:
    path = data / "tokens/main-main/train/math/tar1.bin"
    path.write_bytes(path.read_bytes()[:-4])
    assert "2 of 3 shards are finished" in run_stage("tokenize_corpus", "--data", data)
    assert tree(data / "tokens") == tree(original / "tokens")


def test_a_killed_run_on_other_documents_is_not_taken_for_the_finished_one_before_it(
    original: Path, data: Path
) -> None:
    def killed_before_the_marker(path: Path, value: Any) -> None:
        if path.parent.name == "_shards":
            raise KeyboardInterrupt
        write_json(path, value)

    change_shard(data, license="other")  # as many tokens as before
    with (
        mock.patch.object(tokenize_corpus, "write_json", killed_before_the_marker),
        pytest.raises(KeyboardInterrupt),
    ):
        run_stage("tokenize_corpus", "--data", data)
    change_shard(data, license="")
    run_stage("tokenize_corpus", "--data", data)
    assert tree(data / "tokens") == tree(original / "tokens")


@pytest.mark.parametrize(
    "appears", ["tokens/*/*/*/.*.tmp", "tokens/*/*/*/*.bin", "tokens/*/_shards/tar*.json"]
)
def test_killed_shards_are_not_taken_for_finished_and_are_made_again(
    original: Path, data: Path, appears: str
) -> None:
    shutil.rmtree(data / "tokens")
    kill_when(appears, data, "tokenize_corpus")
    if not (data / "tokens/main-main/_DONE.json").is_file():
        with pytest.raises(UserError, match="unfinished"):
            open_tokens(data, "main", "main", "train")
    run_stage("tokenize_corpus", "--data", data)
    assert tree(data / "tokens") == tree(original / "tokens")
