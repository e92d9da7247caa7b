"""Arguments of commands, found by hand: regular expressions cannot match braces."""

import re

_BRACE = re.compile(rb"\\.|[{}]", re.DOTALL)
_BRACKET = re.compile(rb"\\.|[{}\[\]]", re.DOTALL)
_BLANK = re.compile(rb"[ \t]*(?:\n[ \t]*)?")  # between a command and its argument; an empty line ends it
_TOKEN = re.compile(rb"\\(?:[A-Za-z@]+|.)|[^\s{}\\]", re.DOTALL)


class Braces:
    """Finds closing braces in one text.

    `budget`: how many braces may be looked at in all; commands nested in each other's arguments could
    otherwise cost the square of their depth.
    """

    def __init__(self, text: bytes, budget: int) -> None:
        self.text = text
        self.budget = budget

    def close(self, position: int) -> int:
        """Position after the brace that closes the one at `position`, -1 if there is none."""
        depth = 0
        for match in _BRACE.finditer(self.text, position):
            brace = match[0]
            self.budget -= 1
            if brace == b"{":
                depth += 1
            elif brace == b"}":
                depth -= 1
                if depth == 0:
                    return match.end()
            if self.budget <= 0:
                return -1
        return -1

    def skip_blank(self, position: int) -> int:
        """Position after blanks and at most one line end."""
        match = _BLANK.match(self.text, position)
        return match.end() if match else position

    def group(self, position: int) -> tuple[bytes, int] | None:
        """(contents, position after) of a `{group}` after blanks."""
        position = self.skip_blank(position)
        if not self.text.startswith(b"{", position):
            return None
        close = self.close(position)
        return (self.text[position + 1 : close - 1], close) if close > 0 else None

    def argument(self, position: int) -> tuple[bytes, int] | None:
        """(contents, position after) of an argument: a `{group}`, a command or a character."""
        position = self.skip_blank(position)
        if self.text.startswith(b"{", position):
            return self.group(position)
        token = _TOKEN.match(self.text, position)
        return (token[0], token.end()) if token else None

    def optional(self, position: int) -> tuple[bytes, int] | None:
        """(contents, position after) of a `[group]` after blanks."""
        position = self.skip_blank(position)
        if not self.text.startswith(b"[", position):
            return None
        depth = 0
        for match in _BRACKET.finditer(self.text, position + 1, position + 2000):
            mark = match[0]
            if mark == b"{":
                depth += 1
            elif mark == b"}":
                depth -= 1
                if depth < 0:
                    return None
            elif mark == b"]" and depth == 0:
                return self.text[position + 1 : match.start()], match.end()
        return None
