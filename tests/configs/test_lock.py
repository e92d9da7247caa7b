"""FileLock: held by one process, released by its death, kept by a heartbeat where there are no locks."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs import lock
from configs.loader import UserError
from configs.lock import FileLock
from tests.conftest import ROOT


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from configs.lock import FileLock\n"
    path = str(tmp_path / ".lock")
    code += f"lock = FileLock(Path({path!r}), 'trains'); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid} on .* trains"):
        FileLock(tmp_path / ".lock", "trains here")
    holder.kill()
    holder.communicate()
    FileLock(tmp_path / ".lock", "trains here").release()


def test_a_released_lock_leaves_no_file(tmp_path: Path) -> None:
    with FileLock(tmp_path / "a" / ".lock", "trains"):
        assert (tmp_path / "a" / ".lock").is_file()
    assert not list((tmp_path / "a").iterdir())


class TestWithoutLocks:
    """The heartbeat that takes the lock's place; flock fails here as it does on such a file system."""

    @pytest.fixture(autouse=True)
    def no_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuse)

    def test_a_fresh_heartbeat_is_respected(self, tmp_path: Path) -> None:
        held = FileLock(tmp_path / ".lock", "trains")
        with pytest.raises(UserError, match=f"process {os.getpid()} on"):
            FileLock(tmp_path / ".lock", "trains")
        held.release()
        FileLock(tmp_path / ".lock", "trains").release()

    def test_a_stale_one_belongs_to_nobody(self, tmp_path: Path) -> None:
        held = FileLock(tmp_path / ".lock", "trains")
        old = (tmp_path / ".lock").stat().st_mtime - lock.STALE_S - 1
        os.utime(tmp_path / ".lock", (old, old))
        FileLock(tmp_path / ".lock", "trains").release()
        held.release()

    def test_an_empty_or_foreign_file_is_no_lock(self, tmp_path: Path) -> None:
        (tmp_path / ".lock").write_text("[]")
        FileLock(tmp_path / ".lock", "trains").release()
