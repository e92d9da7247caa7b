"""Which tars to download: those of chosen months, or those that hold chosen papers."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from configs.loader import UserError
from preprocess.pipeline.identifiers import month_of
from preprocess.pipeline.manifest import ManifestEntry, in_order

_MONTH = re.compile(r"\d{2}(0[1-9]|1[0-2])")


def of_months(manifest: Mapping[str, ManifestEntry], text: str) -> list[ManifestEntry]:
    """The tars of months such as `9912,0704-0706`. Raises UserError if a part names no tar."""
    known = sorted({in_order(entry.month) for entry in manifest.values() if entry.month})
    if not known:
        raise UserError("the manifest lists no tar named arXiv_src_YYMM_NNN.tar: is it arXiv's?")
    chosen: dict[str, ManifestEntry] = {}
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (_MONTH.fullmatch(first) and _MONTH.fullmatch(last)):
            raise UserError(f"--months {part!r}: expected months YYMM, for instance 0704 or 2101-2106")
        low, high = in_order(first), in_order(last)
        found = [entry for entry in manifest.values() if entry.month and low <= in_order(entry.month) <= high]
        if not found:
            raise UserError(
                f"--months {part}: the manifest has no tar of it; its months are {known[0][2:]} to "
                f"{known[-1][2:]}"
            )
        chosen |= {entry.name: entry for entry in found}
    return in_time(chosen.values())


def of_papers(manifest: Mapping[str, ManifestEntry], ids: Iterable[str]) -> list[ManifestEntry]:
    """The tars whose first and last item enclose one of the papers. Raises UserError if there is none.

    Where the tars of a month overlap or do not say what they hold, all that may hold the paper are chosen.
    """
    by_month: dict[str, list[ManifestEntry]] = {}
    for entry in manifest.values():
        by_month.setdefault(entry.month, []).append(entry)
    chosen: dict[str, ManifestEntry] = {}
    for paper_id in ids:
        month, stem = str(month_of(paper_id)), paper_id.replace("/", "")
        found = [entry for entry in by_month.get(month, ()) if _may_hold(entry, stem)]
        if not found:
            raise UserError(f"{paper_id}: no tar of the manifest holds it")
        chosen |= {entry.name: entry for entry in found}
    return in_time(chosen.values())


def _may_hold(entry: ManifestEntry, stem: str) -> bool:
    first, last = entry.first_item, entry.last_item
    return not (first and last) or min(first, last) <= stem <= max(first, last)


def in_time(entries: Collection[ManifestEntry]) -> list[ManifestEntry]:
    """The tars by month, then by name."""
    return sorted(entries, key=lambda entry: (in_order(entry.month), entry.name))


def read_ids(path: Path) -> list[str]:
    """The arXiv ids in a text file, one a line; `#` starts a comment. Raises UserError at any other line."""
    ids = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if paper_id := line.partition("#")[0].strip():
            if month_of(paper_id) is None:
                raise UserError(
                    f"{path}, line {number}: {paper_id!r} is no arXiv id without version, such as 0704.0001 "
                    "or hep-th/9901001"
                )
            ids.append(paper_id)
    if not ids:
        raise UserError(f"{path}: holds no arXiv id")
    return list(dict.fromkeys(ids))
