"""Remove comments, and replace verbatim text by placeholders that no later pass reads."""

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

# An unescaped `%` with its line end and the blanks of the next line, which TeX skips, together with following
# lines that hold only a comment. An empty line after it stays, because it ends the paragraph.
_COMMENT = re.compile(
    rb"%(?:(?<!\\%)|(?<=\\\\%))[^\n]*+(?:\n[ \t]*+%[^\n]*+)*+(?:\n[ \t]*+(?!\n))?", re.DOTALL
)
_EXCLUDED = re.compile(rb"\\excludecomment\s*\{([A-Za-z]+)\}")
_MARK = re.compile(rb"\0(\d+)\0")


class Placeholders:
    """Stores the verbatim text of a document and gives placeholders (a number between NULs) for it.

    The document must not contain NUL.
    """

    def __init__(self, removed: Counter[str]) -> None:
        self._pieces: list[bytes] = []
        self._removed = removed

    def store(self, piece: bytes) -> bytes:
        """Store `piece`; returns its placeholder."""
        mark = b"\0%d\0" % len(self._pieces)
        self._pieces.append(piece)
        return mark

    def restore(self, text: bytes) -> bytes:
        """`text` with the stored pieces in place of their placeholders.

        A piece whose placeholder was removed stays counted as removed.
        """
        return _MARK.sub(self._piece, text) if self._pieces else text

    def _piece(self, mark: re.Match[bytes]) -> bytes:
        piece = self._pieces[int(mark[1])]
        self._removed["verbatim"] -= len(piece) - len(mark[0])
        return piece


def strip_comments(text: bytes, verbatim: Placeholders, removed: Counter[str]) -> bytes:
    """`text` without comments and `comment` environments, with its verbatim text stored in `verbatim`."""
    own = verbatim_environments(text)
    pattern = opaque_pattern((*VERBATIM_ENVIRONMENTS, b"comment", *own)) if own else VERBATIM
    excluded = {b"comment", b"filecontents", b"filecontents*", *(_EXCLUDED.findall(text) if own else ())}
    out, at = Rewriter(text, removed), 0
    for kind, start, end, match in live_events(text, pattern):
        out.remove(comments(text, at, start), "comments")
        at = end
        if kind == "verb":
            out.replace(start, end, verbatim.store(text[start:end]), "verbatim")
        elif kind == "verbatim":
            environment = match["environment"]
            if environment in excluded:
                out.cut(start, end, "comment_environments")
            else:
                out.replace(start, end, verbatim.store(text[start:end]), "verbatim")
    out.remove(comments(text, at, len(text)), "comments")
    return out.finish()


def comments(text: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each comment in [at, end), where nothing is verbatim."""
    while at < end:
        for match in _COMMENT.finditer(text, at, end):
            if escaped(text, match.start()):
                at = match.start() + 1
                break
            yield match.span()
        else:
            break
