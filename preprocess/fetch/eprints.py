"""Single papers from arXiv's e-print address, politely: one request at a time, with pauses, named contact.

The items are then packed as arXiv packs its own (tars by month, a manifest), so that preprocessing reads them
like any other source.
"""

import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

from preprocess.fetch.sources import NotThere, Transient
from preprocess.fetch.transfer import Transfer
from preprocess.latex.extraction.archive import MAX_BYTES, inflate, kind_of
from preprocess.pipeline.identifiers import from_member_stem, month_of
from preprocess.pipeline.manifest import MANIFEST, in_order
from preprocess.pipeline.shard import temporary_beside
from preprocess.pipeline.stage import write_json
from preprocess.sample.packaging import Item, bulk_tar, gzip_bytes, manifest, manifest_entry

SUFFIXES = (".gz", ".pdf")
MISSING = "missing.json"  # ids that arXiv has no source for, and what it answered
TAR_BYTES = 500 << 20  # of items; arXiv's own tars have as many


def fetch_eprints(
    transfer: Transfer, ids: Sequence[str], delay_s: float, pause: Callable[[float], object]
) -> dict[str, str]:
    """Fetch the papers that are not here yet; returns the missing ones with arXiv's answer.

    Items are written below `transfer.folder`/items/<YYMM>/. Raises UserError if arXiv refuses the whole.
    """
    known = transfer.folder / MISSING
    missing: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    here = {from_member_stem(path.stem) for path in item_files(transfer.folder)}
    wanted = [paper_id for paper_id in ids if paper_id not in here and paper_id not in missing]
    for n, paper_id in enumerate(tqdm(wanted, "fetching", unit=" papers")):
        if n:
            pause(delay_s)
        try:
            data = transfer.repeat(partial(_fetch_item, transfer, paper_id))
        except NotThere as error:
            missing[paper_id] = str(error)
            write_json(known, missing)
            continue
        _write_item(transfer.folder, paper_id, data)
    return missing


def _fetch_item(transfer: Transfer, paper_id: str) -> bytes:
    """One item. Raises Transient if it came incomplete or is a page for people instead."""
    data = transfer.fetch_once(paper_id)
    kind = kind_of(data)
    if kind in ("html", "empty"):
        raise Transient(f"{paper_id}: a page of kind {kind} came instead of a paper")
    if kind == "gzip" and (damage := inflate(memoryview(data), MAX_BYTES)[1]):
        raise Transient(f"{paper_id}: {damage}")
    return data


def _write_item(folder: Path, paper_id: str, data: bytes) -> None:
    kind = kind_of(data)
    suffix = ".pdf" if kind == "pdf" else ".gz"
    content = data if kind in ("pdf", "gzip") else gzip_bytes(data)
    path = folder / "items" / str(month_of(paper_id)) / f"{paper_id.replace('/', '')}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    temporary.write_bytes(content)
    temporary.replace(path)


def item_files(folder: Path) -> Iterator[Path]:
    """The items that are here, by month and name."""
    for month in sorted((folder / "items").glob("*"), key=lambda path: in_order(path.name)):
        yield from sorted(path for path in month.iterdir() if path.suffix in SUFFIXES)


def pack(folder: Path) -> int:
    """Write FOLDER/src/arXiv_src_YYMM_NNN.tar and the manifest from all items; returns the number of tars.

    The same items give the same bytes. A tar with the same content is not written again, so that
    preprocessing does not read it again.
    """
    src = folder / "src"
    src.mkdir(parents=True, exist_ok=True)
    entries: list[str] = []
    for month, paths in groupby(item_files(folder), key=lambda path: path.parent.name):
        # One time stamp for all: arXiv states when a tar was made, and here that must not change its bytes.
        made = datetime.datetime.strptime(in_order(month), "%Y%m").replace(tzinfo=datetime.UTC)
        for seq_num, part in enumerate(_portions(list(paths)), 1):
            items = [
                Item(str(from_member_stem(path.stem)), month, path.suffix, path.read_bytes(), made)
                for path in part
            ]
            name, tar = f"arXiv_src_{month}_{seq_num:03d}.tar", bulk_tar(items)
            entries.append(manifest_entry(name, seq_num, items, tar))
            _write_if_new(src / name, tar)
    _write_if_new(src / MANIFEST, manifest(entries).encode())
    return len(entries)


def _portions(paths: list[Path]) -> Iterator[list[Path]]:
    part: list[Path] = []
    n_bytes = 0
    for path in paths:
        part.append(path)
        n_bytes += path.stat().st_size
        if n_bytes >= TAR_BYTES:
            yield part
            part, n_bytes = [], 0
    if part:
        yield part


def _write_if_new(path: Path, data: bytes) -> None:
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    temporary = temporary_beside(path)
    temporary.write_bytes(data)
    temporary.replace(path)
