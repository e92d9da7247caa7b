r"""Find where comments, verbatim text and groups of TeX begin and end, without making a list of tokens.

All text is UTF-8 bytes, because every character with a meaning in TeX is ASCII. Every function takes linear
time for any input; for instance, a closing command that was not found is not searched for again.
"""

import re
from collections.abc import Collection, Iterable, Iterator

VERBATIM_ENVIRONMENTS = tuple(
    b"""
    verbatim verbatim* Verbatim Verbatim* BVerbatim LVerbatim SaveVerbatim lstlisting minted alltt
    verbatimtab boxedverbatim spverbatim filecontents filecontents*
    """.split()
)
# A longer name that a paper defines is left out of patterns: `trie` and the compiler of patterns recurse once
# for each letter of a name, and Python allows 1,000 levels.
MAX_NAME_BYTES = 64
_OPAQUE_NAMES = (b"verb", b"lstinline", b"mintinline", b"url", b"path", b"nolinkurl", b"href")
_GROUP_ON_A_LINE = rb"\{[^{}\n]*+(?:\{[^{}\n]*+\}[^{}\n]*+)*+\}"
_MARKED = rb"(?:\[[^\[\]\n]*+\])?(?:(?P<%b>[^\sA-Za-z*\[{])[^\n]*?(?P=%b)|" + _GROUP_ON_A_LINE + rb")"

_BRACE = re.compile(rb"\\[{}\\]|[{}]")
# A group that contains at most two levels of groups, as nearly all do.
_FLAT = rb"\{[^{}\\]*+(?:\\.[^{}\\]*+)*+\}"
_NESTED = rb"\{[^{}\\]*+(?:(?:\\.|" + _FLAT + rb")[^{}\\]*+)*+\}"
_SHALLOW_GROUP = re.compile(rb"\{[^{}\\]*+(?:(?:\\.|" + _NESTED + rb")[^{}\\]*+)*+\}", re.DOTALL)
_GUARDED_BYTES = 2  # three or four filter hardly better and cost more
_LOCAL_BYTES = 4000  # longest group that one regular expression matches
_LOCAL_BRACES = 500  # braces that are counted for one group before all braces of the text are paired

BACKSLASH = 0x5C


def trie(names: Iterable[bytes]) -> bytes:
    """A pattern for the longest of `names` that reads each character once, however many names there are.

    Empty where there are no names. Names must be at most MAX_NAME_BYTES long.
    """
    root: dict[int, dict] = {}
    for name in names:
        node = root
        for byte in name:
            node = node.setdefault(byte, {})
        node[-1] = {}
    return _trie_node(root)


def _trie_node(node: dict[int, dict]) -> bytes:
    branches = [re.escape(bytes([b])) + _trie_node(child) for b, child in sorted(node.items()) if b >= 0]
    if not branches:
        return b""
    if len(branches) == 1 and -1 not in node:
        return branches[0]
    # Possessive: once the longest name has matched, a shorter one is never tried.
    return b"(?:" + b"|".join(branches) + (b")?+" if -1 in node else b")")


def _guard(names: Collection[bytes]) -> bytes:
    """A lookahead for the first bytes that `names` can have; it rejects most other commands cheaply."""
    letters = ({name[n : n + 1] for name in names} for n in range(_GUARDED_BYTES))
    classes = (b"[" + b"".join(map(re.escape, sorted(of_place))) + b"]" for of_place in letters)
    return rb"(?=" + b"".join(classes) + rb")"


def opaque_pattern(
    environments: Collection[bytes], others: bytes = rb"(?!)", names: Iterable[bytes] = ()
) -> re.Pattern[bytes]:
    """The pattern for `live_events`: verbatim text, and `others`, alternatives with named groups.

    `names`: first letters of the commands in `others`; at most backslashes these alone rule out a match.
    """
    beginnings = {*_OPAQUE_NAMES, *names, *(b"begin{" + name + b"}" for name in environments)}
    return re.compile(
        rb"\\(?=" + _guard(beginnings) + trie(beginnings).replace(rb"\{", rb"\s*\{") + rb")"
        rb"(?:(?P<verb>verb\*?" + rb"(?P<v>[^\sA-Za-z*])[^\n]*?(?P=v)"
        rb"|(?:lstinline|mintinline(?:\[[^\[\]\n]*+\])?\s*\{\w*\})" + _MARKED % (b"w", b"w") + rb")"
        rb"|(?P<url>(?:url|path|nolinkurl|href)\s*" + _MARKED % (b"u", b"u") + rb")"
        rb"|(?P<verbatim>begin\s*\{(?P<environment>" + trie(environments) + rb")\})"
        rb"|" + others + rb")",
    )


VERBATIM = opaque_pattern((*VERBATIM_ENVIRONMENTS, b"comment"))


# (kind, start, end, match), as `live_events` describes it.
Event = tuple[str, int, int, re.Match[bytes]]


def live_events(text: bytes, pattern: re.Pattern[bytes]) -> Iterator[Event]:
    r"""(kind, start, end, match) of each match of `pattern` outside comments and verbatim text, in order.

    Kinds: `verb`, `url`, `verbatim` (the whole environment; one that is never closed is not verbatim) and the
    named groups of the `others` given to `opaque_pattern`.
    """
    at, unclosed = 0, set[bytes]()
    # Comments are searched for only on lines with a match.
    while match := _next_live(text, at, pattern):
        kind, (start, end) = match.lastgroup or "", match.span()
        if begins_comment(text, max(at, text.rfind(b"\n", at, start) + 1), start):
            line_end = text.find(b"\n", start)
            if line_end < 0:
                return
            end = line_end
        else:
            if kind == "verbatim":
                end = _environment_end(text, match, unclosed)
            if kind != "verbatim" or end > match.end():
                yield kind, start, end, match
        at = end


def _environment_end(text: bytes, opening: re.Match[bytes], unclosed: set[bytes]) -> int:
    """The offset behind a verbatim environment, or behind its \\begin where it is never closed."""
    closer = b"\\end{" + opening["environment"] + b"}"
    found = -1 if closer in unclosed else text.find(closer, opening.end())
    if found < 0:
        unclosed.add(closer)
        return opening.end()
    return found + len(closer)


def begins_comment(text: bytes, start: int, end: int) -> bool:
    """Whether a comment begins in [start, end), where nothing is verbatim."""
    sign = text.find(b"%", start, end)
    while sign >= 0 and escaped(text, sign):
        sign = text.find(b"%", sign + 1, end)
    return sign >= 0


def _next_live(text: bytes, at: int, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    r"""The next match whose backslash is not the second one of `\\`."""
    while match := pattern.search(text, at):
        if not escaped(text, match.start()):
            return match
        at = match.start() + 1
    return None


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
