"""Disks and memory of the machine that runs the tests."""

import errno
import os
import sys
from pathlib import Path

import pytest

from train.node_check.host import look_at_disk, memory_bytes


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = look_at_disk(tmp_path)
    assert found["free_bytes"] > 0
    assert found["bytes_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    found = look_at_disk(tmp_path / "absent")
    assert found == {"folder": str(tmp_path / "absent"), "error": "No such file or directory"}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files, even from root")
def test_a_folder_that_takes_no_file_is_an_error() -> None:
    found = look_at_disk(Path("/proc"))
    assert found["error"]
    assert "bytes_per_s" not in found


def test_an_exhausted_quota_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", refuse)
    found = look_at_disk(tmp_path)
    assert (found["free_bytes"], "error" in found) == (0, False)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/meminfo")
def test_memory_is_some_of_this_machine_s() -> None:
    assert 0 < (memory_bytes() or 0) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
