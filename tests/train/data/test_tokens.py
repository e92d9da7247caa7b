"""Token shards: packed and plain ones give the same tokens, reads cross shards, damaged ones are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loader import CONFIGS, UserError
from preprocess.tokenize_corpus import pack
from tests.support.training import EOD, SMALL, write_corpus, write_shard
from train.config import load_run
from train.data.batches import TrainingData, rank_batches
from train.data.shards import DomainTokens, open_tokens


def pack_shards(folder: Path) -> None:
    """Replace every plain shard below a folder by a packed one."""
    for path in folder.rglob("*.bin"):
        pack(np.fromfile(path, "<u4")).tofile(path)
        facts = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps(facts | {"dtype": "packed17"}))


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> tuple[DomainTokens, DomainTokens]:
    """A stream of shards with all kinds of lengths, plain and packed."""
    plain, packed = (tmp_path_factory.mktemp(name) for name in ("plain", "packed"))
    random = np.random.default_rng(0)
    for n_tokens in range(1, 20):
        tokens = random.integers(0, 1 << 17, n_tokens)
        for folder in (plain, packed):
            write_shard(folder, f"tar_{n_tokens:02}", {"a": tokens}, vocab_size=1 << 17)
    pack_shards(packed)
    return DomainTokens(plain), DomainTokens(packed)


@settings(deadline=None)
@given(ends=st.lists(st.integers(0, 209), min_size=2, max_size=2).map(sorted))
def test_plain_and_packed_shards_give_the_same_windows(
    streams: tuple[DomainTokens, DomainTokens], ends: list[int]
) -> None:
    plain, packed = streams
    assert plain.n_tokens == packed.n_tokens == 209
    start, stop = ends
    if start < stop:
        window = packed.read(start, stop - start)
        assert window.dtype == np.uint32
        assert window.tolist() == plain.read(start, stop - start).tolist()


def test_plain_and_packed_shards_give_the_same_batches(tmp_path_factory: pytest.TempPathFactory) -> None:
    plain = write_corpus(tmp_path_factory.mktemp("plain"), n_documents=10)
    packed = tmp_path_factory.mktemp("packed") / "data"
    shutil.copytree(plain, packed)
    pack_shards(packed)
    run = load_run(CONFIGS / "runs/run20.yaml", "demo", overrides=SMALL)
    sets = [open_tokens(data, "main", "main", "train") for data in (plain, packed)]
    assert sets[0].fingerprint == sets[1].fingerprint
    pair = [rank_batches(TrainingData(tokens, run), run, 0, 1, after_step=0) for tokens in sets]
    for one, other in zip(*pair, strict=True):
        assert torch.equal(one.input_ids_BT, other.input_ids_BT)
        assert torch.equal(one.targets_BT, other.targets_BT)
        assert torch.equal(one.domains_B, other.domains_B)


def test_a_truncated_packed_shard_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path, "tar", {"a": np.arange(100)})
    pack_shards(tmp_path)
    path = tmp_path / "tar.bin"
    path.write_bytes(path.read_bytes()[:-17])
    with pytest.raises(UserError, match=r"tar.bin: 204 bytes, but its .json counts 101 tokens in 221"):
        DomainTokens(tmp_path)


def test_a_read_crosses_shards(tmp_path: Path) -> None:
    for name, first in (("a", 10), ("b", 20), ("c", 30)):
        write_shard(tmp_path, name, {name: np.arange(first, first + 3)})
    stream = DomainTokens(tmp_path)
    assert stream.read(2, 8).tolist() == [12, EOD, 20, 21, 22, EOD, 30, 31]
    assert stream.documents.start.tolist() == [0, 4, 8]


def break_nothing_there(data: Path) -> None:
    (data / "tokens").rename(data / "elsewhere")


def break_unfinished(data: Path) -> None:
    (data / "tokens" / "main-main" / "_DONE.json").unlink()


def break_truncated(data: Path) -> None:
    path = data / "tokens" / "main-main" / "train" / "cs" / "tar_1.bin"
    path.write_bytes(path.read_bytes()[:-4])


def break_one_shard_removed(data: Path) -> None:
    (data / "tokens" / "main-main" / "train" / "cs" / "tar_1.bin").unlink()


def break_one_domain_removed(data: Path) -> None:
    shutil.rmtree(data / "tokens" / "main-main" / "train" / "cs")


def break_one_shard_added(data: Path) -> None:
    write_shard(data / "tokens" / "main-main" / "train" / "cs", "tar_2", {"a": np.arange(9)})


def break_index_removed(data: Path) -> None:
    (data / "tokens" / "main-main" / "train" / "cs" / "tar_1.idx.parquet").unlink()


def break_two_tokenizers(data: Path) -> None:
    path = data / "tokens" / "main-main" / "train" / "cs" / "tar_1.json"
    path.write_text(path.read_text().replace('"' + "0" * 64, '"' + "1" * 64))


def break_other_tokenizer(data: Path) -> None:
    (data / "tokenizers" / "main").mkdir(parents=True)
    (data / "tokenizers" / "main" / "tokenizer.model").write_bytes(b"another")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_nothing_there, "main-main: is missing.*make preprocess"),
        (break_unfinished, "main-main: is unfinished.*make preprocess"),
        (break_truncated, "tar_1.bin.*truncated"),
        (break_one_shard_removed, r"cs: its 1 shards hold \d+ tokens, but .*_DONE.json counts \d+; run"),
        (break_one_domain_removed, r"cs: its 0 shards hold 0 tokens, but .*_DONE.json counts \d+; run"),
        (break_one_shard_added, r"cs: its 3 shards hold .*; delete .*main-main and run `make preprocess`"),
        (break_index_removed, "tar_1.idx.parquet: is missing; run `make preprocess`"),
        (break_two_tokenizers, "different tokenizers"),
        (break_other_tokenizer, "tokenizer.model: is not the tokenizer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unusable_tokens_are_refused_with_the_remedy(tmp_path: Path, damage: Any, message: str) -> None:
    write_corpus(tmp_path, n_documents=4)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        open_tokens(tmp_path, "main", "main", "train")


def test_the_fingerprint_follows_the_tokens(tmp_path: Path) -> None:
    one = open_tokens(write_corpus(tmp_path / "one", seed=1, n_documents=4), "main", "main", "train")
    same = open_tokens(write_corpus(tmp_path / "same", seed=1, n_documents=4), "main", "main", "train")
    other = open_tokens(write_corpus(tmp_path / "other", seed=2, n_documents=4), "main", "main", "train")
    assert one.fingerprint == same.fingerprint != other.fingerprint
