"""A lock that lets only one process at a time train in a run's folder or run a stage on a corpus.

The process holds a lock on a file, which the kernel releases when the process dies. On a file system without
locks a heartbeat takes its place: the process renews the file's time stamp as long as it lives, and a file
that has not been renewed for a while belongs to nobody.
"""

import errno
import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from configs.loader import UserError

HEARTBEAT_S = 20.0
STALE_S = 4 * HEARTBEAT_S  # a heartbeat may come late on a busy file server
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # e.g. Lustre mounted without flock


class FileLock:
    """Exclusive use of what `path` stands for, until `release` or the end of the process."""

    def __init__(self, path: Path, doing: str) -> None:
        """Take the lock; create the folder of `path` if it is missing.

        Raises UserError, with the process that holds the lock, if it is taken. `doing`: the end of that
        sentence, after "process N on HOST": what the process does and what the user can do about it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._doing = path, doing
        self._stopped = threading.Event()
        self._descriptor = self._lock()
        if self._descriptor is None:
            self._take_by_heartbeat()
        else:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, _identity())

    def _lock(self) -> int | None:
        """The locked file's descriptor; None on a file system without locks. Raises UserError if held."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise self._held() from None
            except FileNotFoundError:
                pass  # the process that held it removed the file in this moment: try again
            except OSError as error:
                os.close(descriptor)
                if error.errno not in NO_LOCKS:
                    raise
                return None
            os.close(descriptor)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another process take it."""
        self._stopped.set()
        self._path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take_by_heartbeat(self) -> None:
        if _read(self._path) and _age_s(self._path) < STALE_S:
            raise self._held()
        mine = _identity()
        aside = self._path.with_name(f"{self._path.name}.{os.uname().nodename}.{os.getpid()}")
        aside.write_bytes(mine)
        aside.replace(self._path)
        time.sleep(1.0)  # of two that found it stale at once, the later rename wins
        if self._path.read_bytes() != mine:
            raise self._held()
        threading.Thread(target=self._beat, name="lock heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_S):
            os.utime(self._path)

    def _held(self) -> UserError:
        holder = _read(self._path)
        who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
        job = f", Slurm job {holder['slurm_job_id']}" if holder.get("slurm_job_id") else ""
        return UserError(f"{self._path.parent}: {who}{job} {self._doing}")


def _identity() -> bytes:
    holder = {
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "since_utc": time.strftime("%FT%TZ", time.gmtime()),
    }
    return (json.dumps(holder | {"slurm_job_id": os.environ.get("SLURM_JOB_ID")}) + "\n").encode()


def _read(path: Path) -> dict[str, Any]:
    """Who holds the lock; empty if the file does not say."""
    try:
        holder = json.loads(path.read_bytes())
        return {"host": holder["host"], "pid": holder["pid"], "slurm_job_id": holder.get("slurm_job_id")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _age_s(path: Path) -> float:
    """Seconds since the file was renewed, by the file server's own clock: machines' clocks may differ."""
    probe = path.with_name(f".clock.{os.uname().nodename}.{os.getpid()}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink()
