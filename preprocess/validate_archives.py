"""Check the bulk archives: each tar against arXiv's manifest, each item by its content.

    python preprocess/validate_archives.py --src /scratch/arxiv/src --data data

In:  SRC/arXiv_src_*.tar and SRC/arXiv_src_manifest.xml, as in arXiv's bucket.
Out: $DATA/corpus/<variant>/validate_archives/<tar>.parquet, a row for each complete item that may hold TeX
     (its place in the tar and its file type); a ledger row with a verdict for every item; and _TARS.json
     beside the ledger: the tars that only the manifest has, and the tars that only SRC has.
If a tar's size or md5 differs from the manifest, the stage drops all its items as `damaged_tar`; with
`salvage=true` it keeps the undamaged ones. A tar that ends too early gets a ledger row of its own.
"""

import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from preprocess.latex.extraction.archive import MAX_BYTES, inflate, kind_of
from preprocess.pipeline.identifiers import from_member_stem
from preprocess.pipeline.job import arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.manifest import MANIFEST, ManifestEntry, md5_of, read_manifest
from preprocess.pipeline.schema import ITEMS
from preprocess.pipeline.shard import code_hash
from preprocess.pipeline.stage import ShardStage, Unit, run, write_json

TARS = "_TARS.json"
# File types that hold no TeX, and the reason in the ledger.
_NO_TEX = {
    "empty": "empty",
    "pdf": "pdf_only",
    "postscript": "postscript",
    "html": "html",
    "binary": "unknown_format",
}


class ValidateArchivesConfig(Config):
    """What to do with damaged and with large files."""

    salvage: bool = False  # keep the undamaged items of a tar that differs from the manifest
    max_item_bytes: int = MAX_BYTES  # of one item, both as stored and decompressed


def find_archives(src: Path) -> tuple[list[Path], dict[str, ManifestEntry]]:
    """(tars in `src` in the order of their names, the manifest). Raises UserError if either is missing."""
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; set SRC= to the folder of arXiv's bulk archives")
    tars = sorted(src.glob("*.tar"))
    if not tars:
        raise UserError(f"{src}: holds no .tar; set SRC= to the folder of arXiv's bulk archives")
    return tars, read_manifest(src / MANIFEST)


def tar_damage(path: Path, entry: ManifestEntry | None) -> str:
    """How a tar differs from its manifest entry; "" if it does not differ or has no entry."""
    if entry is None:
        return ""
    size = path.stat().st_size
    if size != entry.size:
        return f"{size} bytes, the manifest says {entry.size}"
    md5 = md5_of(path)
    return "" if md5 == entry.md5 else f"md5 {md5}, the manifest says {entry.md5}"


def judge_item(data: bytes, max_bytes: int) -> tuple[str, str]:
    """(file type, reason to drop or "") of an item. Its content decides, not its name."""
    kind = kind_of(data)
    if kind == "gzip":
        inflated, damage = inflate(memoryview(data), max_bytes)
        if len(inflated) > max_bytes:
            return kind, "too_large"
        if damage:
            return kind, damage
        inside = kind_of(memoryview(inflated))
        return f"{inside}.gz", _NO_TEX.get(inside, "")
    return kind, _NO_TEX.get(kind, "")


def items(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """(header, content) of each item of a bulk tar except folders, in order, up to the first damaged header.

    The content is empty if the item is not a regular file or has more than `max_bytes`. Raises
    tarfile.ReadError if the tar lacks the empty blocks at its end.
    """
    with tarfile.open(path, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header, so memory would grow
            if member.isdir():
                continue
            tar.fileobj.seek(member.offset_data)  # read the tar's own bytes; a link is never followed
            readable = member.isreg() and member.size <= max_bytes
            yield member, tar.fileobj.read(member.size) if readable else b""
        tar.fileobj.seek(tar.offset)  # tarfile stops at a damaged header as if the tar ended there
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end-of-archive mark")


def validate_tar(unit: Unit, config: ValidateArchivesConfig, documents: Documents) -> None:
    """Keep or drop each item of one tar; add a row for the tar itself if it ends too early.

    `unit.work`: (path of the tar, its manifest entry or None).
    """
    path, entry = unit.work
    damage = tar_damage(path, entry)
    quarantined = damage if not config.salvage else ""
    try:
        _judge_items(unit.name, items(path, config.max_item_bytes), quarantined, config, documents)
    except tarfile.TarError as error:
        of = f" of {entry.num_items}" if entry else ""
        sentence = f"{error}; {documents.counts.total()}{of} items found{damage and f'; {damage}'}"
        documents.drop(f"@{path.name}", "damaged_tar" if quarantined else "truncated_archive", 0, sentence)


def _judge_items(
    source_tar: str,
    members: Iterable[tuple[tarfile.TarInfo, bytes]],
    quarantined: str,
    config: ValidateArchivesConfig,
    documents: Documents,
) -> None:
    """Keep or drop each of `members`. `quarantined`: why none of them can be trusted, "" if they can."""
    seen: set[str] = set()
    for member, data in members:
        paper_id = from_member_stem(PurePosixPath(member.name).stem)
        repeated = paper_id in seen
        key = _key(paper_id, member, seen)
        if quarantined:
            documents.drop(key, "damaged_tar", member.size, quarantined)
        elif paper_id is None:
            documents.drop(key, "no_arxiv_id", member.size, member.name)
        elif repeated:
            documents.drop(key, "repeated_item", member.size, member.name)
        elif not member.isreg():
            documents.drop(key, "not_a_file", member.size, member.name)
        elif member.size > config.max_item_bytes:
            documents.drop(key, "too_large", member.size)
        elif len(data) < member.size:
            documents.drop(key, "truncated_archive", member.size, "the tar ends inside this item")
        else:
            kind, reason = judge_item(data, config.max_item_bytes)
            if reason:
                documents.drop(key, reason, member.size)
                continue
            row = {
                "id": paper_id,
                "source_tar": source_tar,
                "member": member.name,
                "kind": kind,
                "offset": member.offset_data,
                "n_bytes": member.size,
            }
            documents.keep(row, member.size, member.size, {})


def _key(paper_id: str | None, member: tarfile.TarInfo, seen: set[str]) -> str:
    """An item's id in the ledger: its paper's id, and its name and offset too if that id is taken."""
    named = f"{paper_id or ''}@{member.name}"
    key = next(key for key in (paper_id, named, f"{named}@{member.offset}") if key and key not in seen)
    seen.add(key)
    return key


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "validate_archives", ValidateArchivesConfig), "validate_archives")
    config = job.config(ValidateArchivesConfig)
    tars, manifest = find_archives(job.src)
    write_json(
        job.ledger("validate_archives") / TARS, report_completeness({path.name for path in tars}, manifest)
    )
    units = [
        Unit(
            path.stem,
            fingerprint=f"{path.name} {path.stat().st_size} {manifest.get(path.name)}",
            n_bytes=path.stat().st_size,
            newer_than=path,
            work=(path, manifest.get(path.name)),
        )
        for path in tars
    ]
    stage = ShardStage(
        "validate_archives",
        ITEMS,
        validate_tar,
        code_hash("validate_archives.py"),
    )
    run(stage, job, config, units)


def report_completeness(here: set[str], manifest: dict[str, ManifestEntry]) -> dict[str, list[str]]:
    """Print and return which tars only the manifest has and which only the folder has.

    `here`: file names of the tars in the folder. The result is the content of _TARS.json.
    """
    missing, unlisted = sorted(manifest.keys() - here), sorted(here - manifest.keys())
    print(f"validate_archives: {len(here)} tars here, {len(manifest)} in the manifest")
    for names, what in ((missing, "listed but not here"), (unlisted, "here but not listed, so unchecked")):
        if names:
            more = ", …" if len(names) > 3 else ""
            print(f"validate_archives: {len(names)} {what}: {', '.join(names[:3])}{more}")
    return {"listed_not_here": missing, "here_not_listed": unlisted}


if __name__ == "__main__":
    run_main(main)
