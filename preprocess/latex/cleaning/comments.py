"""Comments go; verbatim text is held apart under marks that no later pass looks into."""

import re
from collections import Counter
from collections.abc import Iterator

from preprocess.latex.cleaning.rewriter import Rewriter
from preprocess.latex.lexer import (
    VERBATIM,
    VERBATIM_ENVIRONMENTS,
    escaped,
    live_events,
    opaque_pattern,
    verbatim_environments,
)

# An unescaped `%` with its line end and the blanks of the next line, which TeX skips; lines that are nothing
# but comments go along. A blank line after it stays: it ends the paragraph.
_COMMENT = re.compile(
    rb"%(?:(?<!\\%)|(?<=\\\\%))[^\n]*+(?:\n[ \t]*+%[^\n]*+)*+(?:\n[ \t]*+(?!\n))?", re.DOTALL
)
_EXCLUDED = re.compile(rb"\\excludecomment\s*\{([A-Za-z]+)\}")
_MARK = re.compile(rb"\0(\d+)\0")


class Held:
    """Verbatim pieces of a document, by the number in their mark. Needs a text without NUL."""

    def __init__(self, removed: Counter[str]) -> None:
        self._pieces: list[bytes] = []
        self._removed = removed

    def hold(self, piece: bytes) -> bytes:
        """The mark that stands for `piece` from now on."""
        mark = b"\0%d\0" % len(self._pieces)
        self._pieces.append(piece)
        return mark

    def release(self, text: bytes) -> bytes:
        """`text` with the pieces back; one whose mark was removed stays in the balance as removed."""
        return _MARK.sub(self._piece, text) if self._pieces else text

    def _piece(self, mark: re.Match[bytes]) -> bytes:
        piece = self._pieces[int(mark[1])]
        self._removed["verbatim"] -= len(piece) - len(mark[0])
        return piece


def strip_comments(text: bytes, held: Held, removed: Counter[str]) -> bytes:
    """`text` without comments and `comment` environments, its verbatim text held apart."""
    own = verbatim_environments(text)
    pattern = opaque_pattern((*VERBATIM_ENVIRONMENTS, b"comment", *own)) if own else VERBATIM
    excluded = {b"comment", b"filecontents", b"filecontents*", *(_EXCLUDED.findall(text) if own else ())}
    out, at = Rewriter(text, removed), 0
    for kind, start, end, match in live_events(text, pattern):
        _cut_comments(out, at, start)
        at = end
        if kind == "verb":
            out.replace(start, end, held.hold(text[start:end]), "verbatim")
        elif kind == "verbatim":
            environment = match["environment"]
            if environment in excluded:
                out.cut(start, end, "comment_environments")
            else:
                out.replace(start, end, held.hold(text[start:end]), "verbatim")
    _cut_comments(out, at, len(text))
    return out.finish()


def comments(text: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each comment in [at, end), where nothing is verbatim."""
    while match := _COMMENT.search(text, at, end):
        start, at = match.span()
        if escaped(text, start):
            at = start + 1
        else:
            yield start, at


def _cut_comments(out: Rewriter, at: int, end: int) -> None:
    for comment_start, comment_end in comments(out.text, at, end):
        out.replace(comment_start, comment_end, b"", "comments")
