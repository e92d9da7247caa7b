r"""Clean as the paper's own release does once its coroutines are awaited (Run 05).

This follows what that code was observed to do; test_authors_cleaning.py has a test for each behaviour. A
submission of one file is dropped, because it is not a tar. The .tex files of a tar are joined in the order of
the tar, whatever includes what. Everything behind a percent sign is a comment, also behind that of `5\%`.
Figures are removed. White space of any length becomes one blank, so no paragraphs remain. Of the release's
other behaviours, matching categories by substring is a mistake that is not repeated here, keeping duplicates
is Run 03, and cutting papers to 768 tokens is Run 10.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from preprocess.latex.extraction.archive import TEX_SUFFIXES
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.pipeline.dropped import Dropped

_COMMENT = re.compile(rb"%[^\n]*")
_FIGURE = re.compile(rb"\\begin\{(figure\*?)\}")


@dataclass(frozen=True)
class Joined:
    """The .tex files of a submission as one text (UTF-8, LF). `removed`: bytes by cause, signed."""

    text: bytes
    files: list[str]
    removed: Counter[str]


def is_read_by_authors(kind: str) -> bool:
    """Whether the release reads an item of this kind (see ITEMS in schema.py): a tar, gzipped or not."""
    return kind in ("tar", "tar.gz")


def join_tex_files(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """Join all .tex files in the order of `files`; dropped with reason no_tex_source where there is none."""
    texts, removed = [], Counter[str]()
    names = [name for name in files if name.lower().endswith(TEX_SUFFIXES)]
    for name in names:
        decoded = to_utf8(bytes(files[name]))
        removed.update(decoded.removed)
        texts.append(decoded.text)
    if not texts:
        return Dropped("no_tex_source", ", ".join(list(files)[:5]))
    removed["joined"] = 1 - len(texts)  # a line end between two files
    return Joined(b"\n".join(texts), names, removed)


def clean_as_authors(text: bytes, removed: Counter[str]) -> bytes:
    """Remove what follows percent signs, figures and paragraph breaks; `removed` counts bytes by cause."""
    before = len(text)
    text = _COMMENT.sub(b"", text)
    removed["comments"] += before - len(text)

    before = len(text)
    text = _without_figures(text)
    removed["figure"] += before - len(text)

    before = len(text)
    text = b" ".join(text.split())
    removed["white_space"] += before - len(text)
    return text


def _without_figures(text: bytes) -> bytes:
    kept, position = [], 0
    last_closing = {name: text.rfind(b"\\end{" + name + b"}") for name in (b"figure", b"figure*")}
    for opening in _FIGURE.finditer(text):
        # The end of a figure that is never closed is not searched for again; the release takes quadratic
        # time.
        if position <= opening.start() < last_closing[opening[1]]:
            kept.append(text[position : opening.start()])
            closing = b"\\end{" + opening[1] + b"}"
            position = text.index(closing, opening.end()) + len(closing)
    return b"".join([*kept, text[position:]])
