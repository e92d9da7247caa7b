r"""Decide `\iffalse`, `\iftrue` and the paper's own `\newif` switches; other conditionals stay."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from preprocess.latex.cleaning.rewriter import Rewriter
from preprocess.latex.lexer import BEGIN_DOCUMENT, MAX_NAME_BYTES, escaped, trie

_NAME = rb"([A-Za-z@]{1,%d}+)(?![A-Za-z@])" % MAX_NAME_BYTES
_SWITCH = re.compile(rb"\\newif\s*\\if" + _NAME)
_CONSTANT = re.compile(rb"\\if(?:false|true)")
_ALIAS = re.compile(rb"\\let\s*\\if" + _NAME + rb"\s*+=?+\s*+\\if(true|false)(?![A-Za-z@])")
# Conditionals of TeX, and those that packages define with \newif. Only these have a \fi: `\iff`,
# `\ifthenelse` and the many \if… commands of packages that take arguments have none.
_PRIMITIVE = (
    rb"if(?:true|false|x|num|dim|odd|cat|case|mode|vmode|hmode|mmode|inner|void|hbox|vbox|eof|defined|csname"
    rb"|fontchar|incsname|pdf|PDFTeX|LuaTeX|XeTeX|xetex|luatex|@twocolumn|@twoside|@filesw)?"
)


class _Braces:
    """The braces of a text. They are looked up, because reading nested spans again takes quadratic time."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    @cached_property
    def _offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """The offsets of `{` and of `}`: two int64 arrays."""
        codes = np.frombuffer(self._text, np.uint8)
        return np.flatnonzero(codes == ord("{")), np.flatnonzero(codes == ord("}"))

    def are_split(self, start: int, end: int) -> bool:
        """Whether [start, end) contains one brace of a group without the other."""
        span = start, end
        opened, closed = (offsets[slice(*np.searchsorted(offsets, span))] for offsets in self._offsets)
        return len(opened) != len(closed) or (len(opened) > 0 and bool(closed[0] < opened[0]))


@dataclass
class _Open:
    """A conditional whose `\\fi` has not been reached. `value`: None where only TeX can decide.

    `switch`: the switch that it tests, if it is in a macro's body: then the value where the macro is used
    counts.
    """

    start: int
    end: int
    value: bool | None
    switch: bytes | None = None
    else_start: int = -1
    else_end: int = -1


def resolve_conditionals(text: bytes, removed: Counter[str]) -> bytes:
    """`text` without the branches that are not taken, for conditionals whose value is known."""
    # A search for a fixed string is ten times as fast as one for a pattern, and most papers have none of
    # these.
    if b"\\if" not in text:
        return text
    switches = set(_SWITCH.findall(text)) if b"\\newif" in text else set()
    if _CONSTANT.search(text):
        switches |= {name for name, _ in _ALIAS.findall(text)}
    elif not switches:
        return text
    out = Rewriter(text, removed)
    for start, end in sorted(_cuts(text, switches)):
        if start >= out.at:
            out.cut(start, end, "conditionals")
    return out.finish()


def _cuts(text: bytes, switches: set[bytes]) -> list[tuple[int, int]]:
    """(start, end) of each span to remove. Within a branch that is not taken nothing is decided."""
    named = trie(switches) or b"(?!)"
    set_to = trie({name + value for name in switches for value in (b"true", b"false")}) or b"(?!)"
    token = re.compile(
        rb"\\(?:(?P<declared>(?:newif|let|def|global\s*\\let)\s*\\if[A-Za-z@]+(?:\s*+=?+\s*+\\if(?:true|false))?)"
        rb"|(?P<opened>" + _PRIMITIVE + rb"|if" + named + rb")"
        rb"|(?P<set>" + set_to + rb")|(?P<other>else)|(?P<closed>fi))(?![A-Za-z@])"
    )
    braces = _Braces(text)
    values = dict.fromkeys(switches, False)  # \newif sets a switch to false
    body = text.find(BEGIN_DOCUMENT)
    depth = counted = 0  # depth of braces up to offset `counted`: a group in the preamble is a macro's body
    in_body: dict[bytes, bool] | None = None  # the values at the beginning of the paper's body
    deferred: list[tuple[_Open, int, int]] = []
    cuts: list[tuple[int, int]] = []
    stack: list[_Open] = []
    skipped = 0  # number of open conditionals that are in a branch that is not taken
    for match in token.finditer(text):
        start, end = match.span()
        if text[start - 1 : start] == b"\\" and escaped(text, start):
            continue
        kind = match.lastgroup
        if start < body:
            depth += text.count(b"{", counted, start) - text.count(b"}", counted, start)
            counted = start
        is_in_macro = start < body and depth > 0
        if in_body is None and start > body:
            in_body = dict(values)
        if match["opened"] is not None:
            name = match["opened"][2:]
            waits = is_in_macro and name in values
            value = None if waits else {b"true": True, b"false": False}.get(name, values.get(name))
            stack.append(_Open(start, end, value, name if waits else None))
            skipped += value is False
        elif kind == "other" and stack and stack[-1].else_start < 0:
            top = stack[-1]
            top.else_start, top.else_end = start, end
            skipped += (top.value is True) - (top.value is False)
        elif kind == "closed" and stack:
            top = stack.pop()
            skipped -= top.value is (top.else_start >= 0)
            if top.switch is not None and not skipped:
                deferred.append((top, start, end))
            elif top.value is not None and not skipped:
                cuts += _cuts_of(braces, top, start, end)
        elif match["declared"] is not None and not skipped:
            if alias := _ALIAS.match(text, start):
                values[alias[1]] = alias[2] == b"true"
            if alias or _SWITCH.match(text, start):
                cuts.append((start, end))
        elif match["set"] is not None and not skipped:
            if not is_in_macro:
                is_true = match["set"].endswith(b"true")
                values[match["set"].removesuffix(b"true" if is_true else b"false")] = is_true
            cuts.append((start, end))
    for top, start, end in deferred:
        top.value = (in_body or values).get(top.switch or b"")
        cuts += _cuts_of(braces, top, start, end)
    return cuts


def _cuts_of(braces: _Braces, branch: _Open, fi_start: int, fi_end: int) -> list[tuple[int, int]]:
    r"""The spans to remove for a conditional; none if a group would lose a brace (`\def\hide{\iffalse}`)."""
    if branch.value:
        kept_until = branch.else_start if branch.else_start >= 0 else fi_start
        spans = [(branch.start, branch.end), (kept_until, fi_end)]
    elif branch.else_start >= 0:
        spans = [(branch.start, branch.else_end), (fi_start, fi_end)]
    else:
        spans = [(branch.start, fi_end)]
    return [] if any(braces.are_split(*span) for span in spans) else spans
