"""Download from arXiv: bulk tars by month, single papers by id; put the metadata snapshot in its place.

    python preprocess/download.py bulk --months 0704-0706 --to data/raw/src --max-usd 15
    python preprocess/download.py bulk --ids papers.txt --to data/raw/src --base-url https://mirror.example/src
    python preprocess/download.py papers --ids papers.txt --contact me@example.org --to data/raw/papers
    python preprocess/download.py metadata archive.zip --to data/raw/metadata.json

bulk:     in: arXiv's bucket (the requester pays: an AWS account, boto3) or a mirror of it. Out: the manifest
          and the chosen tars, each checked by md5. Size and price come first; nothing that costs money starts
          before --max-usd allows it. --dry-run stops there. (The manifest itself costs 0.001 USD.)
papers:   in: arXiv's e-print address. Out: TO/items/<YYMM>/, and the same packed as bulk tars with a manifest
          in TO/src/, which make preprocess reads with SRC=. For more than a few thousand papers take bulk.
metadata: in: the snapshot from Kaggle as a local file (.json, .zip or .gz). Out: the checked snapshot.

All three can be stopped at any time; the same command goes on from there and gives the same bytes.
"""

import argparse
import gzip
import shutil
import sys
import time
import zipfile
import zlib
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, format_bytes, run_main, writing
from configs.lock import FileLock
from preprocess.fetch.choice import of_months, of_papers, read_ids
from preprocess.fetch.eprints import MISSING, fetch_eprints, pack
from preprocess.fetch.sources import USER_AGENT, BucketSource, Source, WebSource
from preprocess.fetch.transfer import Budget, Transfer, md5_of, part_name
from preprocess.pipeline.manifest import MANIFEST, ManifestEntry, read_manifest
from preprocess.pipeline.shard import temporary_beside
from preprocess.pipeline.snapshot import check_snapshot

BUCKET, PREFIX = "arxiv", "src/"
EPRINTS = "https://export.arxiv.org/e-print"  # arXiv's host for programs
MIN_DELAY_S = (
    3.0  # arXiv asks programs for at most one request in three seconds: info.arxiv.org/help/api/tou.html
)
LOCK = ".download.lock"
# Of zipfile and gzip for files that are damaged, cut off, encrypted or packed by a method that Python lacks.
_UNPACKING_ERRORS = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


def bulk(args: argparse.Namespace) -> None:
    """Show size and price of the chosen tars, then bring those that are not here."""
    source: Source = (
        WebSource(args.base_url)
        if args.base_url
        else BucketSource(BUCKET, PREFIX, connections=args.connections)
    )
    budget = Budget(args.max_usd, source.usd_per_gb, source.usd_per_request)
    transfer = Transfer(source, args.to, budget)
    manifest = fetch_manifest(transfer)
    chosen = of_months(manifest, args.months) if args.months else of_papers(manifest, read_ids(args.ids))
    wanted = [entry for entry in chosen if not is_here(args.to / entry.name, entry, args.check)]
    missing_bytes = sum(entry.size - size_of(args.to / part_name(entry)) for entry in wanted)
    usd = budget.price(missing_bytes, len(wanted))
    print(
        f"download: {len(chosen)} tars chosen, {format_bytes(sum(entry.size for entry in chosen))}; "
        f"{len(chosen) - len(wanted)} are here, {format_bytes(missing_bytes)} to transfer"
        + (f", about {usd:.2f} USD ({source.usd_per_gb} a GB)" if source.usd_per_gb else "")
        + f", from {source.where}"
    )
    if args.dry_run or not wanted:
        return
    free = shutil.disk_usage(args.to).free
    if missing_bytes > free:
        raise UserError(f"{args.to}: {format_bytes(free)} are free: make room, or choose fewer tars")
    if usd > args.max_usd:
        raise UserError(f"about {usd:.2f} USD, and --max-usd allows {args.max_usd:.2f}: raise it to start")
    transfer.fetch_all(wanted, args.connections)
    print(f"download: {len(wanted)} tars written to {args.to}, md5 as in the manifest")


def fetch_manifest(transfer: Transfer) -> dict[str, ManifestEntry]:
    """The manifest as it is now, written to the folder. Raises UserError if what comes is none."""
    path = transfer.folder / MANIFEST
    aside = temporary_beside(path)
    try:
        with writing(path):
            aside.write_bytes(transfer.fetch_whole(MANIFEST))
        manifest = read_manifest(aside)
        if not manifest:
            raise UserError(f"{transfer.source.where}/{MANIFEST}: lists no tar")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return manifest


def is_here(path: Path, entry: ManifestEntry, check: bool) -> bool:
    """Whether the tar is complete. It got its name after its md5 was right; `check` computes it again."""
    return size_of(path) == entry.size and (not check or md5_of(path) == entry.md5)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 if it is missing."""
    return path.stat().st_size if path.exists() else 0


def papers(args: argparse.Namespace) -> None:
    """Fetch single papers one after the other and pack them."""
    if "@" not in args.contact:
        raise UserError(
            f"--contact {args.contact!r}: an e-mail address, so that arXiv can tell you to slow down"
        )
    if "arxiv.org" in args.base_url and args.delay < MIN_DELAY_S:
        raise UserError(f"--delay {args.delay:g}: arXiv asks for at least {MIN_DELAY_S:g} s between requests")
    ids = read_ids(args.ids)
    source = WebSource(args.base_url, user_agent=f"{USER_AGENT} (mailto:{args.contact})")
    transfer = Transfer(source, args.to, Budget(0, 0, 0))
    print(
        f"download: {len(ids):,} papers, {args.delay:g} s apart: about {len(ids) * args.delay / 3600:.1f} h"
    )
    missing = fetch_eprints(transfer, ids, args.delay, time.sleep)
    n_tars = pack(args.to)
    print(f"download: {len(set(ids) - missing.keys()):,} of {len(ids):,} papers are here, in {n_tars} tars")
    print(f"download: make preprocess SRC={args.to / 'src'} METADATA=… reads them")
    if missing:
        print(f"download: {len(missing)} have no source at arXiv: {args.to / MISSING}")


def metadata(args: argparse.Namespace) -> None:
    """Unpack and check the snapshot."""
    if not args.file.is_file():
        raise UserError(f"{args.file}: no such file; fetch Cornell University's data set arXiv from Kaggle")
    args.to.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_beside(args.to)
    try:
        with writing(args.to), open_snapshot(args.file) as packed, aside.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        check_snapshot(aside)
        aside.replace(args.to)
    except _UNPACKING_ERRORS as error:
        raise UserError(f"{args.file}: cannot be unpacked ({error}): fetch it again") from None
    finally:
        aside.unlink(missing_ok=True)
    print(f"download: {args.to}: {format_bytes(args.to.stat().st_size)}")


def open_snapshot(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The snapshot's bytes, unpacked. Raises UserError if a zip does not hold exactly one .json."""
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start != b"PK\x03\x04":
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if name.endswith(".json")]
    if len(names) != 1:
        raise UserError(f"{path}: holds {len(names)} files *.json; one is expected, as Kaggle packs it")
    return archive.open(names[0])


def main() -> None:
    """Run the chosen download, alone in its folder."""
    args = parse()
    folder = args.to.parent if args.run is metadata else args.to
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK, "downloads into this folder: wait for its end, or stop it"):
        args.run(args)


def parse() -> argparse.Namespace:
    """The command line. Raises UserError if a value is impossible."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True, metavar="bulk | papers | metadata")
    tars = parts.add_parser("bulk", help="tars from arXiv's bucket or a mirror")
    tars.set_defaults(run=bulk)
    which = tars.add_mutually_exclusive_group(required=True)
    which.add_argument("--months", help="YYMM, ranges and commas: 9912,0704-0706")
    which.add_argument("--ids", type=Path, help="file with an arXiv id on each line: the tars that hold them")
    tars.add_argument("--base-url", help="folder of a mirror instead of the bucket")
    tars.add_argument("--max-usd", type=float, default=0.0, help="what this call may cost (default: nothing)")
    tars.add_argument("--connections", type=int, default=4, help="tars at the same time (default: 4)")
    tars.add_argument("--dry-run", action="store_true", help="show size and price only")
    tars.add_argument("--check", action="store_true", help="compute the md5 of tars that are here, too")
    single = parts.add_parser("papers", help="single papers from arXiv's e-print address")
    single.set_defaults(run=papers)
    single.add_argument("--ids", type=Path, required=True, help="file with an arXiv id on each line")
    single.add_argument("--contact", required=True, help="your e-mail address, for the user agent")
    single.add_argument("--base-url", default=EPRINTS, help=f"default: {EPRINTS}")
    single.add_argument(
        "--delay", type=float, default=MIN_DELAY_S, help="seconds between requests (default: 3)"
    )
    snapshot = parts.add_parser("metadata", help="the metadata snapshot from a local file")
    snapshot.set_defaults(run=metadata)
    snapshot.add_argument("file", type=Path, help="archive.zip from Kaggle, or the snapshot itself")
    for part in (tars, single, snapshot):
        part.add_argument("--to", type=Path, required=True, help="where to write")
    args = parser.parse_args()
    if args.run is bulk and args.connections < 1:
        raise UserError(f"--connections {args.connections}: at least 1")
    return args


if __name__ == "__main__":
    run_main(main)
