"""First pass over flattened LaTeX: comments go, verbatim text is put out of reach, `\\iffalse` is resolved.

Works on UTF-8 bytes: all characters that mean something to TeX are ASCII, and a length is a number of bytes,
which is what the ledger counts. Each function adds what it removes to a counter, by cause. All are linear for
any input: a search for a closer that failed once is not made again.
"""

import heapq
import re
from collections import Counter

from preprocess.latex.flatten import VERBATIM

_STOP = re.compile(
    rb"%[^\n]*\n?[ \t]*|\\(?:[\\%]|begin\s*\{(" + VERBATIM + rb")\}|verb\*?([^A-Za-z*\s])"
    rb"|(?:url|path|nolinkurl|href|lstinline|mintinline)(?![A-Za-z@]))"
)
# An argument in which `%` and `#` are ordinary; bounded, because an unclosed one must not cost the whole text.
_URL_ARGUMENT = re.compile(rb"\s*(?:\[[^\[\]\n]{0,500}\])?\s*(?:\{[^{}\n]{0,2000}\}|\|[^|\n]{0,2000}\|)")
_MARK = re.compile(rb"\0(\d+)\0")


class Protected:
    """Spans of verbatim text, held apart under marks that no other pass looks into."""

    def __init__(self, removed: Counter[str]) -> None:
        self._spans: list[bytes] = []
        self._removed = removed

    def hold(self, span: bytes) -> bytes:
        """The mark that stands for `span` from now on."""
        mark = b"\0%d\0" % len(self._spans)
        self._spans.append(span)
        self._removed["verbatim"] += len(span) - len(mark)
        return mark

    def restore(self, text: bytes) -> bytes:
        """`text` with the spans in place of their marks; a span whose mark is gone stays counted as removed."""
        return _MARK.sub(self._span, text)

    def _span(self, mark: re.Match[bytes]) -> bytes:
        span = self._spans[int(mark[1])]
        self._removed["verbatim"] -= len(span) - len(mark[0])
        return span


def strip_comments(text: bytes, protected: Protected, removed: Counter[str]) -> bytes:
    """Text without comments, as TeX reads it; verbatim text, `\\verb` and addresses become marks.

    A comment takes its line's end and the next line's indentation with it, but never an empty line: that
    is a paragraph.
    """
    out: list[bytes] = []
    start = position = 0
    line_end = -1
    unclosed: set[bytes] = set()  # environments without an \end from here on
    unclosed_verb: dict[bytes, int] = {}  # delimiter -> end of the line on which none is left
    while match := _STOP.search(text, position):
        begin, position = match.span()
        if text[begin] == 0x25:  # %
            out.append(text[start:begin])
            start = position
            removed["comments"] += position - begin
            if text.startswith(b"\n", position) and not _opens_line(text, begin):
                out.append(b"\n")
                removed["comments"] -= 1
        elif (environment := match[1]) is not None:
            closer = b"\\end{" + environment + b"}"
            close = -1 if environment in unclosed else text.find(closer, position)
            if close < 0:
                unclosed.add(environment)
                continue
            position = close + len(closer)
            out.append(text[start:begin])
            start = position
            if environment == b"comment" or environment.startswith(b"filecontents"):
                removed["comments"] += position - begin
            else:
                out.append(protected.hold(text[begin:position]))
        elif (delimiter := match[2]) is not None:
            if position > line_end:
                line_end = text.find(b"\n", position)
                line_end = len(text) if line_end < 0 else line_end
            if unclosed_verb.get(delimiter) == line_end:
                continue
            close = text.find(delimiter, position, line_end)
            if close < 0:
                unclosed_verb[delimiter] = line_end
                continue
            position = close + 1
            out += (text[start:begin], protected.hold(text[begin:position]))
            start = position
        elif len(match[0]) > 2 and (argument := _URL_ARGUMENT.match(text, position)):
            position = argument.end()
            out += (text[start:begin], protected.hold(text[begin:position]))
            start = position
    out.append(text[start:])
    return b"".join(out)


def _opens_line(text: bytes, position: int) -> bool:
    """Whether only blanks stand before `position` on its line."""
    before = position - 1
    while before >= 0 and text[before] in b" \t":
        before -= 1
    return before < 0 or text[before] == 0x0A


_NEWIF = re.compile(rb"\\newif\s*\\if([A-Za-z@]+)")
# Commands that begin with \if and take arguments: no \fi ends them (ifthen, etoolbox, mathematics' \iff).
_NOT_CONDITIONAL = re.compile(
    rb"iff|ifthenelse|ifdef|ifundef|ifbool|iftoggle|ifblank|ifstrempty|ifstrequal|ifnumcomp|ifnumequal|ifnumgreater"
    rb"|ifnumless|ifboolexpr|ifcsdef|ifdefempty|ifdefvoid|ifdefstring|ifdefequal|ifentry\w*|iflanguage|ifcapital"
)


def resolve_conditionals(text: bytes, removed: Counter[str]) -> bytes:
    """Text with `\\iffalse`, `\\iftrue` and the document's own `\\newif` switches decided, others left alone."""
    switches = set(_NEWIF.findall(text))
    if not switches and b"\\iffalse" not in text and b"\\iftrue" not in text:
        return text
    setters = rb"|".join(sorted((re.escape(name) for name in switches), key=lambda name: (-len(name), name)))
    sets = rb"|(?:" + setters + rb")(?:true|false)" if setters else b""
    token = re.compile(rb"\\(?:\\|newif\s*\\if[A-Za-z@]+|(if[A-Za-z@]*|else|fi" + sets + rb")(?![A-Za-z@]))")
    # (begin, end, name) of each token that counts, and for each \if its \else and \fi.
    tokens = [(m.start(), m.end(), m[1]) for m in token.finditer(text) if m[1] is not None]
    closers: dict[int, tuple[tuple[int, int] | None, tuple[int, int]]] = {}
    stack: list[tuple[int, tuple[int, int] | None]] = []
    for begin, end, name in tokens:
        if name == b"else" and stack:
            stack[-1] = (stack[-1][0], stack[-1][1] or (begin, end))
        elif name == b"fi" and stack:
            opener, middle = stack.pop()
            closers[opener] = (middle, (begin, end))
        elif name.startswith(b"if") and not _NOT_CONDITIONAL.fullmatch(name):
            stack.append((begin, None))

    state = dict.fromkeys(switches, False)  # what \newif says until something sets it
    cuts: list[tuple[int, int]] = []
    pending: list[tuple[int, int]] = []  # branches not taken that begin further on
    skip_until = 0
    for begin, end, name in tokens:
        while pending and pending[0][0] <= begin:
            skip_until = max(skip_until, heapq.heappop(pending)[1])
        if begin < skip_until:
            continue
        if name.endswith((b"true", b"false")) and not name.startswith(b"if"):
            setter, _, value = (
                name.rpartition(b"true") if name.endswith(b"true") else name.rpartition(b"false")
            )
            state[setter] = name.endswith(b"true")
            cuts.append((begin, end))
            continue
        known = {b"iftrue": True, b"iffalse": False}.get(name, state.get(name[2:]))
        if known is None or begin not in closers:
            continue
        middle, (fi_begin, fi_end) = closers[begin]
        if known:
            cuts.append((begin, end))
            taken_until = middle[0] if middle else fi_begin
            cuts.append((taken_until, fi_end))
            heapq.heappush(pending, (taken_until, fi_end))
        else:
            skip_until = middle[1] if middle else fi_end
            cuts.append((begin, skip_until))
            if middle:
                cuts.append((fi_begin, fi_end))
    return cut(text, cuts, "conditionals", removed)


def cut(text: bytes, spans: list[tuple[int, int]], cause: str, removed: Counter[str]) -> bytes:
    """Text without the spans, which may lie within each other."""
    out: list[bytes] = []
    position = 0
    for begin, end in sorted(spans):
        if end <= position:
            continue
        begin = max(begin, position)
        out.append(text[position:begin])
        removed[cause] += end - begin
        position = end
        # What follows a removed control word must not run into a control word before it.
        if out[-1] and text[position : position + 1].isalpha() and ends_in_control_word(out[-1]):
            out.append(b" ")
            removed[cause] -= 1
    out.append(text[position:])
    return b"".join(out)


_CONTROL_WORD_END = re.compile(rb"\\[A-Za-z@]+\Z")


def ends_in_control_word(text: bytes) -> bool:
    """Whether a letter after `text` would become part of a command's name (`\\\\` is a command of its own)."""
    tail = text[-40:]
    match = _CONTROL_WORD_END.search(tail)
    if match is None:
        return False
    backslashes = len(tail[: match.start()]) - len(tail[: match.start()].rstrip(b"\\"))
    return backslashes % 2 == 0
