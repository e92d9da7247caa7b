"""From archives to flattened LaTeX: each paper becomes one text, otherwise as its authors wrote it.

    python preprocess/extract_latex.py --src /scratch/arxiv/src --data data

In:  the tars, validate_archives's list of complete items, filter_metadata's chosen papers.
Out: $DATA/corpus/<variant>/extract_latex/<tar>.parquet with the text, the main file and the extraction record
     (files used, candidates for the main file and why it was chosen, unresolved inputs, flags). Later stages
     do not read the tars again. Nothing is unpacked to disk.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from preprocess.compat.modes import MODES, ReadingMode
from preprocess.latex.extraction.archive import MAX_BYTES, Unpacked, unpack
from preprocess.latex.extraction.flatten import Flattener
from preprocess.latex.extraction.mainfile import choose_main_file
from preprocess.latex.extraction.members import cause_unused
from preprocess.pipeline.dropped import Dropped
from preprocess.pipeline.identifiers import month_of
from preprocess.pipeline.job import arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import DOCUMENTS
from preprocess.pipeline.shard import code_hash, content_hash, read_rows, shards
from preprocess.pipeline.stage import ShardStage, Unit, run

MAX_LISTED = 100  # file names in a record: only books have more, and their record must stay short


class ExtractLatexConfig(Config):
    """Limits on one paper's size and work (arXiv itself accepts submissions of up to 50 MB packed)."""

    max_bytes: int = Field(MAX_BYTES, gt=0)  # of all files of the paper, unpacked
    max_text_bytes: int = Field(16 << 20, gt=0)  # of flattened text; the longest book has a quarter of that
    # Commands and comments together. This many take 2 s to read, and 16 MB of ordinary LaTeX have as many.
    max_commands: int = Field(600_000, gt=0)
    compat: ReadingMode = "none"  # join the files as another published pipeline does (preprocess/compat)


@dataclass(frozen=True)
class Extracted:
    """A paper's flattened text and how it was made."""

    text: bytes  # UTF-8
    main_file: str
    record: dict[str, Any]  # the column `record`, before it becomes JSON
    bytes_in: int  # of all files of the archive
    removed: Counter[str]  # bytes by cause; negative if bytes were added


def extract_paper(item: bytes, name: str, config: ExtractLatexConfig) -> Extracted | Dropped:
    """Flatten the LaTeX of one item of a bulk tar. `name`: file name for an item that is a single file."""
    unpacked = unpack(item, name, config.max_bytes)
    if isinstance(unpacked, Dropped):
        return unpacked
    if config.compat != "none":
        return _join(unpacked, config)
    main = choose_main_file(unpacked.files)
    if isinstance(main, Dropped):
        return replace(main, bytes_in=unpacked.n_bytes)
    flat = Flattener(unpacked.files, main.path, config.max_text_bytes, config.max_commands).run()
    if isinstance(flat, Dropped):
        return replace(flat, bytes_in=unpacked.n_bytes)
    record = {
        "reason": main.reason,
        "dialect": main.dialect,
        "candidates": [[c.path, c.score, " ".join(c.evidence)] for c in main.candidates],
        "files": flat.files[:MAX_LISTED],
        "n_files": len(unpacked.files),
        "unresolved": flat.unresolved[:MAX_LISTED],
        "codecs": flat.codecs,
        "flags": [*unpacked.flags, *sorted(flat.flags)],
    }
    return Extracted(
        flat.text, main.path, record, unpacked.n_bytes, _all_removed(unpacked, flat.files, flat.removed)
    )


def _join(unpacked: Unpacked, config: ExtractLatexConfig) -> Extracted | Dropped:
    joined = MODES[config.compat].join(unpacked.files)
    if isinstance(joined, Dropped):
        return replace(joined, bytes_in=unpacked.n_bytes)
    text = joined.text
    if len(text) > config.max_text_bytes:
        return Dropped("too_large", f"more than {config.max_text_bytes} bytes", unpacked.n_bytes)
    record = {
        "reason": "joined",
        "compat": config.compat,
        "files": joined.files[:MAX_LISTED],
        "sizes": joined.sizes,
        "n_files": len(unpacked.files),
    }
    separators = Counter({"joined": 1 - len(joined.texts)})
    separators.update(joined.removed)
    return Extracted(text, "", record, unpacked.n_bytes, _all_removed(unpacked, joined.files, separators))


def _all_removed(unpacked: Unpacked, used: Iterable[str], while_joining: Mapping[str, int]) -> Counter[str]:
    """Bytes removed by cause: while unpacking, with the files that are not `used`, and `while_joining`."""
    removed = Counter(while_joining)
    removed.update(unpacked.skipped)
    for path in unpacked.files.keys() - set(used):
        removed[cause_unused(path)] += len(unpacked.files[path])
    return removed


def extract_tar(unit: Unit, config: ExtractLatexConfig, documents: Documents) -> None:
    """Extract the chosen papers of one tar.

    `unit.work`: (path of the tar, folder of filter_metadata's shards, folder of its ledger).
    """
    tar, metadata, metadata_ledger = unit.work
    items = list(read_rows(unit.inputs[0]))
    months = {month for item in items if (month := month_of(item["id"]))}
    papers = {row["id"]: row for month in months for row in _rows(metadata / f"{month}.parquet")}
    rejected = {
        row["id"]: row["reason"] for month in months for row in _rows(metadata_ledger / f"{month}.parquet")
    }
    with tar.open("rb") as file:
        for item in items:
            paper = papers.get(item["id"])
            if paper is None:
                why = rejected.get(item["id"], "not in the metadata")
                documents.drop(item["id"], "not_selected", item["n_bytes"], why)
                continue
            if config.compat != "none" and item["kind"] not in MODES[config.compat].kinds:
                documents.drop(item["id"], "single_file", item["n_bytes"], item["kind"])
                continue
            file.seek(item["offset"])
            stem = PurePosixPath(item["member"]).stem
            extracted = extract_paper(file.read(item["n_bytes"]), f"{stem}.tex", config)
            if isinstance(extracted, Dropped):
                documents.drop(
                    item["id"], extracted.reason, extracted.bytes_in or item["n_bytes"], extracted.detail
                )
                continue
            row = paper | {
                "source_tar": unit.name,
                "main_file": extracted.main_file,
                "record": json.dumps(extracted.record, separators=(",", ":"), ensure_ascii=False),
                "text": extracted.text.decode("utf-8"),
            }
            documents.keep(row, extracted.bytes_in, len(extracted.text), extracted.removed)


def _rows(path: Path) -> Any:
    return read_rows(path) if path.is_file() else ()


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "extract_latex", ExtractLatexConfig), "extract_latex")
    config = job.config(ExtractLatexConfig)
    metadata, metadata_ledger = job.corpus("filter_metadata"), job.ledger("filter_metadata")
    month_hashes = {path.stem: content_hash(path) for path in shards(metadata)}
    units = []
    for path in shards(job.documents()[-1]):
        tar = job.src / f"{path.stem}.tar"
        if not tar.is_file():
            raise UserError(
                f"{tar}: validate_archives found it, but it is gone; set SRC= to the folder that holds it"
            )
        # Only the tar's own months go into its fingerprint, so a change to another month leaves it finished.
        months = sorted({str(month_of(row["id"])) for row in read_rows(path, ("id",))})
        units.append(
            Unit(
                path.stem,
                (path,),
                fingerprint=" ".join(f"{month}:{month_hashes.get(month)}" for month in months),
                n_bytes=tar.stat().st_size,
                work=(tar, metadata, metadata_ledger),
            )
        )
    code = code_hash("extract_latex.py")
    run(ShardStage("extract_latex", DOCUMENTS, extract_tar, code), job, config, units)


if __name__ == "__main__":
    run_main(main)
