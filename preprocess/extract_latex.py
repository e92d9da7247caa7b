"""From archives to flattened LaTeX: one text a paper, otherwise as its authors wrote it.

    python preprocess/extract_latex.py --src /scratch/arxiv/src --data data

In:  the tars, validate_archives's list of whole items, filter_metadata's chosen papers.
Out: $DATA/corpus/<variant>/extract_latex/<tar>.parquet with the text, the main file and the extraction record
     (files used, candidates for the main file and why it was chosen, unresolved inputs, flags). The tars are
     read only here; nothing is written but this shard.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from configs.loader import Config, UserError, run_main
from preprocess.arxiv_id import month_of
from preprocess.job import arguments, parse
from preprocess.latex.archive import Dropped, Limits, unpack
from preprocess.latex.encoding import declared_encoding, to_utf8
from preprocess.latex.flatten import flatten
from preprocess.latex.mainfile import choose_main_file, tex_files
from preprocess.ledger import Documents
from preprocess.schema import DOCUMENTS
from preprocess.shard import code_hash, content_hash, read_rows, shards
from preprocess.stage import ShardStage, Unit, run


class ExtractLatexConfig(Config):
    """What a paper may cost (arXiv's own limit for a submission is 50 MB packed)."""

    max_bytes: int = Field(512 << 20, gt=0)  # unpacked
    max_files: int = Field(20_000, gt=0)
    max_text_bytes: int = Field(64 << 20, gt=0)  # flattened


@dataclass(frozen=True)
class Extracted:
    """A paper's flattened text and how it came about."""

    text: bytes
    main_file: str
    record: dict[str, Any]
    bytes_in: int
    removed: Counter[str] = field(default_factory=Counter)


def extract_paper(item: bytes, limits: Limits) -> Extracted | tuple[Dropped, int]:
    """Flattened LaTeX of an item of a bulk tar, or why there is none and how many bytes were looked at."""
    source = unpack(item, limits)
    if isinstance(source, Dropped):
        return source, len(item)
    removed = source.removed
    tex = tex_files(source.files)
    declared = declared_encoding(tex)
    encodings: Counter[str] = Counter()
    files: dict[str, bytes] = {}
    for name, data in source.files.items():
        files[name] = data
        if name in tex or name.lower().endswith((".bbl", ".sty", ".cls", ".pstex_t", ".tikz", ".pgf")):
            files[name], encoding = to_utf8(data, declared, removed)
            encodings[encoding] += 1
    main = choose_main_file(files)
    if isinstance(main, Dropped):
        return main, source.bytes_in
    flat = flatten(files, main, limits.max_text_bytes, removed)
    record = {
        "files": flat.used[:200],
        "n_files": len(files),
        "candidates": main.candidates,
        "reason": main.reason,
        "dialect": main.dialect,
        "encodings": sorted(encodings - Counter({"utf-8": encodings["utf-8"]})),
        "unresolved": flat.unresolved[:50],
        "flags": source.flags + flat.flags,
    }
    return Extracted(flat.text, main.name, record, source.bytes_in, removed)


def extract_tar(unit: Unit, config: ExtractLatexConfig, documents: Documents) -> None:
    """Extract the chosen papers of one tar."""
    tar, metadata, metadata_ledger = unit.work
    limits = Limits(config.max_bytes, config.max_files, config.max_text_bytes)
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
            file.seek(item["offset"])
            extracted = extract_paper(file.read(item["n_bytes"]), limits)
            if not isinstance(extracted, Extracted):
                dropped, n_bytes = extracted
                documents.drop(item["id"], dropped.reason, n_bytes, dropped.detail)
                continue
            # Lone surrogates and other ill-formed UTF-8 cannot be: to_utf8 has decoded every byte.
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
    for path in shards(job.corpus("validate_archives")):
        tar = job.src / f"{path.stem}.tar"
        if not tar.is_file():
            raise UserError(f"{tar}: validated, but not there any more; SRC= names the folder of tars")
        # Only the metadata of the tar's own months counts: another month's change re-reads nothing.
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
    code = code_hash("extract_latex.py", "arxiv_id.py", *(f"latex/{name}.py" for name in EXTRACTION_MODULES))
    run(ShardStage("extract_latex", DOCUMENTS, extract_tar, code), job, config, units)


EXTRACTION_MODULES = ("archive", "encoding", "flatten", "includes", "mainfile")


if __name__ == "__main__":
    run_main(main)
