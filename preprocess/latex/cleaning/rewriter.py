"""A new text from an old one, piece by piece; what that removes is counted."""

import re
from collections import Counter, defaultdict

from preprocess.latex.lexer import escaped

# As TeX reads a command's name.
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz@"
_NAME_BYTES = frozenset(_LETTERS[n : n + 1] for n in range(len(_LETTERS)))
_REST_OF_LINE = re.compile(rb"[ \t]*+(?:\n|\Z)")


def ends_in_control_word(text: bytes) -> bool:
    r"""Whether a letter after `text` would run into a command's name (`\\` is a command of its own)."""
    if text[-1:] not in _NAME_BYTES:  # as most: nothing more to look at
        return False
    at = text.rfind(b"\\", max(0, len(text) - 60))
    return 0 <= at < len(text) - 1 and not text[at + 1 :].strip(_LETTERS) and not escaped(text, at)


class Rewriter:
    """Builds a text from another one, from left to right; what is cut or put in is counted by cause."""

    def __init__(self, text: bytes, removed: Counter[str]) -> None:
        self.text = text
        self.at = 0  # everything before it is decided
        self._removed, self._causes = removed, defaultdict[str, int](int)
        self._pieces: list[bytes] = []  # none of them empty

    def replace(self, start: int, end: int, new: bytes, cause: str) -> None:
        """Put `new` in place of [start, end). A control word never runs into a letter on either side."""
        text, pieces, at = self.text, self._pieces, self.at
        self._causes[cause] += end - start - len(new)
        if start > at:
            pieces.append(text[at:start])
        after = text[end : end + 1]
        if (new[:1] or after).isalpha() and pieces and ends_in_control_word(pieces[-1]):
            new = b" " + new
            self._causes[cause] -= 1
        if new:
            if after.isalpha() and ends_in_control_word(new):
                new += b" "
                self._causes[cause] -= 1
            pieces.append(new)
        self.at = end

    def cut(self, start: int, end: int, cause: str) -> None:
        """Leave out [start, end), and the line end with it where that was all there stood on its line.

        An empty line in its place would be a paragraph that nobody wrote.
        """
        behind_text = start > self.at and self.text[start - 1] not in b" \t\n"  # nothing more to look at
        if not behind_text and (rest := _REST_OF_LINE.match(self.text, end)):
            before = self.text[self.at : start].rstrip(b" \t")
            if before[-1:] == b"\n" or (
                not before and (not self._pieces or self._pieces[-1].rstrip(b" \t")[-1:] == b"\n")
            ):
                end = rest.end()
        self.replace(start, end, b"", cause)

    def finish(self) -> bytes:
        """The new text."""
        if not self.at:
            return self.text
        self._removed.update(self._causes)
        self._pieces.append(self.text[self.at :])
        return b"".join(self._pieces)
