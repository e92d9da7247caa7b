"""arXiv's metadata snapshot: one JSON object per line. It is streamed, so it may be larger than memory.

`check_snapshot` reads only the two ends of the file, which takes milliseconds; `months` groups the lines by
month. A line longer than MAX_LINE_BYTES is never in memory as a whole; it counts as malformed.
"""

import json
import re
from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import xxhash
from tqdm import tqdm

from configs.loader import UserError
from preprocess.pipeline.identifiers import month_of
from preprocess.pipeline.stage import Unit

UNREADABLE = "unreadable"  # name of the shard of the lines without a valid id
MAX_LINE_BYTES = 1 << 20  # arXiv's longest lines, with thousands of authors, have about 100 kB
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"PK": "unzip", b"\xfd7": "unxz", b"\x28\xb5": "unzstd"}
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]+)"')


def check_snapshot(path: Path) -> None:
    """Check the beginning and the end of the file.

    Raises UserError if the file is missing, empty, compressed, cut off or not one JSON object per line.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; set METADATA= to arXiv's metadata snapshot "
            "(arxiv-metadata-oai-snapshot.json), see README, 'Real arXiv data'"
        )
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES)
        while first.isspace():
            first = file.readline(MAX_LINE_BYTES)
        file.seek(max(0, n_bytes - MAX_LINE_BYTES))
        end = file.read()
    if not first:
        raise UserError(f"{path}: is empty")
    if unpack := _COMPRESSED.get(first[:2]):
        raise UserError(f"{path}: is compressed; {unpack} it first")
    if first.lstrip().startswith(b"["):
        raise UserError(
            f"{path}: is one JSON array; one JSON object per line is expected, as arXiv publishes it. Run "
            f"jq -c '.[]' {path.name} > lines.json and set METADATA=lines.json"
        )
    if len(first) < MAX_LINE_BYTES and not _is_object(first):
        raise UserError(
            f"{path}: its first line is not a JSON object ({first[:60].decode('utf-8', 'replace')!r}); "
            "arXiv's snapshot holds one object per line"
        )
    last = end.rsplit(b"\n", 1)[-1]
    # Only a last line without a line end shows that the file is cut off. Other malformed lines get a ledger
    # row.
    if last and not last.isspace() and len(last) < MAX_LINE_BYTES and not _is_object(last):
        raise UserError(
            f"{path}: the file is cut off: it ends in the middle of a line, after {n_bytes:,} bytes. Fetch "
            f"it again, or delete the last line to use the rest (sed -i '$d' {path.name})"
        )


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def read_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(a line, how many bytes it has), from the file's position on; too long a line comes as an empty one."""
    while line := file.readline(MAX_LINE_BYTES):
        part, n_bytes = line, len(line)
        while len(part) == MAX_LINE_BYTES and not part.endswith(b"\n"):
            part = file.readline(MAX_LINE_BYTES)
            n_bytes += len(part)
        yield line if len(line) == n_bytes else b"", n_bytes


@dataclass
class _Month:
    offsets: "array[int]" = field(default_factory=lambda: array("q"))  # first byte of each line
    digest: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)
    n_bytes: int = 0


def months(snapshot: Path) -> Iterator[Unit]:
    """A unit of work for each month of the snapshot. `work`: (snapshot, offset of each line, 8 bytes each).

    Raises UserError if no line holds an arXiv id.
    """
    found: defaultdict[str, _Month] = defaultdict(_Month)
    offset = 0
    with (
        snapshot.open("rb") as file,
        tqdm(total=snapshot.stat().st_size, unit="B", unit_scale=True, desc="  reading snapshot") as bar,
    ):
        for line, n_bytes in read_lines(file):
            if not line.isspace():
                match = _ID.search(line)
                month = found[(match and month_of(match[1].decode("latin-1"))) or UNREADABLE]
                month.offsets.append(offset)
                month.digest.update(line or b"%d" % n_bytes)
                month.n_bytes += n_bytes
            offset += n_bytes
            bar.update(n_bytes)
    if set(found) == {UNREADABLE}:
        raise UserError(
            f"{snapshot}: no line holds an arXiv id; set METADATA= to arXiv's metadata snapshot (JSON lines)"
        )
    for name, month in found.items():
        yield Unit(name, (), month.digest.hexdigest(), month.n_bytes, work=(snapshot, month.offsets))
