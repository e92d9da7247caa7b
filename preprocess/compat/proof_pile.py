r"""Clean as the first Proof-Pile does its arXiv part (fetch_arxiv.py and make_jsons.py of its repository).

Every `.tex` file is a document of its own there; here the files that survive are joined to one document a
paper. A file is read as UTF-8, else as Latin-1. It ends at its first `\end{document}`, and before that at
the first `\Refs`, `thebibliography` or `references`; comments go, but the end of their line stays; it begins
at `\begin{document}` if it has one. Files of up to 280 characters, without a header in braces, or that
mention gnuplot are dropped. `bibdiv` goes, and at most two empty lines in a row stay. Nothing is included or
expanded.
The published code asks langdetect for each file's language; here filter_quality asks for the paper's. It
takes papers of arXiv's set `math` alone; here the recipe decides.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from preprocess.compat.source import Joined, counted, n_bytes, without_spans
from preprocess.pipeline.dropped import Dropped

MIN_CHARS = 281

_REFERENCES = re.compile(r"\\Refs|\\begin\{thebibliography\}")
_COMMENT = re.compile(r"(?<!\\)%.*")
_HEADERS = (
    *(rf"\{name}{{" for name in ("part", "chapter", "paragraph", "subparagraph")),
    *(rf"\{name}{{" for name in ("section", "section*", "subsection", "subsection*")),
    *(rf"\{name}{{" for name in ("subsubsection", "subsubsection*")),
)
_EMPTY_LINES = re.compile(r"\n{3,}")


def join(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """All .tex files in UTF-8 with LF line ends; dropped where there is none."""
    names = [name for name in files if name.endswith(".tex")]
    texts, removed = [], Counter[str]()
    for name in names:
        raw = bytes(files[name])
        try:
            text, encoded = raw.decode(), raw
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
            encoded = text.encode()
            removed["encoding"] += len(raw) - len(encoded)
        ended = text.replace("\r\n", "\n").replace("\r", "\n").encode()
        removed["line_ends"] += len(encoded) - len(ended)
        texts.append(ended)
    return Joined(texts, names, removed) if texts else Dropped("no_tex_source", ", ".join(list(files)[:5]))


def clean(parts: Sequence[str], removed: Counter[str]) -> str | Dropped:
    """The files that survive, with an empty line between two; dropped where none does."""
    kept, reasons = [], Counter[str]()
    for part in parts:
        text = clean_file(part, removed)
        if reason := why_not(text):
            reasons[reason] += 1
            removed[reason] += n_bytes(text)
            continue
        text = counted(text, without_spans(text, r"\begin{bibdiv}", r"\end{bibdiv}"), "references", removed)
        kept.append(counted(text, _EMPTY_LINES.sub("\n\n\n", text), "white_space", removed))
    if not kept:
        return Dropped("no_file_kept", ", ".join(f"{reason} {n}" for reason, n in reasons.most_common()))
    removed["joined"] += len(parts) - 1 - 2 * (len(kept) - 1)
    return "\n\n".join(kept)


def clean_file(text: str, removed: Counter[str]) -> str:
    """One file without what stands around its document, references and comments."""
    end = text.find(r"\end{document}")
    if end >= 0:
        text = counted(text, text[: end + len(r"\end{document}")], "after_end_document", removed)
    if references := _REFERENCES.search(text):
        text = counted(text, text[: references.start()], "references", removed)
    text = counted(text, _COMMENT.sub("", text), "comments", removed)
    start = text.find(r"\begin{document}")
    if start > 0:
        text = counted(text, text[start:], "preamble", removed)
    before_references, _, _ = text.partition(r"\begin{references}")
    text = counted(text, before_references, "references", removed)
    return counted(text, text.strip(), "white_space", removed)


def why_not(text: str) -> str:
    """Why a cleaned file is dropped, "" if it is not."""
    if len(text) < MIN_CHARS:
        return "short_file"
    if not any(header in text for header in _HEADERS):
        return "file_without_header"
    return "file_with_gnuplot" if "gnuplot" in text else ""
