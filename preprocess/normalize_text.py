"""From flattened LaTeX to clean text: keep prose and mathematics as written, remove what only TeX needs.

    python preprocess/normalize_text.py --data data

In:  extract_latex's shards.
Out: $DATA/corpus/<variant>/normalize_text/<tar>.parquet. A document is its title and abstract (from the
     metadata) and its body; one empty line separates paragraphs. The stage resolves or removes comments,
     preamble, conditionals, the author's macros, layout, drawings and the bibliography; the ledger says how
     many bytes each of them took. Mathematics, sections, theorems, tables, citations and notes stay.
"""

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, UserError, run_main
from preprocess.compat import pes2o
from preprocess.compat.modes import MODES, CleaningMode
from preprocess.compat.source import parts
from preprocess.latex.core.wasm import CoreStopped, clean
from preprocess.pipeline.dropped import Dropped
from preprocess.pipeline.job import arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import DOCUMENTS
from preprocess.pipeline.shard import code_hash, read_rows
from preprocess.pipeline.stage import ShardStage, Unit, run, units_of

_CONTROL_CHARACTERS = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\t\n")
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_PARAGRAPH_IN_ABSTRACT = re.compile(r"\n(?:[ \t]*\n|[ \t]{2,})\s*")  # arXiv indents a new paragraph by two
# SentencePiece writes a space as U+2581, so a literal U+2581 would decode to a space.
_SPACE_MARK, _NEXT_BLOCK = "\u2581", "\u2582"
# Characters that print nothing: control characters beyond ASCII, the byte order mark, U+FFFE and U+FFFF.
_UNPRINTED = re.compile(rb"\xc2[\x80-\x9f]|\xef(?:\xbb\xbf|\xbf[\xbe\xbf])")


class NormalizeTextConfig(Config):
    r"""Which parts of a paper to keep.

    Citations, references and footnotes always stay: a model that writes LaTeX has to see `\cite` and `\ref`,
    and a footnote is prose.
    """

    raw: bool = False  # Run 01: keep the flattened LaTeX unchanged, without title and abstract in front
    compat: CleaningMode = "none"  # clean as another published pipeline does (preprocess/compat)
    expand_macros: bool = True  # False in Run 02
    figures: Literal["keep", "captions", "drop"] = "captions"
    tables: Literal["keep", "captions", "drop"] = "keep"
    algorithms: Literal["keep", "captions", "drop"] = "keep"
    bibliography: Literal["keep", "drop"] = "drop"


@dataclass(frozen=True)
class Normalized:
    """A clean document and what cleaning did to it."""

    text: str
    removed: Counter[str]  # bytes by cause; negative if bytes were added
    facts: dict[str, Any]  # further entries of the extraction record


def normalize_document(
    text: bytes, title: str, abstract: str, config: NormalizeTextConfig, sizes: Sequence[int] = ()
) -> Normalized | Dropped:
    """Clean a flattened paper (UTF-8 with LF line ends); drop it if no letter is left.

    `sizes`: bytes of each file, where extract_latex has joined the files for a compat mode.
    """
    removed: Counter[str] = Counter()
    if config.compat in MODES:
        return _clean_as(config.compat, parts(text, sizes), removed)
    if config.raw:
        plain = _without_control_characters(text, removed)
        return Normalized(_tidy_unicode(plain, removed), removed, {})
    try:
        cleaned = clean(
            text,
            expand_macros=config.expand_macros,
            drop_front_matter=bool(title and abstract),
            figures=config.figures,
            tables=config.tables,
            algorithms=config.algorithms,
            bibliography=config.bibliography,
        )
    except CoreStopped as stop:
        return Dropped("cleaning_stopped", str(stop), len(text))
    plain = cleaned.text
    removed.update(cleaned.removed)
    if not _LETTER.search(plain):
        return Dropped("no_document_body", f"{len(text)} bytes of LaTeX leave no text", len(text))
    if config.compat == "pes2o":
        body = pes2o.to_paragraphs(plain.decode("utf-8", "replace"), title, abstract, removed)
        if isinstance(body, Dropped):
            return replace(body, bytes_in=len(text))
        plain = body.encode()
    head = f"{' '.join(title.split())}\n\n{_tidy_abstract(abstract)}\n\n".lstrip().encode("utf-8", "replace")
    head = head.translate(None, _CONTROL_CHARACTERS)
    removed["title_and_abstract"] = -len(head)
    facts = {
        "macro_uses": cleaned.n_replaced + cleaned.n_left,
        "macros_left": cleaned.n_left,
        "left_most": cleaned.left_most,
    }
    return Normalized(_tidy_unicode(head + plain, removed), removed, facts)


def _clean_as(mode: str, files: Sequence[str], removed: Counter[str]) -> Normalized | Dropped:
    """Clean the files of a paper in a compat mode, then leave out what no tokenizer may see."""
    cleaned = MODES[mode].clean(files, removed)
    if isinstance(cleaned, Dropped):
        return cleaned
    plain = _without_control_characters(cleaned.encode(), removed)
    if not _LETTER.search(plain):
        return Dropped("no_document_body", f"{mode} leaves no text")
    return Normalized(_tidy_unicode(plain, removed), removed, {})


def _without_control_characters(text: bytes, removed: Counter[str]) -> bytes:
    """`text` without _CONTROL_CHARACTERS; the core leaves out the same ones."""
    plain = text.translate(None, _CONTROL_CHARACTERS)
    removed["control_characters"] += len(text) - len(plain)
    return plain


def _tidy_abstract(abstract: str) -> str:
    """An abstract from the metadata with an empty line between paragraphs and no indentation."""
    paragraphs = _PARAGRAPH_IN_ABSTRACT.split(abstract.strip())
    return "\n\n".join("\n".join(line.strip() for line in part.split("\n")) for part in paragraphs)


def _tidy_unicode(text: bytes, removed: Counter[str]) -> str:
    """The text in Unicode form NFC, without characters that print nothing, and with U+2582 for each U+2581.

    The ledger counts the replaced marks and their substitutes under two causes of opposite sign.
    """
    if text.isascii():
        return text.decode()
    codes = np.frombuffer(text, np.uint8)
    beyond_ascii = codes[codes >= 0x80].tobytes()  # a hundredth of most texts
    printed = _UNPRINTED.sub(b"", text) if _UNPRINTED.search(beyond_ascii) else text
    decoded = printed.decode("utf-8", "replace")
    tidied = unicodedata.normalize("NFC", decoded)
    removed["unicode"] += len(text) - len(tidied.encode())
    if n_marks := tidied.count(_SPACE_MARK):
        tidied = tidied.replace(_SPACE_MARK, _NEXT_BLOCK)
        removed["space_marks"] += n_marks * len(_SPACE_MARK.encode())
        removed["space_mark_substitutes"] -= n_marks * len(_NEXT_BLOCK.encode())
    return tidied


def normalize_shard(unit: Unit, config: NormalizeTextConfig, documents: Documents) -> None:
    """Clean the documents of one shard."""
    for row in read_rows(unit.inputs[0]):
        raw = row["text"].encode()
        made_by = json.loads(row["record"])
        joined_as, cleaned_as = made_by.get("compat"), config.compat if config.compat in MODES else None
        if joined_as != cleaned_as:
            raise UserError(
                f"{row['id']}: extract_latex joined the files with compat={joined_as}, and normalize_text "
                f"would clean them with compat={cleaned_as}: give both stages the same compat"
            )
        clean = normalize_document(raw, row["title"], row["abstract"], config, made_by.get("sizes", ()))
        if isinstance(clean, Dropped):
            documents.drop(row["id"], clean.reason, len(raw), clean.detail)
            continue
        record = json.dumps(made_by | clean.facts, separators=(",", ":"), ensure_ascii=False)
        documents.keep(
            row | {"text": clean.text, "record": record}, len(raw), len(clean.text.encode()), clean.removed
        )


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "normalize_text", NormalizeTextConfig), "normalize_text")
    code = code_hash("normalize_text.py")
    stage = ShardStage("normalize_text", DOCUMENTS, normalize_shard, code)
    run(stage, job, job.config(NormalizeTextConfig), units_of(*job.documents()))


if __name__ == "__main__":
    run_main(main)
