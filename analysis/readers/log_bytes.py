"""A log file as pieces of whole lines, decompressed while it is read: no file is ever whole in memory."""

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from configs.script import UserError

# isal, in requirements.txt, decompresses twice as fast; figures are drawn without it, too.
_zlib: Any = import_module("isal.isal_zlib") if find_spec("isal") else zlib

Result = TypeVar("Result")

PIECE_BYTES = 4 << 20
MOST_LINE_BYTES = 16 << 20  # a row has a few hundred
GZIP = 31  # wbits of zlib: a gzip header is expected


def pieces(path: Path) -> Iterator[bytes]:
    """The file in pieces of some megabytes that end behind a newline, but for the last one.

    Raises UserError naming a damaged gzip file and a file whose lines are too long to be a log's.
    """
    rest = b""
    for data in _inflated(path) if path.suffix == ".gz" else _blocks(path, PIECE_BYTES):
        end = data.rfind(b"\n") + 1
        if not end and len(rest) > MOST_LINE_BYTES:
            raise UserError(f"{path}: a line of more than {MOST_LINE_BYTES >> 20} MiB: this is no log")
        if end:
            yield rest + data[:end]
            rest = data[end:]
        else:
            rest += data
    if rest:
        yield rest


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(size):
            yield block


def _inflated(path: Path) -> Iterator[bytes]:
    """The content of a gzip file of one or more members."""
    member = _zlib.decompressobj(wbits=GZIP)
    ended = True
    try:
        for compressed in _blocks(path, PIECE_BYTES // 4):
            while compressed:
                if member.eof:
                    member = _zlib.decompressobj(wbits=GZIP)
                yield member.decompress(compressed, PIECE_BYTES)
                compressed = member.unused_data if member.eof else member.unconsumed_tail
            ended = member.eof
    except _zlib.error as error:
        raise _damaged(path, str(error)) from None
    if not ended:
        raise _damaged(path, "it ends too early")


def _damaged(path: Path, how: str) -> UserError:
    return UserError(f"{path}: damaged ({how}); publish it again: make publish-logs")


def in_threads(work: Callable[[bytes], Result], items: Iterable[bytes]) -> Iterator[tuple[bytes, Result]]:
    """Each item with what `work` makes of it, in order; as many at a time as this process has cores.

    numpy and zlib leave Python's lock to others while they work. Only a few items are in memory at a time.
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(n_cores) as pool:
        under_way: deque[tuple[bytes, Future[Result]]] = deque()
        for item in items:
            under_way.append((item, pool.submit(work, item)))
            if len(under_way) > 2 * n_cores:
                done, result = under_way.popleft()
                yield done, result.result()
        for done, result in under_way:
            yield done, result.result()
