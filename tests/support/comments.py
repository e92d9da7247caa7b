"""Where the comments of a LaTeX source are: a slow second reading beside the compiled core's."""

import re
from collections.abc import Iterator

from preprocess.latex.lexer import escaped
from tests.support.verbatim import verbatim_spans

# A `%` with its line end and the blanks of the next line, together with following lines that hold only a
# comment.
_COMMENT = re.compile(rb"%[^\n]*+(?:\n[ \t]*+%[^\n]*+)*+(?:\n[ \t]*+(?!\n))?")


def comments(text: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each comment in [at, end), where nothing is verbatim."""
    while match := _COMMENT.search(text, at, end):
        if escaped(text, match.start()):
            at = match.start() + 1
        else:
            yield match.span()
            at = match.end()


def without_comments(text: bytes) -> bytes:
    """A text without comments and verbatim text."""
    pieces, at = [], 0
    for kind, start, end in [*verbatim_spans(text), ("", len(text), len(text))]:
        for comment_start, comment_end in comments(text, at, start):
            pieces.append(text[at:comment_start])
            at = comment_end
        pieces += (text[at:start], text[start:end] if kind == "url" else b"")
        at = end
    return b"".join(pieces)
