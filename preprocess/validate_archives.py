"""Check the bulk archives: each tar against arXiv's manifest, each item by its content.

    python preprocess/validate_archives.py --src /scratch/arxiv/src --data data

In:  SRC/arXiv_src_*.tar and SRC/arXiv_src_manifest.xml, as arXiv's bucket has them.
Out: $DATA/corpus/<variant>/validate_archives/<tar>.parquet, a row for each whole item that may hold TeX
     (where its bytes lie in the tar, of what kind they are), a ledger row with a verdict for every item, and
     beside the ledger _TARS.json: the tars that the manifest lists and are not here, and the other way round.
A tar whose size or md5 is not the manifest's is quarantined: all its items are dropped as `damaged_tar`,
unless `salvage=true` keeps those that are whole in themselves. One that ends too early has a row of its own.
"""

import hashlib
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from preprocess.latex.extraction.archive import MAX_BYTES, inflate, kind_of
from preprocess.pipeline.identifiers import from_member_stem
from preprocess.pipeline.job import arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import ITEMS
from preprocess.pipeline.shard import code_hash
from preprocess.pipeline.stage import ShardStage, Unit, run, write_json

MANIFEST = "arXiv_src_manifest.xml"
TARS = "_TARS.json"
# Content that holds no TeX, and the reason to drop it.
_NO_TEX = {
    "empty": "empty",
    "pdf": "pdf_only",
    "postscript": "postscript",
    "html": "html",
    "binary": "unknown_format",
}


class ValidateArchivesConfig(Config):
    """How to treat damage."""

    salvage: bool = False  # keep the whole items of a tar that is not as the manifest says
    max_item_bytes: int = MAX_BYTES  # packed or inflated


@dataclass(frozen=True)
class Listed:
    """What the manifest says of a tar."""

    md5: str
    size: int
    num_items: int


def read_manifest(path: Path) -> dict[str, Listed]:
    """Tars by file name. Raises UserError where the manifest is missing or is none."""
    if not path.is_file():
        raise UserError(f"{path}: no manifest; fetch src/{MANIFEST} from the bucket that the tars come from")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise UserError(f"{path}: holds a DTD, which arXiv's manifest does not; refused")
    try:
        return {
            PurePosixPath(entry.findtext("filename", "")).name: Listed(
                md5=entry.findtext("md5sum", "").strip(),
                size=int(entry.findtext("size", "")),
                num_items=int(entry.findtext("num_items", "")),
            )
            for entry in ElementTree.fromstring(text).iter("file")  # noqa: S314 (no DTD: checked above)
        }
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path}: not a manifest as arXiv writes it ({error}); fetch it again") from None


def find_archives(src: Path) -> tuple[list[Path], dict[str, Listed]]:
    """(tars in `src` by name, the manifest). Raises UserError where either is missing."""
    if not src.is_dir():
        raise UserError(f"{src}: no such folder; SRC= names the folder of arXiv's bulk archives")
    tars = sorted(src.glob("*.tar"))
    if not tars:
        raise UserError(f"{src}: holds no .tar; SRC= names the folder of arXiv's bulk archives")
    return tars, read_manifest(src / MANIFEST)


def tar_damage(path: Path, listed: Listed | None) -> str:
    """A sentence on how a tar differs from its manifest entry, "" if it does not (or is not listed)."""
    if listed is None:
        return ""
    size = path.stat().st_size
    if size != listed.size:
        return f"{size} bytes, the manifest says {listed.size}"
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return "" if md5 == listed.md5 else f"md5 {md5}, the manifest says {listed.md5}"


def judge_item(data: bytes, max_bytes: int) -> tuple[str, str]:
    """(kind, reason to drop or "") of an item, by its content: the name decides nothing."""
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
    """Items of a bulk tar in order, folders apart; ends at the first damaged header.

    Nothing is read of what is no regular file or has more than `max_bytes`. Raises tarfile.ReadError where
    the tar ends without the empty blocks that end a whole one.
    """
    with tarfile.open(path, "r:") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header: memory would grow
            if member.isdir():
                continue
            tar.fileobj.seek(member.offset_data)  # the tar's own bytes: never through a link
            readable = member.isreg() and member.size <= max_bytes
            yield member, tar.fileobj.read(member.size) if readable else b""
        tar.fileobj.seek(tar.offset)  # tarfile takes a damaged header for the end
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end-of-archive mark")


def validate_tar(unit: Unit, config: ValidateArchivesConfig, documents: Documents) -> None:
    """Verdicts for the items of one tar, and for the tar itself where it ends too early."""
    path, listed = unit.work
    damage = tar_damage(path, listed)
    quarantined = damage if not config.salvage else ""
    try:
        _judge_items(unit.name, items(path, config.max_item_bytes), quarantined, config, documents)
    except tarfile.TarError as error:
        of = f" of {listed.num_items}" if listed else ""
        sentence = f"{error}; {documents.counts.total()}{of} items found{damage and f'; {damage}'}"
        documents.drop(f"@{path.name}", "damaged_tar" if quarantined else "truncated_archive", 0, sentence)


def _judge_items(
    source_tar: str,
    members: Iterable[tuple[tarfile.TarInfo, bytes]],
    quarantined: str,
    config: ValidateArchivesConfig,
    documents: Documents,
) -> None:
    """Verdicts for items. `quarantined`: why none of them is to be trusted, "" if they are."""
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
    """What an item is called in the ledger: its paper's id, with its name and place where that is taken."""
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


def report_completeness(here: set[str], manifest: dict[str, Listed]) -> dict[str, list[str]]:
    """Say and return which tars the manifest lists and are not here, and the other way round."""
    missing, unlisted = sorted(manifest.keys() - here), sorted(here - manifest.keys())
    print(f"validate_archives: {len(here)} tars here, {len(manifest)} in the manifest")
    for names, what in ((missing, "listed but not here"), (unlisted, "here but not listed (not verifiable)")):
        if names:
            more = ", …" if len(names) > 3 else ""
            print(f"validate_archives: {len(names)} {what}: {', '.join(names[:3])}{more}")
    return {"listed_not_here": missing, "here_not_listed": unlisted}


if __name__ == "__main__":
    run_main(main)
