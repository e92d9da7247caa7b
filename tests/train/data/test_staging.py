"""Copies of token shards on a node's disk: the same batches, whoever copies and whatever goes wrong."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loader import CONFIGS, UserError
from tests.support import PATIENCE_S
from tests.support.training import SMALL, write_corpus
from train.config import load_run
from train.data import staging
from train.data.batches import TrainingData, rank_batches
from train.data.shards import TokenSet, open_tokens
from train.data.staging import LocalCopies, stage_tokens

RUN = load_run(CONFIGS / "runs/run20.yaml", "demo", overrides=SMALL)
SHARDS = 6  # two of each domain
# Another process of the node, killed in the middle: it holds the lock and has written half of a shard.
HALF_A_COPY = """
import fcntl, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
lock = os.open(folder / ".copying", os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
(folder / "cs").mkdir()
(folder / "cs" / ".tar_0.bin.partial").write_bytes(b"half")
print("copying", flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("shared"))


def open_train(data: Path) -> TokenSet:
    return open_tokens(data, "main", "main", "train")


def batches(tokens: TokenSet) -> Iterator[bytes]:
    """The micro-batches of a run as bytes, each read when it is asked for."""
    for batch in rank_batches(TrainingData(tokens, RUN), RUN, 0, 1, after_step=0, workers=0):
        yield batch.input_ids_BT.numpy().tobytes() + batch.targets_BT.numpy().tobytes()


@pytest.fixture(scope="module")
def expected(data: Path) -> list[bytes]:
    return list(batches(open_train(data)))


@settings(deadline=None, max_examples=25)
@given(switches=st.lists(st.integers(0, 79), max_size=SHARDS))
def test_batches_are_the_same_wherever_shards_switch_to_their_copies(
    data: Path, expected: list[bytes], tmp_path_factory: pytest.TempPathFactory, switches: list[int]
) -> None:
    tokens = open_train(data)
    copies = LocalCopies(tokens, tmp_path_factory.mktemp("scratch"))
    reader = batches(tokens)
    for number, batch in enumerate(expected):
        for _ in range(switches.count(number)):
            assert copies.copy_next()
        assert next(reader) == batch
    assert len(copies.missing) == SHARDS - len(switches)


def test_reads_come_from_the_copies_once_they_are_complete(
    data: Path, expected: list[bytes], tmp_path: Path
) -> None:
    shared = write_corpus(tmp_path / "shared")
    tokens = open_train(shared)
    LocalCopies(tokens, tmp_path / "scratch").complete()
    for path in shared.rglob("*.bin"):
        path.unlink()
    assert list(batches(tokens)) == expected


def test_removed_copies_are_read_from_the_shared_files(
    data: Path, expected: list[bytes], tmp_path: Path
) -> None:
    tokens = open_train(data)
    copies = LocalCopies(tokens, tmp_path)
    copies.complete()
    for path in copies.folder.rglob("*.bin"):
        path.unlink()
    assert list(batches(tokens)) == expected


def test_a_copy_that_lost_its_end_is_not_read_but_made_again(
    data: Path, expected: list[bytes], tmp_path: Path
) -> None:
    LocalCopies(open_train(data), tmp_path).complete()
    cut = next(tmp_path.rglob("*.bin"))
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-4])
    tokens = open_train(data)
    copies = LocalCopies(tokens, tmp_path)
    assert copies.adopt()
    assert len(copies.missing) == 1
    copies.complete()
    assert cut.read_bytes() == whole
    assert list(batches(tokens)) == expected


def test_one_process_copies_and_another_takes_over_when_it_is_killed(
    data: Path, expected: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "POLL_S", 0.01)
    tokens = open_train(data)
    copies = LocalCopies(tokens, tmp_path)
    command = [sys.executable, "-c", HALF_A_COPY, str(copies.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        stage_tokens(tokens, str(tmp_path))
        reader = batches(tokens)
        begun = list(itertools.islice(reader, 10))  # training does not wait for copies
        assert not list(copies.folder.glob("*/*.bin"))
        other.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while copies.adopt():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert begun + list(reader) == expected
    for stream, number, copy in LocalCopies(tokens, tmp_path).missing:
        assert copy.read_bytes() == stream.bin_path(number).read_bytes()
    assert not list(copies.folder.rglob("*.partial"))


def test_a_full_disk_leaves_the_rest_to_the_shared_files(
    data: Path, expected: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    one = max(path.stat().st_size for path in data.rglob("train/*/*.bin"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={3 * one + 4096}", "tmpfs", disk]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        tokens = open_train(data)
        copies = LocalCopies(tokens, disk)
        copies.complete()
        assert 0 < len(copies.missing) < SHARDS
        assert f"is nearly full; {len(copies.missing)} shards without a copy" in capsys.readouterr().out
        assert list(batches(tokens)) == expected
        os.close(copies._in_use)
        del tokens, copies
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_copies_of_other_tokens_are_removed_unless_a_process_uses_them(data: Path, tmp_path: Path) -> None:
    old, used = (write_corpus(tmp_path / f"data{seed}", seed) for seed in (1, 2))
    stale = LocalCopies(open_train(old), tmp_path)
    in_use = LocalCopies(open_train(used), tmp_path)
    os.close(stale._in_use)  # as at the end of its process
    fresh = LocalCopies(open_train(data), tmp_path)
    assert not stale.folder.exists()
    assert in_use.folder.exists()
    assert fresh.folder.exists()


def test_a_folder_that_others_can_write_to_is_refused(data: Path, tmp_path: Path) -> None:
    tokens = open_train(data)
    LocalCopies(tokens, tmp_path).folder.chmod(0o777)
    with pytest.raises(UserError, match="others could write to it: remove it"):
        LocalCopies(tokens, tmp_path)


def test_an_unusable_scratch_takes_one_sentence(
    data: Path, expected: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    tokens = open_train(data)
    staging._stage(tokens, tmp_path / "file")
    assert capsys.readouterr().out.count("no copies in") == 1
    assert list(batches(tokens)) == expected
