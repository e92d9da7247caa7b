"""Build a new text from an old one, from left to right, and count what is removed by cause."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from preprocess.latex.lexer import escaped

# Characters of a control word; `@` is one in style files and behind \makeatletter.
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz@"
_NAME_BYTES = frozenset(_LETTERS)
_REST_OF_LINE = re.compile(rb"[ \t]*+(?:\n|\Z)")


def ends_in_control_word(text: bytes) -> bool:
    r"""Whether `text` ends in a command such as `\alpha`, whose name a following letter would extend."""
    if not text or text[-1] not in _NAME_BYTES:  # true of most texts, and cheap to check
        return False
    at = text.rfind(b"\\", max(0, len(text) - 60))
    return 0 <= at < len(text) - 1 and not text[at + 1 :].strip(_LETTERS) and not escaped(text, at)


class Rewriter:
    """Builds a new text from `text` by replacing and cutting spans in ascending order.

    `removed`: gets the bytes removed by cause, negative for added ones, when `finish` is called.
    """

    def __init__(self, text: bytes, removed: Counter[str]) -> None:
        self.text = text
        self.at = 0  # the text before this offset is done
        self._removed, self._causes = removed, defaultdict[str, int](int)
        self._pieces: list[bytes] = []  # none of them empty

    def replace(self, start: int, end: int, new: bytes, cause: str) -> None:
        """Put `new` in place of [start, end), with a blank where a control word would meet a letter."""
        text, pieces = self.text, self._pieces
        if start > self.at:
            pieces.append(text[self.at : start])
        follows_letter = text[end : end + 1].isalpha()
        if (new[:1].isalpha() if new else follows_letter) and pieces and ends_in_control_word(pieces[-1]):
            new = b" " + new
        if new:
            if follows_letter and ends_in_control_word(new):
                new += b" "
            pieces.append(new)
        self._causes[cause] += end - start - len(new)
        self.at = end

    def remove(self, spans: Iterable[tuple[int, int]], cause: str) -> None:
        """Replace each of `spans` by nothing; as `replace`, but faster for many of them."""
        text, pieces, at, n_removed = self.text, self._pieces, self.at, 0
        for start, end in spans:
            if start > at:
                pieces.append(text[at:start])
            n_removed += end - start
            if text[end : end + 1].isalpha() and pieces and ends_in_control_word(pieces[-1]):
                pieces.append(b" ")
                n_removed -= 1
            at = end
        self._causes[cause] += n_removed
        self.at = at

    def cut(self, start: int, end: int, cause: str) -> None:
        """Leave out [start, end), and the line end as well if nothing else is on the line.

        An empty line would start a paragraph that the author did not write.
        """
        behind_text = start > self.at and self.text[start - 1] not in b" \t\n"  # cheap to check first
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
