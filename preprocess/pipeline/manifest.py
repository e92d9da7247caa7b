"""arXiv's manifest of its bulk tars: names, sizes, checksums, and which papers a tar holds."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from configs.loader import UserError

MANIFEST = "arXiv_src_manifest.xml"
_MD5 = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # it becomes a file, and a part of a pattern
_TAR = re.compile(r"arXiv_src_(\d{4})_\d+\.tar")


@dataclass(frozen=True)
class ManifestEntry:
    """What the manifest says about a tar."""

    name: str  # of the file
    md5: str
    size: int  # bytes
    num_items: int
    first_item: str = ""  # stems of the first and the last member; "" if the manifest does not say
    last_item: str = ""

    @property
    def month(self) -> str:
        """The month `YYMM` of the tar's papers, "" if its name does not say."""
        match = _TAR.fullmatch(self.name)
        return match[1] if match else ""


def read_manifest(path: Path) -> dict[str, ManifestEntry]:
    """The manifest's entries by file name. Raises UserError if the file is missing or is not a manifest."""
    if not path.is_file():
        raise UserError(f"{path}: no manifest; fetch src/{MANIFEST} from the bucket that the tars come from")
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise UserError(f"{path}: refused: it holds a DTD and arXiv's manifest has none; fetch it again")
    try:
        entries = [
            ManifestEntry(
                name=PurePosixPath(entry.findtext("filename", "")).name,
                md5=entry.findtext("md5sum", "").strip(),
                size=int(entry.findtext("size", "")),
                num_items=int(entry.findtext("num_items", "")),
                first_item=entry.findtext("first_item", "").strip(),
                last_item=entry.findtext("last_item", "").strip(),
            )
            for entry in ElementTree.fromstring(text).iter("file")  # noqa: S314 (no DTD: checked above)
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path}: not a manifest as arXiv writes it ({error}); fetch it again") from None
    for entry in entries:
        if not _NAME.fullmatch(entry.name) or entry.size < 0:
            raise UserError(
                f"{path}: {entry.name!r} of {entry.size} bytes is no tar; fetch the manifest again"
            )
        if not _MD5.fullmatch(entry.md5):  # it becomes a part of a file's name
            raise UserError(f"{path}: {entry.name}: {entry.md5!r} is no MD5 of 32 hexadecimal digits")
    return {entry.name: entry for entry in entries}


def in_order(month: str) -> str:
    """The month `YYMM` as `YYYYMM`, which sorts by time: arXiv opened in 1991."""
    return ("19" if month >= "91" else "20") + month


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal digits, as the manifest states it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
