"""From flattened LaTeX to clean text: prose and mathematics as written, and nothing that only TeX reads.

    python preprocess/normalize_text.py --data data

In:  extract_latex's shards.
Out: $DATA/corpus/<variant>/normalize_text/<tar>.parquet. A document is its title, its abstract (both from the
     metadata) and its body, paragraphs apart by one empty line. Comments, preamble, conditionals, the author's
     macros, layout, graphics and the bibliography are resolved or removed; what each of them cost in bytes stands in
     the ledger. Mathematics, sections, theorems, tables, citations and footnotes stay as they were written.
"""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from configs.loader import Config, run_main
from preprocess.job import arguments, parse
from preprocess.latex.archive import Dropped
from preprocess.latex.environments import Policy, tidy_environments
from preprocess.latex.lexer import Protected, resolve_conditionals, strip_comments
from preprocess.latex.macros import Expander
from preprocess.ledger import Documents
from preprocess.schema import DOCUMENTS
from preprocess.shard import code_hash, read_rows
from preprocess.stage import ShardStage, Unit, run, units_of

_BEGIN_DOCUMENT = re.compile(rb"\\begin\s*\{\s*document\s*\}")
_END_DOCUMENT = re.compile(rb"\\end\s*\{\s*document\s*\}")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANKS = re.compile(rb"[ \t]*\n[ \t]*(?:\n\s*)?|[ \t]{2,}|\t")
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
# SentencePiece writes a space as U+2581, so that a literal one would come back as a space.
_SPACE_MARK, _LOOKALIKE = "\u2581", "\u005f"


class NormalizeTextConfig(Config):
    """What becomes of the parts of a paper."""

    expand_macros: bool = True  # Run 02 switches it off
    figures: Literal["keep", "captions", "drop"] = "captions"
    tables: Literal["keep", "captions", "drop"] = "keep"
    bibliography: Literal["keep", "drop"] = "drop"


@dataclass(frozen=True)
class Normalized:
    """A clean document. `removed`: bytes by cause, signed; `facts`: for the extraction record."""

    text: str
    removed: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


def normalize_document(
    text: bytes, title: str, abstract: str, config: NormalizeTextConfig
) -> Normalized | Dropped:
    """Clean text of a flattened paper (UTF-8, LF line ends)."""
    removed: Counter[str] = Counter()
    protected = Protected(removed)
    plain = _CONTROL.sub(b"", text)
    removed["control_characters"] += len(text) - len(plain)
    plain = strip_comments(plain, protected, removed)
    plain = resolve_conditionals(plain, removed)

    expander = Expander(plain, removed)
    if opening := _BEGIN_DOCUMENT.search(plain):
        removed["preamble"] += opening.end()
        if config.expand_macros:
            expander.learn(plain[: opening.start()])
        plain = plain[opening.end() :]
    if closing := _END_DOCUMENT.search(plain):
        removed["after_end_document"] += len(plain) - closing.start()
        plain = plain[: closing.start()]
    if config.expand_macros:
        plain = expander.expand(plain)
    policy = Policy(config.figures, config.tables, config.bibliography)
    plain = tidy_environments(plain, policy, bool(abstract), removed)
    plain = _tidy_blanks(plain, removed)
    if not _LETTER.search(plain):
        return Dropped("no_document_body", f"{len(text)} bytes of LaTeX leave no text")
    plain = protected.restore(plain)
    head = "".join(f"{part}\n\n" for part in (title, abstract) if part)
    removed["title_and_abstract"] -= len(head.encode())
    return Normalized(
        _tidy_unicode(head + plain.decode("utf-8", "replace"), len(head.encode()) + len(plain), removed),
        removed,
        {"macro_uses": expander.uses, "macros_left": expander.left},
    )


def _tidy_blanks(text: bytes, removed: Counter[str]) -> bytes:
    """One blank for several, no blanks at a line's ends, one empty line between paragraphs, none around."""

    def replacement(match: re.Match[bytes]) -> bytes:
        blanks = match[0]
        new = b" " if b"\n" not in blanks else b"\n\n" if blanks.count(b"\n") > 1 else b"\n"
        removed["white_space"] += len(blanks) - len(new)
        return new

    tidied = _BLANKS.sub(replacement, text)
    stripped = tidied.strip()
    removed["white_space"] += len(tidied) - len(stripped) - 1
    return stripped + b"\n"


def _tidy_unicode(text: str, n_bytes: int, removed: Counter[str]) -> str:
    """NFC, without U+2581. `n_bytes`: of `text` in UTF-8 before."""
    if text.isascii():
        return text
    tidied = unicodedata.normalize("NFC", text).replace(_SPACE_MARK, _LOOKALIKE)
    removed["unicode"] += n_bytes - len(tidied.encode())
    return tidied


def normalize_shard(unit: Unit, config: NormalizeTextConfig, documents: Documents) -> None:
    """Clean the documents of one shard."""
    for row in read_rows(unit.inputs[0]):
        raw = row["text"].encode()
        clean = normalize_document(raw, row["title"], row["abstract"], config)
        if isinstance(clean, Dropped):
            documents.drop(row["id"], clean.reason, len(raw), clean.detail)
            continue
        record = json.dumps(
            json.loads(row["record"]) | clean.facts, separators=(",", ":"), ensure_ascii=False
        )
        documents.keep(
            row | {"text": clean.text, "record": record}, len(raw), len(clean.text.encode()), clean.removed
        )


def main() -> None:
    """Run the stage."""
    job = parse(arguments(__doc__ or "", "normalize_text", NormalizeTextConfig), "normalize_text")
    code = code_hash("normalize_text.py", "latex")
    stage = ShardStage("normalize_text", DOCUMENTS, normalize_shard, code)
    run(stage, job, job.config(NormalizeTextConfig), units_of(job.corpus("extract_latex")))


if __name__ == "__main__":
    run_main(main)
