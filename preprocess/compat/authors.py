r"""Clean as the paper's own release does once its coroutines are awaited (Run 05).

A submission of one file is dropped, because it is not a tar. The .tex files of a tar are joined in the order
of the tar, whatever includes what. Everything behind a percent sign is a comment, also behind that of `5\%`.
Figures are removed. White space of any length becomes one blank, so no paragraphs remain. Of the release's
other behaviours, matching categories by substring is a mistake that is not repeated here, keeping duplicates
is Run 03, and cutting papers to 768 tokens is Run 10.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from preprocess.compat.source import SEPARATOR, Joined
from preprocess.latex.extraction.archive import TEX_SUFFIXES
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.pipeline.dropped import Dropped

_COMMENT = re.compile(rb"%[^\n]*")
_FIGURE = re.compile(rb"\\begin\{(figure\*?)\}")


def join(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """All .tex files in the order of `files`; dropped with reason no_tex_source where there is none."""
    texts, removed = [], Counter[str]()
    names = [name for name in files if name.lower().endswith(TEX_SUFFIXES)]
    for name in names:
        decoded = to_utf8(bytes(files[name]))
        removed.update(decoded.removed)
        texts.append(decoded.text)
    return Joined(texts, names, removed) if texts else Dropped("no_tex_source", ", ".join(list(files)[:5]))


def clean(parts: Sequence[str], removed: Counter[str]) -> str:
    """The files as one text on one line."""
    return clean_as_authors(SEPARATOR.join(part.encode() for part in parts), removed).decode()


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
