r"""The cleaning of the paper's own release, as it works once its coroutines are awaited (Run 05).

Written from what that code was seen to do, each behaviour a test in test_authors_cleaning.py: a
submission of one file is dropped, because it is no tar; the .tex files of a tar are joined in its order,
whatever includes what; a comment is all that follows a percent sign, also that of `5\%`; figures go; and
white space of any length becomes one blank, so that no paragraph is left. Of the rest of that release,
categories matched by substring are an error that is not repeated here, duplicates are kept by Run 03, and
papers cut to 768 tokens are Run 10.
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
    """Whether an item of this kind (see ITEMS in schema.py) is a tar, zipped or not."""
    return kind in ("tar", "tar.gz")


def join_tex_files(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """All .tex files in the order of the tar."""
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
    """`text` without what follows percent signs, without figures and paragraphs; `removed` is added to."""
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
        # What is never closed is not searched for again and again: the release is quadratic there.
        if position <= opening.start() < last_closing[opening[1]]:
            kept.append(text[position : opening.start()])
            closing = b"\\end{" + opening[1] + b"}"
            position = text.index(closing, opening.end()) + len(closing)
    return b"".join([*kept, text[position:]])
