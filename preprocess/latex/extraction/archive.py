"""Unpack one arXiv item in memory, within limits; nothing is written to disk.

An item is a gzip (perhaps of several members, or with bytes behind them), a `.Z`, a tar or one bare file,
and these can be nested. Archives may be hostile: links, devices and names that point outside the archive are
skipped, and decompression stops at a limit. A damaged tar still yields the files before the damage.
"""

import posixpath
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

try:  # twice as fast as zlib, but some platforms have no wheel
    from isal import isal_zlib

    _decompressobj: Callable[..., Any] = isal_zlib.decompressobj
    _INFLATE_ERRORS: Any = (isal_zlib.error, zlib.error)
except ImportError:
    _decompressobj, _INFLATE_ERRORS = zlib.decompressobj, (zlib.error,)

from preprocess.pipeline.dropped import Dropped

MAX_BYTES = 256 << 20  # decompressed; arXiv accepts 50 MB compressed, and deflate reaches 1,028 : 1
MAX_MEMBERS = 20_000  # bounds the time for a tar of empty files
MAX_DEPTH = 2  # levels of archives inside the archive
MAX_NESTED = 8  # archives on a level: versions of a paper, the parts of a book
MAX_LZW_BYTES = 4 << 20  # of a compressed `.Z`: Python reads 10 MB/s, and real ones date from the 1990s
TEX_SUFFIXES = (".tex", ".ltx", ".latex")

_BLOCK = 512  # bytes of a tar header; contents are padded to a multiple (POSIX ustar)
_GZIP_WRAPPER = 31  # zlib's wbits for a gzip header and trailer
_SLICE = 64 << 10  # compressed bytes between two checks of the limit: they give 66 MB at worst
_LONG_NAME, _PAX = b"L", b"x"  # tar headers that hold the name of the next member (GNU, pax)


@dataclass(frozen=True)
class Unpacked:
    """The regular files of an item by path.

    `n_bytes` counts the bytes of all regular files, `skipped` those of files that are not in `files`, by
    cause. `flags` name damage and oddities.
    """

    files: dict[str, memoryview]
    n_bytes: int
    skipped: Counter[str]
    flags: tuple[str, ...] = ()


def kind_of(data: bytes | memoryview) -> str:
    """Kind of a content by its start: gzip, compress, tar, pdf, postscript, html, binary, empty or text."""
    head = bytes(data[:1024])
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x1f\x9d"):
        return "compress"
    if _header(memoryview(head), 0):
        return "tar"
    if head.startswith(b"%PDF"):
        return "pdf"
    if head.startswith((b"%!PS", b"\x04%!PS", b"\xc5\xd0\xd3\xc6")):
        return "postscript"
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    if not head.strip(b"\0 \t\r\n"):
        return "empty"
    if b"\0\0\0\0" in head or head.startswith((b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
        return "binary"
    return "text"


def unpack(
    data: bytes | memoryview, name: str, max_bytes: int = MAX_BYTES, depth: int = 0
) -> Unpacked | Dropped:
    """The files of the item `data`, or why it is dropped.

    `name`: what a bare file is called. `max_bytes`: how much all files may decompress to. `depth`: levels of
    archives around this one.
    """
    view, flags = memoryview(data), []
    kind, wrappers = kind_of(view), 0
    while kind in ("gzip", "compress"):
        wrappers += 1
        if wrappers + depth > MAX_DEPTH + 1:
            return Dropped("nested_too_deep", name, len(view))
        inflated, damage = (inflate if kind == "gzip" else unlzw)(view, max_bytes)
        if len(inflated) > max_bytes:
            return Dropped("too_large", f"more than {max_bytes} bytes", len(view))
        if damage:
            flags.append(damage)
        view = memoryview(inflated)
        kind = kind_of(view)
    if kind == "tar":
        return _unpack_tar(view, max_bytes, depth, flags)
    if flags:  # one bare file that ends too early or is garbled in the middle
        return Dropped(flags[0], name, len(view))
    return Unpacked({name: view}, len(view), Counter())


def _unpack_tar(view: memoryview, max_bytes: int, depth: int, flags: list[str]) -> Unpacked | Dropped:
    files: dict[str, memoryview] = {}
    skipped: Counter[str] = Counter()
    n_bytes = 0
    for n_members, (raw_name, content) in enumerate(_members(view, flags)):
        if n_members == MAX_MEMBERS:
            return Dropped("too_many_members", f"more than {MAX_MEMBERS}", n_bytes)
        n_bytes += len(content)
        name = posixpath.normpath(raw_name.replace("\\", "/").lstrip("/"))
        if name.startswith("..") or name == "." or "\0" in name:
            skipped["unsafe_name"] += len(content)
            continue
        if name in files:  # the last one counts, as it does when tar extracts
            skipped["repeated_member"] += len(files[name])
        files[name] = content
    if depth < MAX_DEPTH and not any(name.lower().endswith(TEX_SUFFIXES) for name in files):
        archives = [name for name, file in files.items() if kind_of(file) in ("gzip", "tar", "compress")]
        for name in archives[:MAX_NESTED]:
            stem = posixpath.splitext(posixpath.basename(name))[0]
            inner = unpack(files[name], stem, max_bytes, depth + 1)
            if isinstance(inner, Dropped):
                if inner.reason == "too_large":
                    return inner
                max_bytes -= inner.bytes_in  # it was decompressed all the same
                continue
            n_bytes += inner.n_bytes - len(files.pop(name))
            max_bytes -= inner.n_bytes
            skipped += inner.skipped
            folder = posixpath.dirname(name)
            for path, content in inner.files.items():
                path = posixpath.join(folder, path)
                if path in files:
                    skipped["repeated_member"] += len(content)
                else:
                    files[path] = content
            flags.append("nested_archive")
    if not files:
        return Dropped("empty_archive", "", n_bytes)
    return Unpacked(files, n_bytes, skipped, tuple(dict.fromkeys(flags)))


# ---------------------------------------------------------------- gzip and .Z


def inflate(data: memoryview, max_bytes: int) -> tuple[bytearray, str]:
    """Decompress all gzip members: (content, kind of damage or "").

    Stops soon after `max_bytes`, so a longer content means that the limit was exceeded. Bytes behind the last
    member are ignored.
    """
    out, position = bytearray(), 0
    while data[position : position + 2] == b"\x1f\x8b":
        member = _decompressobj(wbits=_GZIP_WRAPPER)
        try:
            while not member.eof:
                piece = data[position : position + _SLICE]
                if not piece:
                    return out, "truncated_archive"
                position += len(piece)
                out += member.decompress(piece)
                if len(out) > max_bytes:
                    return out, ""
        except _INFLATE_ERRORS:
            return out, "corrupt_archive"
        position -= len(member.unused_data)
    return out, ""


def unlzw(data: memoryview, max_bytes: int) -> tuple[bytearray, str]:
    """Decompress a `.Z` as compress(1) writes it (LZW): (content, kind of damage or "").

    Codes grow from 9 to `max_bits` bits and are written in groups of eight: when the width changes, or the
    table is cleared, the rest of the group stays unused. No specification says so, but every implementation
    does it.
    """
    if len(data) < 3:
        return bytearray(), "truncated_archive"
    if len(data) > MAX_LZW_BYTES:
        return bytearray(), "too_large"
    max_bits, block_mode = data[2] & 0x1F, bool(data[2] & 0x80)
    if not 9 <= max_bits <= 16:
        return bytearray(), "corrupt_archive"
    first_free = 257 if block_mode else 256
    table = [bytes([i]) for i in range(256)] + [b""] * (first_free - 256)
    out, width, position, previous = bytearray(), 9, 24, b""
    group_start, n_bits = position, 8 * len(data)
    while position + width <= n_bits and len(out) <= max_bytes:
        start = position >> 3
        code = int.from_bytes(data[start : start + 4], "little") >> (position & 7) & (1 << width) - 1
        position += width
        if code == 256 and block_mode:
            position = group_start + -(-(position - group_start) // (8 * width)) * 8 * width
            del table[first_free:]
            width, group_start, previous = 9, position, b""
            continue
        if code < len(table):
            entry = table[code]
        elif code == len(table) and previous:
            entry = previous + previous[:1]
        else:
            return out, "corrupt_archive"
        out += entry
        if previous and len(table) < 1 << max_bits:
            table.append(previous + entry[:1])
        previous = entry
        if len(table) >= 1 << width and width < max_bits:
            position = group_start + -(-(position - group_start) // (8 * width)) * 8 * width
            width, group_start = width + 1, position
    return out, ""


# ---------------------------------------------------------------- tar


def _header(view: memoryview, at: int) -> tuple[bytes, int] | None:
    """(type, size in bytes) from the tar header at offset `at`; None where its checksum is wrong."""
    block = bytes(view[at : at + _BLOCK])
    if len(block) < _BLOCK:
        return None
    stated = _number(block[148:156])
    if stated is None or sum(block) - sum(block[148:156]) + 8 * 0x20 != stated:
        return None
    size = _number(block[124:136])
    return None if size is None else (block[156:157], size)


def _number(field: bytes) -> int | None:
    """The number in a header's field; None where it is neither octal nor binary."""
    if field[:1] == b"\x80":  # GNU writes sizes of 8 GB and more in binary
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.split(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return None


def _members(view: memoryview, flags: list[str]) -> Iterator[tuple[str, memoryview]]:
    """(name, content) of each regular file up to the end or the first damage, which is added to `flags`."""
    at, long_name = 0, b""
    while at + _BLOCK <= len(view):
        header = _header(view, at)
        if header is None:
            if any(view[at : at + _BLOCK]):
                flags.append("corrupt_archive")
            return
        (kind, size), start = header, at + _BLOCK
        content = view[start : start + size]
        if len(content) < size:
            flags.append("truncated_archive")
            return
        if kind == _LONG_NAME:
            long_name = bytes(content).rstrip(b"\0")
        elif kind == _PAX:
            long_name = _pax_path(bytes(content)) or long_name
        else:
            if kind in (b"\0", b"0", b"7"):
                yield (long_name or _name(view, at)).decode("utf-8", "replace"), content
            elif kind not in b"123456g":
                flags.append("odd_member")
            long_name = b""
        at = start + -(-size // _BLOCK) * _BLOCK
    if not at:
        flags.append("truncated_archive")


def _name(view: memoryview, at: int) -> bytes:
    name, magic, prefix = struct.unpack_from("100s157x6s82x155s", view, at)
    name = name.split(b"\0")[0]
    prefix = prefix.split(b"\0")[0]
    return prefix + b"/" + name if prefix and magic == b"ustar\0" else name


def _pax_path(records: bytes) -> bytes:
    """The value of `path` among pax records `<length> <key>=<value>\\n`; b"" where there is none."""
    at = 0
    while at < len(records):
        digits, blank, _ = records[at : at + 20].partition(b" ")
        if not blank or not digits.isdigit() or int(digits) <= len(digits) + 1:
            return b""
        key, _, value = records[at + len(digits) + 1 : at + int(digits) - 1].partition(b"=")
        if key == b"path":
            return value
        at += int(digits)
    return b""
