"""Package papers as arXiv does: items, bulk tars, the manifest, metadata lines.

The bytes are the same on every machine: they do not depend on the clock, on the order of a set or on the
version of zlib. (zlib and zlib-ng compress differently, so the gzips here hold stored blocks.)
"""

import datetime
import hashlib
import io
import json
import struct
import tarfile
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

_DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()  # strftime's names depend on the locale
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_STORED_BLOCK = 0xFFFF  # bytes, the maximum in RFC 1951


@dataclass(frozen=True)
class Record:
    """The fields of a paper's metadata line that vary."""

    id: str
    title: str
    authors: tuple[str, ...]
    abstract: str
    categories: str
    comments: str | None
    license: str | None
    created: datetime.datetime
    versions: int = 1


@dataclass(frozen=True)
class Item:
    """A member of a bulk tar; that of `hep-th/9901001` is named `9901/hep-th9901001.gz`."""

    id: str
    yymm: str
    suffix: str
    data: bytes
    created: datetime.datetime

    @property
    def stem(self) -> str:
        return self.id.replace("/", "")

    @property
    def member(self) -> str:
        return f"{self.yymm}/{self.stem}{self.suffix}"


def gzip_bytes(data: bytes) -> bytes:
    """`data` as a gzip of stored blocks, with time stamp 0 (RFC 1951, RFC 1952)."""
    parts = [struct.pack("<4BIBB", 0x1F, 0x8B, 8, 0, 0, 0, 255)]
    starts = range(0, max(len(data), 1), _STORED_BLOCK)
    for start in starts:
        block = data[start : start + _STORED_BLOCK]
        parts.append(struct.pack("<BHH", start == starts[-1], len(block), len(block) ^ 0xFFFF) + block)
    return b"".join(parts) + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def tar_bytes(files: dict[str, bytes], special: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """A tar of `special` members (links, devices), then of regular files, each in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info in special:
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def package(files: dict[str, bytes]) -> bytes:
    """A submission as arXiv stores it: a gzip of its only file, or of a tar of all files."""
    data = next(iter(files.values())) if len(files) == 1 else tar_bytes(files)
    return gzip_bytes(data)


def bulk_tar(items: Sequence[Item]) -> bytes:
    """A bulk tar: the month's folder, then the items, which are all of that month."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo(f"{items[0].yymm}/")
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, int(items[-1].created.timestamp())
        tar.addfile(folder)
        for item in items:
            info = tarfile.TarInfo(item.member)
            info.size, info.mtime = len(item.data), int(item.created.timestamp())
            tar.addfile(info, io.BytesIO(item.data))
    return buffer.getvalue()


def manifest_entry(name: str, seq_num: int, items: Sequence[Item], tar: bytes) -> str:
    """The manifest's entry (XML) for the bulk tar `name` with the bytes `tar`."""
    fields = {
        "content_md5sum": _md5(b"".join(item.data for item in items)),
        "filename": f"src/{name}",
        "first_item": items[0].stem,
        "last_item": items[-1].stem,
        "md5sum": _md5(tar),
        "num_items": len(items),
        "seq_num": seq_num,
        "size": len(tar),
        "timestamp": f"{max(item.created for item in items):%Y-%m-%d %H:%M:%S}",
        "yymm": items[0].yymm,
    }
    lines = "\n".join(f"    <{key}>{escape(str(value))}</{key}>" for key, value in fields.items())
    return f"  <file>\n{lines}\n  </file>\n"


def manifest(entries: Sequence[str]) -> str:
    """The manifest (XML) of all bulk tars, from their entries."""
    return f"<?xml version='1.0' standalone='yes'?>\n<arXivSRC>\n{''.join(entries)}</arXivSRC>\n"


def metadata_line(record: Record) -> str:
    """The paper's line (JSON) of the metadata snapshot, without line end."""
    dates = [record.created + datetime.timedelta(days=97 * i) for i in range(record.versions)]
    fields: dict[str, Any] = {
        "id": record.id,
        "submitter": record.authors[0],
        "authors": ", ".join(record.authors),
        "title": textwrap.fill(record.title, 76, subsequent_indent="  "),
        "comments": record.comments,
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": record.categories,
        "license": record.license,
        "abstract": f"  {record.abstract}\n",
        "versions": [
            {
                "version": f"v{i}",
                "created": f"{_DAYS[d.weekday()]}, {d.day} {_MONTHS[d.month - 1]} {d:%Y %H:%M:%S} GMT",
            }
            for i, d in enumerate(dates, 1)
        ],
        "update_date": f"{dates[-1]:%Y-%m-%d}",
        "authors_parsed": [[*reversed(name.rsplit(" ", 1)), ""] for name in record.authors],
    }
    return json.dumps(fields)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
