"""Full disks, read-only folders, damaged input: one clear sentence, exit code 2, and nothing half written."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.loader import UserError
from configs.stages import CORPUS_STAGES
from preprocess.pipeline.shard import read_rows
from tests.conftest import ROOT, run_script
from tests.support.corpus import PROSE, document, ledger, run_stage, write_shard

ROOT_ON_LINUX = sys.platform == "linux" and os.geteuid() == 0
NORMALIZE = "preprocess/normalize_text.py"


def _half_written(data: Path) -> list[Path]:
    """Temporary files, and shards that cannot be read."""
    left = list(data.rglob("*.tmp"))
    for path in data.rglob("*.parquet"):
        try:
            list(read_rows(path))
        except Exception:
            left.append(path)
    return left


def _fails(done: "subprocess.CompletedProcess[str]", *says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for text in says:
        assert text in done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two shards with a formula of 1 MB each, which packs to a half."""
    formula = f"${random.Random(0).randbytes(500_000).hex()}$"
    for i in range(2):
        rows = [document(f"0704.000{i}"), document(f"0704.010{i}", f"{PROSE * 8}\n\n{formula}")]
        write_shard(tmp_path / f"data/corpus/main/extract_latex/t{i}.parquet", rows)
    return tmp_path / "data"


@pytest.fixture
def small_disk(data: Path) -> Iterator[Path]:
    """A file system of 0.3 MB where the stage writes its documents."""
    if not ROOT_ON_LINUX:
        pytest.skip("a small disk is mounted by root on Linux")
    out = data / "corpus/main/normalize_text"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", out], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode()}")
    yield out
    subprocess.run(["umount", out], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_leaves_nothing_half_written(data: Path, small_disk: Path, workers: int) -> None:
    done = run_script(NORMALIZE, "--data", data, "--workers", workers, check=False)
    _fails(done, "No space left", f"{small_disk}/t", "B are free", "give the same command again")
    assert not _half_written(data)
    assert not list(small_disk.glob("*.parquet"))


def test_a_disk_without_room_for_the_first_byte_keeps_no_empty_file(data: Path, small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"), (small_disk / "others").open("wb") as file:
        file.write(bytes(1 << 20))
    done = run_script(NORMALIZE, "--data", data, "--workers", 1, check=False)
    _fails(done, "No space left", f"{small_disk}/t0")
    assert not _half_written(data)


def test_a_read_only_disk_is_named(data: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = run_script(NORMALIZE, "--data", data, "--workers", 1, check=False)
    _fails(done, "Read-only file system", str(small_disk))
    assert not _half_written(data)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_continues_once_the_quota_has_room(data: Path, workers: int) -> None:
    """As where a quota ends: no root needed. The shard that fitted stays, and the next run makes the rest."""
    write_shard(data / "corpus/main/extract_latex/a.parquet", [document("0704.0200")])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, NORMALIZE, "--data", str(data), "--workers", str(workers)]
    done = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True)
    _fails(done, "File too large")
    assert not _half_written(data)
    run_stage("normalize_text", "--data", data)
    assert len(ledger(data, "normalize_text")) == 5


def test_a_file_in_place_of_the_output_folder_is_named(data: Path) -> None:
    (data / "corpus/main/normalize_text").write_text("not a folder")
    _fails(run_script(NORMALIZE, "--data", data, "--workers", 1, check=False), "normalize_text")
    assert not _half_written(data)


def test_a_truncated_input_is_named(data: Path) -> None:
    path = data / "corpus/main/extract_latex/t1.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    _fails(run_script(NORMALIZE, "--data", data, check=False), "t1.parquet", "extract_latex again")


@pytest.mark.parametrize("stage", CORPUS_STAGES[1:])
def test_a_missing_earlier_stage_is_named(tmp_path: Path, stage: str) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(UserError, match=str(tmp_path)):
        run_stage(stage, "--data", tmp_path, "--src", tmp_path / "src")
    assert not list(tmp_path.rglob("*.parquet"))
