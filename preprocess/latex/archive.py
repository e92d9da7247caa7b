"""From an item of a bulk archive to the files of a paper, in memory: nothing is written, no link is followed.

An item is a gzip or a `compress` file of one file or of a tar, or a bare tar or TeX file. Archives are
hostile until read: output is capped while inflating, names with `..` or a leading slash are refused, links
and devices are passed over.
"""

import io
import posixpath
import shutil
import subprocess
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

try:  # twice as fast as zlib (690-930 against 360-525 MB/s); there is no wheel for some platforms
    from isal import isal_zlib

    _decompressobj: Callable[..., Any] = isal_zlib.decompressobj
    _INFLATE_ERROR: Any = isal_zlib.error
except ImportError:
    _decompressobj, _INFLATE_ERROR = zlib.decompressobj, zlib.error

GZIP, COMPRESS = b"\x1f\x8b", b"\x1f\x9d"
_GZIP_WRAPPER = 31  # zlib's wbits for a gzip header and trailer
_CHUNK = 1 << 20
MAX_NESTING = 2  # archives inside an item: a paper.tar.gz inside the tar is seen, a third wrapping is not


@dataclass(frozen=True)
class Dropped:
    """A paper that cannot be used, and why."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Limits:
    """What a paper may cost. arXiv's own limit for a submission is 50 MB."""

    max_bytes: int = 512 << 20  # unpacked
    max_files: int = 20_000
    max_text_bytes: int = 64 << 20  # of flattened LaTeX


@dataclass
class Source:
    """The files of a paper by their normalised names."""

    files: dict[str, bytes] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    bytes_in: int = 0  # of all regular files, those passed over included
    removed: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, data: bytes) -> None:
        """Take in a file; an unusable or repeated name is passed over and counted."""
        self.bytes_in += len(data)
        clean = posixpath.normpath(name.replace("\\", "/"))
        if clean.startswith(("/", "..")) or clean == "." or "\0" in clean:
            self.removed["unsafe_name"] += len(data)
            self.flag("unsafe_name")
        elif clean in self.files:
            self.removed["repeated_name"] += len(data)
        else:
            self.files[clean] = data

    def flag(self, name: str) -> None:
        """Note something about the archive once."""
        if name not in self.flags:
            self.flags.append(name)


class TooLarge(Exception):
    """An archive grows beyond its limit."""


def inflate(data: bytes, max_bytes: int, chunk_done: Callable[[bytes], object]) -> str:
    """Inflate all gzip members in `data` into `chunk_done`; "" or what is wrong (truncated, corrupt).

    One-shot decompression returns the first member only, and bytes after the last are an error to `gzip`:
    so members are read one by one and what follows them is left. Raises TooLarge.
    """
    n_bytes = 0
    while data.startswith(GZIP):
        member = _decompressobj(wbits=_GZIP_WRAPPER)
        try:
            while not member.eof:
                out = member.decompress(data, _CHUNK)
                data = member.unconsumed_tail
                n_bytes += len(out)
                if n_bytes > max_bytes:
                    raise TooLarge
                chunk_done(out)
                if not out and not data and not member.eof:
                    return "truncated"
        except _INFLATE_ERROR:
            return "corrupt"
        data = member.unused_data
    return ""


def uncompress(data: bytes, max_bytes: int) -> bytes | None:
    """Contents of a `compress` (.Z) file by way of `gzip -dc`; None if it is damaged. Raises TooLarge."""
    if shutil.which("gzip") is None:
        return None
    with subprocess.Popen(
        ["gzip", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            # A .Z item is a few MB at most (arXiv stopped taking them in the nineties).
            out, _ = process.communicate(data, timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TooLarge from None
    if len(out) > max_bytes:
        raise TooLarge
    return out if process.returncode in (0, 2) else None  # 2: trailing garbage ignored


def is_tar(data: bytes) -> bool:
    """Whether `data` begins with a tar header (`tarfile.is_tarfile` takes a block of zeros for one)."""
    try:
        tarfile.TarInfo.frombuf(data[:512].ljust(512, b"\0"), "utf-8", "surrogateescape")
    except (tarfile.HeaderError, UnicodeError, ValueError):
        return False
    return True


def unpack(item: bytes, limits: Limits) -> Source | Dropped:
    """The files in an item of a bulk archive, or why there are none."""
    source = Source()
    try:
        reason = _unpack_into(source, "", item, limits, 0)
    except TooLarge:
        return Dropped("too_large", f"over {limits.max_bytes} bytes or {limits.max_files} files unpacked")
    if reason and not source.files:
        return Dropped(f"{reason}_archive")
    if not source.files:
        return Dropped("empty")
    return source


def _unpack_into(source: Source, name: str, data: bytes, limits: Limits, depth: int) -> str:
    """Add what is in `data` to `source`; "" or what is wrong with it."""
    trouble = ""
    room = limits.max_bytes - source.bytes_in
    if data.startswith(GZIP):
        chunks: list[bytes] = []
        trouble = inflate(data, room, chunks.append)
        data, name = b"".join(chunks), name.removesuffix(".gz")
        if name.endswith(".tgz"):
            name = name[:-4]
    elif data.startswith(COMPRESS):
        plain = uncompress(data, room)
        if plain is None:
            return "corrupt"
        data, name = plain, name.removesuffix(".Z")
    if trouble:
        source.flag(f"{trouble}_gzip")
        if trouble == "corrupt":
            return trouble
    if len(data) > room:
        raise TooLarge
    if not is_tar(data):
        if data.strip(b"\0"):
            source.add(name or "main.tex", data)
        return trouble
    if _untar_into(source, posixpath.dirname(name), data, limits, depth):
        source.flag("partial_tar")
        return trouble or "truncated"
    return trouble


def _untar_into(source: Source, folder: str, data: bytes, limits: Limits, depth: int) -> bool:
    """Add a tar's regular files; True where the tar ends early."""
    n_files = 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        while True:
            try:
                member = tar.next()
            except (tarfile.TarError, ValueError, OverflowError):
                return True
            if member is None:
                return False
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header: memory would grow
            n_files += 1
            if n_files > limits.max_files:
                raise TooLarge
            if not member.isreg():
                if not member.isdir():
                    source.flag("links_passed_over")
                continue
            # By offset, not by extractfile: a link to itself would recurse without end.
            content = data[member.offset_data : member.offset_data + member.size]
            name = posixpath.join(folder, member.name.encode("utf-8", "replace").decode())
            packed = content.startswith((GZIP, COMPRESS)) or (name.endswith(".tar") and is_tar(content))
            if packed and depth < MAX_NESTING:
                before = len(source.files)
                _unpack_into(source, name, content, limits, depth + 1)
                if len(source.files) > before:
                    continue
            if source.bytes_in + len(content) > limits.max_bytes:
                raise TooLarge
            source.add(name, content)
            if len(content) < member.size:
                return True
