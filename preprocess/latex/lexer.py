r"""Find where comments and groups of TeX begin and end, without making a list of tokens.

All text is UTF-8 bytes, because every character with a meaning in TeX is ASCII. Every function takes linear
time for any input; for instance, a closing command that was not found is not searched for again.
"""

import re

_BRACE = re.compile(rb"\\[{}\\]|[{}]")
# A group that contains at most two levels of groups, as nearly all do.
_FLAT = rb"\{[^{}\\]*+(?:\\.[^{}\\]*+)*+\}"
_NESTED = rb"\{[^{}\\]*+(?:(?:\\.|" + _FLAT + rb")[^{}\\]*+)*+\}"
_SHALLOW_GROUP = re.compile(rb"\{[^{}\\]*+(?:(?:\\.|" + _NESTED + rb")[^{}\\]*+)*+\}", re.DOTALL)
_LOCAL_BYTES = 4000  # longest group that one regular expression matches
_LOCAL_BRACES = 500  # braces that are counted for one group before all braces of the text are paired

BACKSLASH = 0x5C


def begins_comment(text: bytes, start: int, end: int) -> bool:
    """Whether a comment begins in [start, end), where nothing is verbatim."""
    sign = text.find(b"%", start, end)
    while sign >= 0 and escaped(text, sign):
        sign = text.find(b"%", sign + 1, end)
    return sign >= 0


def escaped(text: bytes, at: int) -> bool:
    r"""Whether an odd number of backslashes precedes `at`. (`\\%` is a line break and a comment.)"""
    start = at
    while start and text[start - 1] == BACKSLASH:
        start -= 1
    return bool(at - start & 1)


class Groups:
    """Finds where the groups of one text end.

    A closing brace is first searched for nearby. If it is far away, all braces of the text are paired once,
    so that unclosed and deeply nested groups take linear time in total.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._pairs: dict[int, int] | None = None

    def end(self, start: int) -> int:
        """The offset behind the group that opens at `start`; -1 if it is never closed."""
        if shallow := _SHALLOW_GROUP.match(self.text, start, start + _LOCAL_BYTES):
            return shallow.end()
        if self._pairs is None:
            depth = 0
            for n, match in enumerate(_BRACE.finditer(self.text, start)):
                brace = match[0]
                if brace == b"{":
                    depth += 1
                elif brace == b"}":
                    depth -= 1
                    if not depth:
                        return match.end()
                if n == _LOCAL_BRACES:
                    break
            self._pairs = self._pair_up()
        return self._pairs.get(start, -1)

    def _pair_up(self) -> dict[int, int]:
        pairs, stack = {}, []
        for match in _BRACE.finditer(self.text):
            brace = match[0]
            if brace == b"{":
                stack.append(match.start())
            elif brace == b"}" and stack:
                pairs[stack.pop()] = match.end()
        return pairs
