"""Read ranges of bytes from local files and, through fsspec, from HTTP and object stores, with retries.

A location is a path or a URL that fsspec knows (`https://…`, `s3://…`; remote ones need the extra `remote`).
"""

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fsspec

from configs.loader import UserError

ATTEMPTS = 5
FIRST_PAUSE_S = 0.2  # before the second attempt; it doubles, so a range is given up after 3 s of pauses


def _transient() -> tuple[type[Exception], ...]:
    """Errors after which another attempt may succeed. Those of aiohttp are no OSErrors."""
    try:
        from aiohttp import ClientError
    except ImportError:
        return (OSError, TimeoutError)
    return (OSError, TimeoutError, ClientError)


@dataclass
class Storage:
    """One file system and how much was read from it. Threads may share it."""

    filesystem: Any  # fsspec.AbstractFileSystem
    pause: Callable[[float], None] = time.sleep
    bytes_read: int = 0
    requests: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end` (exclusive) of a file.

        Raises UserError if ATTEMPTS attempts fail or give fewer bytes, or if the file is gone.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                data = self.filesystem.cat_file(path, start=start, end=end)
            except FileNotFoundError:
                raise UserError(
                    f"{path}: is gone: it was there when the run started; restore it and start again"
                ) from None
            except _transient() as error:
                problem = f"{type(error).__name__}: {error}"
                data = b""
            else:
                problem = f"{len(data):,} bytes came instead of {end - start:,}"
            with self._lock:
                self.requests += 1
                self.bytes_read += len(data)
                self.retries += attempt > 0
            if len(data) == end - start:
                return data
        raise UserError(
            f"{path}: bytes {start:,} to {end:,} could not be read in {ATTEMPTS} attempts ({problem}): check "
            f"the storage and start again; a run resumes from its newest checkpoint"
        )


def open_storage(location: str, pattern: str) -> tuple[Storage, list[tuple[str, int]]]:
    """The storage of a folder, and (path, bytes) of its files that match `pattern`, sorted by path.

    Raises UserError if the folder cannot be listed or the protocol needs a package that is missing.
    """
    try:
        filesystem, folder = fsspec.core.url_to_fs(location)
        paths = sorted(filesystem.glob(f"{folder.rstrip('/')}/{pattern}"))
        sizes = filesystem.sizes(paths)
    except ImportError as error:
        raise UserError(f"{location}: {error}; pip install -e '.[remote]'") from None
    except _transient() as error:
        raise UserError(f"{location}: cannot be listed ({type(error).__name__}: {error})") from None
    if not paths:
        raise UserError(f"{location}: holds no {pattern}; run `make preprocess` or pass another folder")
    return Storage(filesystem), list(zip(paths, map(int, sizes), strict=True))


class RangeFile(io.RawIOBase):
    """A file of a `Storage` for readers that seek, such as pyarrow: each read is one request."""

    def __init__(self, storage: Storage, path: str, size: int) -> None:
        self._storage, self._path, self._size, self._at = storage, path, size, 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position, as for any file."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from the position; to the end if it is negative or None."""
        wanted = self._size - self._at if size is None or size < 0 else size
        end = min(self._at + wanted, self._size)
        data = self._storage.fetch(self._path, self._at, end) if end > self._at else b""
        self._at += len(data)
        return data
