"""A node's memory, its disks as the job sees them, and its clock."""

import errno
import os
import tempfile
import time
from pathlib import Path
from typing import Any

SAMPLE_BYTES = 64 * 10**6  # enough to leave a disk's cache on a network, and written in less than a second
FULL = (errno.ENOSPC, errno.EDQUOT)
FREE_BYTES = 10**9  # less is as good as full: a log and a checkpoint of the smallest model need it
MEMORY_BYTES = 2 * 2**30  # a process of the smallest model takes about 1 GiB


def memory_bytes() -> int | None:
    """Memory that programs can still get on this node, within the job's limit; None if not on Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return min([available, *_limits()])


def _limits() -> list[int]:
    """The cgroup's limit less what it uses, in either version of the kernel's interface."""
    found = []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            values = [(Path("/sys/fs/cgroup") / name).read_text().strip() for name in (limit, used)]
            found.append(int(values[0]) - int(values[1]))
        except (OSError, ValueError):  # another version; "max": no limit
            continue
    return found


def look_at_disk(folder: Path) -> dict[str, Any]:
    """Free bytes below a folder and bytes a second of a write that reaches the disk.

    `error` instead of the speed where nothing can be written. Each call writes a file of its own and removes
    it, so any number of them may run at once.
    """
    found: dict[str, Any] = {"folder": str(folder)}
    try:
        usage = os.statvfs(folder)
        found["free_bytes"] = usage.f_bavail * usage.f_frsize
        sample = os.urandom(10**6)  # a file system that compresses would store zeros at any speed
        with tempfile.TemporaryFile(dir=folder, prefix=".node_check.") as file:
            began = time.perf_counter()
            for _ in range(min(SAMPLE_BYTES, found["free_bytes"] // 2) // len(sample)):
                file.write(sample)
            file.flush()
            os.fsync(file.fileno())
            found["bytes_per_s"] = file.tell() / (time.perf_counter() - began)
    except OSError as error:
        if error.errno in FULL:
            found["free_bytes"] = 0  # for this user, whatever the file system says
        else:
            found["error"] = error.strerror or str(error)
    return found
