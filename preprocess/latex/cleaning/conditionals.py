r"""`\iffalse`, `\iftrue` and the paper's own `\newif` switches are decided; other conditionals stay."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from preprocess.latex.cleaning.rewriter import Rewriter
from preprocess.latex.lexer import BEGIN_DOCUMENT, MAX_NAME_BYTES, escaped, trie

_NAME = rb"([A-Za-z@]{1,%d}+)(?![A-Za-z@])" % MAX_NAME_BYTES
_SWITCH = re.compile(rb"\\newif\s*\\if" + _NAME)
_ALIAS = re.compile(rb"\\let\s*\\if" + _NAME + rb"\s*+=?+\s*+\\if(true|false)(?![A-Za-z@])")
# TeX's own, and those that packages made with \newif: only what is listed here has a \fi. `\iff` and
# `\ifthenelse` have none, nor have the many \if… commands of packages that take arguments.
_PRIMITIVE = (
    rb"if(?:true|false|x|num|dim|odd|cat|case|mode|vmode|hmode|mmode|inner|void|hbox|vbox|eof|defined|csname"
    rb"|fontchar|incsname|pdf|PDFTeX|LuaTeX|XeTeX|xetex|luatex|@twocolumn|@twoside|@filesw)?"
)


_Braces = tuple[np.ndarray, np.ndarray]  # offsets of `{` and of `}`, ascending


@dataclass
class _Open:
    """A conditional whose `\\fi` has not come. `value`: None where only TeX knows.

    `switch`: the one that it asks where it stands in a macro's body: what counts is the value where the macro
    is used.
    """

    start: int
    end: int
    value: bool | None
    switch: bytes | None = None
    else_start: int = -1
    else_end: int = -1


def resolve_conditionals(text: bytes, removed: Counter[str]) -> bytes:
    """`text` with the branches that are not taken cut out, for conditionals whose value is known."""
    # Looking for a fixed string is ten times faster than for a pattern, and most papers have none of these.
    if b"\\if" not in text:
        return text
    switches = set(_SWITCH.findall(text)) if b"\\newif" in text else set()
    constants = b"\\iffalse" in text or b"\\iftrue" in text
    if constants:
        switches |= {name for name, _ in _ALIAS.findall(text)}
    elif not switches:
        return text
    out = Rewriter(text, removed)
    for start, end in sorted(_cuts(text, switches)):
        if start >= out.at:
            out.cut(start, end, "conditionals")
    return out.finish()


def _cuts(text: bytes, switches: set[bytes]) -> list[tuple[int, int]]:
    """What to leave out. A branch not taken contains all that is cut within it."""
    named = trie(switches) or b"(?!)"
    set_to = trie({name + value for name in switches for value in (b"true", b"false")}) or b"(?!)"
    token = re.compile(
        rb"\\(?:(?P<declared>(?:newif|let|def|global\s*\\let)\s*\\if[A-Za-z@]+(?:\s*+=?+\s*+\\if(?:true|false))?)"
        rb"|(?P<opened>" + _PRIMITIVE + rb"|if" + named + rb")"
        rb"|(?P<set>" + set_to + rb")|(?P<other>else)|(?P<closed>fi))(?![A-Za-z@])"
    )
    braces = _brace_offsets(text)
    values = dict.fromkeys(switches, False)  # what \newif says until something sets it
    body = text.find(BEGIN_DOCUMENT)
    depth = counted = 0  # of braces, up to where they are counted: a group of the preamble is a macro's body
    in_body: dict[bytes, bool] | None = None  # the values with which the paper's body begins
    deferred: list[tuple[_Open, int, int]] = []
    cuts: list[tuple[int, int]] = []
    stack: list[_Open] = []
    skipped = 0  # how many of the open conditionals are in a branch that is not taken
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
    r"""The cuts that decide one conditional; none where they would tear a group (`\def\hide{\iffalse}`)."""
    if branch.value:
        kept_until = branch.else_start if branch.else_start >= 0 else fi_start
        spans = [(branch.start, branch.end), (kept_until, fi_end)]
    elif branch.else_start >= 0:
        spans = [(branch.start, branch.else_end), (fi_start, fi_end)]
    else:
        spans = [(branch.start, fi_end)]
    return [] if any(_tears(braces, *span) for span in spans) else spans


def _brace_offsets(text: bytes) -> _Braces:
    codes = np.frombuffer(text, np.uint8)
    return np.flatnonzero(codes == ord("{")), np.flatnonzero(codes == ord("}"))


def _tears(braces: _Braces, start: int, end: int) -> bool:
    """Whether a span closes a group that it does not open, or the other way round."""
    # Offsets that are looked up, not a text that is read: spans of nested conditionals lie inside each other.
    opened, closed = (offsets[slice(*np.searchsorted(offsets, (start, end)))] for offsets in braces)
    return len(opened) != len(closed) or (len(opened) > 0 and bool(closed[0] < opened[0]))
