r"""Carry out macros whose bodies look ahead or test their arguments, as the part of TeX called gullet does.

A body is read token by token together with the text behind the use: `\@ifnextchar` and `\@ifstar` read that
text, tests of arguments are decided, and macros inside are expanded in place. Anything else that only TeX can
do raises GivenUp, and the use stays as it is.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from preprocess.latex.cleaning.arguments import FALSE, NO_VALUE, TRUE
from preprocess.latex.lexer import Groups

MAX_STEPS = 200  # for one use; the longest chain of look-aheads found in a real paper takes 30
MAX_STEPS_OF_NAME = 20  # of these, for a name between \csname and \endcsname, which may contain another
MAX_BYTES = 20_000  # that a body may grow to
WINDOW = 2000  # bytes behind the use that may be read
_TOKEN = re.compile(rb"\\(?:[A-Za-z@]+|.)", re.DOTALL)
_BLANKS = re.compile(rb"[ \t]*+(?:\n[ \t]*+)?")
_CONDITIONAL = re.compile(
    rb"\\(?:(if(?:true|false|x|num|dim|odd|cat|case|mode|vmode|hmode|mmode|inner|void|hbox|vbox|eof|defined|csname|@\w+)?)"
    rb"|(else)|(fi)|(or))(?![A-Za-z@])"
)
_COMPARED = re.compile(rb"\s*(-?\d+)\s*([<>=])\s*(-?\d+)\s?")
_ADVANCE = re.compile(rb"\\[A-Za-z@]+\s*+(?:by)?+\s*+-?(?:\d+|\\[A-Za-z@]+)\s?")
_DROPPED = frozenset(rb"\protect \relax \noexpand \expandafter \m@th \long \global".split())
# Commands that choose between two branches by their first argument, or by their first two.
_BY_VALUE = (b"\\IfNoValue", b"\\IfValue", b"\\IfBoolean", b"\\IfBlank", b"\\tl@novalue@if@n")
_EMPTY_TESTS = {
    b"\\ifstrempty": True, b"\\ifblank": True, b"\\notblank": False, b"\\@ifempty": True, b"\\@ifmtarg": True,
    b"\\@ifnotmtarg": False, b"\\@ifnotempty": False, b"\\tl@if@empty@nTF": True, b"\\tl@if@blank@nTF": True,
}  # fmt: skip
_EQUAL_TESTS = frozenset((b"\\ifstrequal", b"\\str@if@eq@nnTF", b"\\tl@if@eq@nnTF"))
_CHOICES = {
    b"\\@firstoftwo": (2, 0),
    b"\\@secondoftwo": (2, 1),
    b"\\@firstofone": (1, 0),
    b"\\@gobble": (1, -1),
}
_CHOICES |= {b"\\@gobbletwo": (2, -1), b"\\use@n": (1, 0), b"\\use@none@n": (1, -1), b"\\mathchoice": (4, 0)}
_SILENT = frozenset((b"\\group@begin@", b"\\group@end@"))
_OTHERS = (
    rb"\@ifnextchar \kernel@ifnextchar \@ifstar \@testopt \csname \advance \clist@map@inline@nn \ifthenelse"
)
# All commands that are carried out here, apart from conditionals; nine of ten commands in a body are none.
_CARRIED_OUT = frozenset((
    *_DROPPED, *_SILENT, *_CHOICES, *_EMPTY_TESTS, *_EQUAL_TESTS, *_OTHERS.split(),
    *(prefix + kinds for prefix in _BY_VALUE for kinds in (b"TF", b"T", b"F")),
))  # fmt: skip


class Step(NamedTuple):
    """What replaces a command up to offset `end`: `done`, which is final, then `new`, which is read again."""

    new: bytes
    end: int
    done: bytes = b""


Expand = Callable[[Groups, int, int, bytes], Step | None]


class GivenUp(Exception):
    """The use cannot be carried out without TeX, or exceeds a limit."""


def carry_out(
    body: bytes,
    behind: bytes,
    expand: Expand,
    needs_tex: Callable[[bytes], bool],
    steps: Iterator[int] | None = None,
) -> tuple[bytes, int, int]:
    """Carry out a body: (what it prints, bytes taken from the text `behind` the use, bytes read).

    `expand` expands a macro of the paper and returns None for other commands. `needs_tex` tells whether only
    TeX can carry out a command. `steps` yields once for each step that may still be taken (default:
    MAX_STEPS). Raises GivenUp where only TeX can go on or no step is left.
    """
    text, boundary, taken, at, n_read = body + behind, len(body), 0, 0, 0
    out: list[bytes] = []
    steps = steps or iter(range(MAX_STEPS))
    for _ in steps:
        token = _TOKEN.search(text, at, max(boundary, at))
        if token is None or token.start() >= boundary:
            out.append(text[at:boundary])
            return b"".join(out), taken, n_read
        start, end, name = token.start(), token.end(), token[0]
        out.append(text[at:start])
        groups = Groups(text)
        step = _step(groups, start, end, name, boundary, expand, steps)
        if step is None:
            if needs_tex(name) and not name.startswith(b"\\operator@font"):
                raise GivenUp
            out.append(name)
            at = end
            continue
        if step.done and out and step.done[:1].isalpha() and out[-1][-1:].isalpha() and b"\\" in out[-1]:
            out.append(b" ")
        out.append(step.done)
        n_read += len(text)
        taken += max(0, step.end - boundary)
        text = step.new + text[step.end :]
        boundary = len(step.new) + max(0, boundary - step.end)
        at = 0
        if len(text) > MAX_BYTES:
            break
    raise GivenUp


def _step(
    groups: Groups, start: int, end: int, name: bytes, boundary: int, expand: Expand, steps: Iterator[int]
) -> Step | None:
    """Carry out the command `name` in [start, end); `boundary`: where the text behind the use begins."""
    text = groups.text
    if name not in _CARRIED_OUT:
        opened = _CONDITIONAL.match(text, start)
        return _conditional(text, opened, boundary, expand) if opened else expand(groups, start, end, name)
    if name in _DROPPED:
        return Step(b"", _BLANKS.match(text, end, max(end, boundary)).end())  # type: ignore[union-attr]
    if name in _SILENT:
        return Step(b"", end)
    if name in (b"\\@ifnextchar", b"\\kernel@ifnextchar"):
        (wanted, yes, no), end = _arguments(groups, end, 3)
        return Step(yes if _is_next(text, end, wanted) else no, end)
    if name == b"\\@ifstar":
        (yes, no), end = _arguments(groups, end, 2)
        star = _BLANKS.match(text, end).end()  # type: ignore[union-attr]
        return Step(yes, star + 1) if text[star : star + 1] == b"*" else Step(no, end)
    if name == b"\\@testopt":
        (command, default), end = _arguments(groups, end, 2)
        return Step(command if _is_next(text, end, b"[") else command + b"[" + default + b"]", end)
    if name in _CHOICES:
        n_arguments, chosen = _CHOICES[name]
        arguments, end = _arguments(groups, end, n_arguments)
        return Step(arguments[chosen] if chosen >= 0 else b"", end)
    if tested := _test(groups, end, name):
        return tested
    if name == b"\\csname":
        close = text.find(b"\\endcsname", end)
        inner = _plain(text[end:close].lstrip(), expand, steps) if close >= 0 else b""
        if not re.fullmatch(rb"[A-Za-z@]+", inner):
            raise GivenUp
        return Step(b"\\" + inner + b" ", close + len(b"\\endcsname"))
    if name == b"\\advance" and (advanced := _ADVANCE.match(text, end)):
        return Step(b"", advanced.end())
    if name == b"\\clist@map@inline@nn":
        (items, each), end = _arguments(groups, end, 2)
        named = [item.strip() for item in items.split(b",") if item.strip()]
        return Step(b"".join(each.replace(b"#1", item) for item in named), end)
    return expand(groups, start, end, name)


def _test(groups: Groups, end: int, name: bytes) -> Step | None:
    """Carry out a command of the form `\\test{what}{yes}{no}`; None if `name` is not such a command."""
    for prefix in _BY_VALUE:
        if name.startswith(prefix) and name[len(prefix) :] in (b"TF", b"T", b"F"):
            (value,), end = _arguments(groups, end, 1)
            if prefix == b"\\IfBoolean":
                if value not in (TRUE, FALSE):
                    raise GivenUp
                verdict = value == TRUE
            elif prefix == b"\\IfBlank":
                verdict = not value.strip()
            else:
                verdict = (value == NO_VALUE) is (prefix != b"\\IfValue")
            return _chosen(groups, end, verdict, name[len(prefix) :])
    if name in _EMPTY_TESTS:
        (value,), end = _arguments(groups, end, 1)
        kinds = b"T" if name == b"\\@ifnotempty" else b"TF"
        return _chosen(groups, end, (not value.strip()) is _EMPTY_TESTS[name], kinds)
    if name in _EQUAL_TESTS:
        (one, other), end = _arguments(groups, end, 2)
        return _chosen(groups, end, one.strip() == other.strip(), b"TF")
    if name == b"\\ifthenelse":
        (test,), end = _arguments(groups, end, 1)
        inner = Groups(test.strip())
        if not inner.text.startswith(b"\\equal"):
            raise GivenUp
        (one, other), behind = _arguments(inner, len(b"\\equal"), 2)
        if inner.text[behind:].strip() or (b"\\" in one + other and one != other):
            raise GivenUp
        return _chosen(groups, end, one == other, b"TF")
    return None


def _chosen(groups: Groups, end: int, verdict: bool, kinds: bytes) -> Step:
    """The branch for `verdict`; `kinds` names the branches that the command has: TF, T or F."""
    branches, end = _arguments(groups, end, len(kinds))
    by_kind = dict(zip(kinds, branches, strict=True))
    return Step(by_kind.get(ord("T") if verdict else ord("F"), b""), end)


def _arguments(groups: Groups, at: int, n_arguments: int) -> tuple[list[bytes], int]:
    """(arguments, offset behind them); raises GivenUp where one is missing."""
    arguments: list[bytes] = []
    for _ in range(n_arguments):
        given = groups.argument(at)
        if given is None:
            raise GivenUp
        argument, at = given
        arguments.append(argument)
    return arguments, at


def _is_next(text: bytes, at: int, wanted: bytes) -> bool:
    """Whether the token `wanted` follows `at`, after blanks."""
    at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]
    wanted = {b"\\bgroup": b"{", b"\\egroup": b"}"}.get(wanted, wanted)
    command = _TOKEN.match(text, at)
    return (command[0] if command else text[at : at + 1]) == wanted


def _conditional(text: bytes, opened: re.Match[bytes], boundary: int, expand: Expand) -> Step:
    if opened[1] is None:
        raise GivenUp  # \else or \fi of a conditional that begins outside the body
    spans, close = _branches(text, opened.end(), boundary)
    kind, first = opened[1], text[opened.end() : spans[0]]
    second = text[spans[1] : close[0]] if spans[1] >= 0 else b""
    if kind == b"ifmmode":
        if second.strip() == b"$" + first.strip() + b"$":
            return Step(b"\\ensuremath{" + first.strip() + b"}", close[1])
        raise GivenUp
    if kind in (b"iftrue", b"iffalse"):
        return Step(first if kind == b"iftrue" else second, close[1])
    if kind == b"ifnum" and (numbers := _COMPARED.match(first)):
        difference = int(numbers[1]) - int(numbers[3])
        verdict = {b"<": difference < 0, b">": difference > 0, b"=": not difference}[numbers[2]]
        return Step(first[numbers.end() :] if verdict else second, close[1])
    if kind in (b"if", b"ifx"):
        decided, rest = _same_tokens(first, expand if kind == b"if" else None)
        return Step(rest if decided else second, close[1])
    raise GivenUp


def _branches(text: bytes, at: int, boundary: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """((end of the first branch, start of the second or -1), (start, end) of the closing \\fi)."""
    depth, first_end, second = 0, -1, -1
    for match in _CONDITIONAL.finditer(text, at, boundary):
        if match[1] is not None:
            depth += 1
        elif match[3] is not None and not depth:
            return (first_end if first_end >= 0 else match.start(), second), match.span()
        elif match[3] is not None:
            depth -= 1
        elif not depth and match[2] is not None:
            first_end, second = match.start(), match.end()
        elif not depth:
            break
    raise GivenUp


_EMPTY_NAMES = frozenset((b"\\empty", b"\\@empty"))


def _same_tokens(text: bytes, expand: Expand | None) -> tuple[bool, bytes]:
    r"""(whether the first two tokens of `text` are equal, what follows them), as \if and \ifx compare."""
    tokens: list[bytes] = []
    for _ in range(2):
        for _ in range(10):
            text = text.lstrip()
            if text.startswith(b"\\detokenize"):
                given = Groups(text).argument(len(b"\\detokenize"))
                if given is None:
                    raise GivenUp
                text = given[0] + text[given[1] :]
            command = _TOKEN.match(text)
            token = command[0] if command else text[:1]
            if not command or expand is None:
                break
            step = expand(Groups(text), 0, len(token), token)
            if step is None:
                break
            text = step.done + step.new + text[step.end :]
        if not token or token in b"{}":
            raise GivenUp
        tokens.append(token)
        text = text[len(token) :]
    one, other = tokens
    fixed = all(
        token[:1] != b"\\" or token in _EMPTY_NAMES or token in (b"\\relax", b"\\@nnil", b"\\@nil")
        for token in tokens
    )
    if one != other and not fixed:
        raise GivenUp
    return one == other or {one, other} <= _EMPTY_NAMES, text


def _plain(text: bytes, expand: Expand, steps: Iterator[int]) -> bytes:
    """`text` with its macros expanded; raises GivenUp where commands remain."""
    out, _, _ = carry_out(text, b"", expand, lambda name: True, islice(steps, MAX_STEPS_OF_NAME))
    return out
