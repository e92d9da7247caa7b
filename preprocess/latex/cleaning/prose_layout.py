r"""Remove colours, sizes, skips, phantoms and `\par` from prose; in mathematics they stay as written.

The text that a command prints (`text` in `\textcolor{red}{text}`) stays. A skip becomes a blank unless it
only kerns, `\par` becomes an empty line, and a `\\` at the end of a paragraph is removed unless it ends a row
of a table. `environments.py` finds these commands in the same pass as all other layout.
"""

import re
from bisect import insort
from collections import Counter
from typing import NamedTuple

from preprocess.latex.cleaning.rewriter import Rewriter
from preprocess.latex.lexer import Groups, escaped, trie

CAUSE = "prose_layout"
_WITHOUT_ARGUMENTS = frozenset(
    b"""
    tiny scriptsize footnotesize small normalsize large Large LARGE huge Huge normalcolor leavevmode
    ignorespaces unskip strut allowbreak selectfont
    """.split()
)
_WITH_GROUPS = {
    b"color": 1, b"phantom": 1, b"vphantom": 1, b"hphantom": 1, b"fontsize": 2,
    b"fontfamily": 1, b"fontseries": 1, b"fontshape": 1,
}  # fmt: skip
_COLOURED = frozenset((b"textcolor", b"colorbox"))  # {colour}{what is printed}
_SKIPS = frozenset((b"hspace", b"hskip", b"hfill"))
PROSE_LAYOUT = _WITHOUT_ARGUMENTS | _WITH_GROUPS.keys() | _COLOURED | _SKIPS | {b"par"}
_COMMAND = re.compile(rb"\\(" + trie(PROSE_LAYOUT) + rb")(?![A-Za-z@])")
_LENGTH = re.compile(
    rb"\s*-?[\d.]+\s*(?:true\s*)?(?:pt|cm|mm|in|em|ex|pc|sp|bp)(?![a-z])"
    rb"(?:\s*(?:plus|minus)\s*[\d.]+\s*[a-z]{2,4})*"
)
# Kerning, not a space between words: below 0.2 em, 1 mm, 1 ex or 3 pt, or to the left.
_NARROW = re.compile(rb"\s*(?:-|0*\.[01]\d*\s*em|0*\.\d+\s*(?:mm|pt|ex)|[012](?:\.\d+)?\s*pt|0\s*[a-z\\])")
_FORMULA = (
    rb"\{(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray|dmath"
    rb"|subequations|xalignat|xxalignat|empheq|dgroup|darray)\*?\}"
)
# The beginning or end of a formula.
_EDGE = re.compile(rb"\\(?:[()\[\]]|(?:begin|end)" + _FORMULA + rb")|\$\$?")
# `\\` with its optional length, at the end of a paragraph.
LAST_BREAK = (
    rb"\\\\\*?(?:[ \t]*+\[[^\[\]\n]{0,40}\])?"
    rb"(?=[ \t]*+(?:\n[ \t]*+(?:\n|\Z)|\n?[ \t]*+\\par(?![A-Za-z@])|\Z))"
)
_TABLE = re.compile(
    rb"\\(begin|end)\s*\{(?:[a-zA-Z]*(?:tab|array|matrix|align|alg)[a-zA-Z]*|split|cases|verse)\*?\}"
)


class Edit(NamedTuple):
    """A replacement of [start, end) by `new`."""

    start: int
    end: int
    new: bytes | None  # None: nothing, and the line end is removed too if nothing else is on the line


class Mathematics:
    """Tells whether offsets of a text, given in ascending order, are inside mathematics.

    A formula ends with its paragraph at the latest, as in TeX. `n_read` counts the bytes that were read; they
    are never more than the text has.
    """

    def __init__(self, text: bytes) -> None:
        self.n_read = 0
        self._text = text
        self._at = 0  # the text has been read up to here
        self._dollars = b""  # `$` or `$$` that opened the current formula
        self._depth = 0  # of formulas opened by commands

    def contains(self, at: int) -> bool:
        """Whether `at` is inside a formula."""
        paragraph = self._text.rfind(b"\n\n", self._at, at)
        if paragraph >= 0:
            self._at = paragraph + 2
            self._dollars, self._depth = b"", 0
        for edge in _EDGE.finditer(self._text, self._at, at):
            if not escaped(self._text, edge.start()):
                self._pass(edge[0])
        self.n_read += max(0, at - self._at)
        self._at = max(self._at, at)
        return bool(self._dollars) or self._depth > 0

    def _pass(self, edge: bytes) -> None:
        """Update the state behind the beginning or end of a formula."""
        if edge[:1] == b"$":
            if self._depth:
                return  # $x$ in the \text of a displayed formula
            if not self._dollars:
                self._dollars = edge
            elif edge == self._dollars or self._dollars == b"$$":
                self._dollars = b""  # in `$x$$y$` the two signs close one formula and open the next
        elif edge[1:2] in b"([b":
            self._depth += 1
        elif self._depth:
            self._depth -= 1


def without_command(groups: Groups, start: int, end: int, name: bytes) -> list[Edit]:
    """The edits that remove the command `name` in [start, end); none if its arguments cannot be read."""
    text = groups.text
    if name == b"par":
        return [Edit(start, end, b"\n\n")]
    if name in _WITHOUT_ARGUMENTS:
        return [Edit(start, end, None)]
    if name == b"hfill":
        return [Edit(start, end, b" ")]
    if name == b"hskip":
        length = _LENGTH.match(text, end)
        return [Edit(start, length.end(), b" ")] if length else []
    if name == b"hspace":
        group = groups.group(end + (text[end : end + 1] == b"*"))
        return [Edit(start, group[1], b"" if _NARROW.match(group[0]) else b" ")] if group else []
    option = groups.optional(end)
    end = option[1] if option else end
    for _ in range(_WITH_GROUPS.get(name, 1)):
        argument = groups.group_span(end)
        if argument is None:
            return []
        end = argument[1]
    if name not in _COLOURED:
        return [Edit(start, end, None)]
    printed = groups.group_span(end)
    if printed is None:
        return []
    content, behind = printed
    # Two edits, so that the text between them is read like any other.
    return [Edit(start, content, b""), Edit(behind - 1, behind, b"")]


class ProseLayout:
    """Removes layout commands in a pass that also makes other edits to `out`, in ascending order."""

    def __init__(self, groups: Groups, out: Rewriter) -> None:
        self._groups, self._out = groups, out
        self._mathematics = Mathematics(groups.text)
        self._tables_until = self._open_tables = 0
        self._waiting: list[Edit] = []  # closing braces of coloured text, in descending order

    def meet(self, start: int, end: int, name: bytes) -> None:
        """Remove the command `name` in [start, end) unless it is part of a formula."""
        if not self._mathematics.contains(start):
            edits = without_command(self._groups, start, end, name)
            for edit in edits[:1]:
                self._apply(edit)
            for edit in edits[1:]:
                insort(self._waiting, edit, key=lambda waiting: -waiting.start)

    def meet_last_break(self, start: int, end: int) -> None:
        r"""Remove the `\\` in [start, end) at the end of a paragraph, except in formulas and tables."""
        text = self._groups.text
        for edge in _TABLE.finditer(text, self._tables_until, start):
            self._open_tables = max(0, self._open_tables + (1 if edge[1] == b"begin" else -1))
        self._tables_until = start
        row = text[max(text.rfind(b"\n", 0, start) + 1, start - 500) : start]
        if (
            not self._open_tables
            and b"&" not in row.replace(b"\\&", b"")
            and not self._mathematics.contains(start)
        ):
            self._out.cut(start, end, CAUSE)

    def advance(self, at: int) -> None:
        """Make the edits that lie before `at`."""
        while self._waiting and self._waiting[-1].start < at:
            edit = self._waiting.pop()
            if edit.start >= self._out.at:
                self._apply(edit)

    def _apply(self, edit: Edit) -> None:
        if edit.new is None:
            self._out.cut(edit.start, edit.end, CAUSE)
        else:
            self._out.replace(edit.start, edit.end, edit.new, CAUSE)


def drop_prose_layout(text: bytes, removed: Counter[str]) -> bytes:
    """`text` (a caption) without layout commands in its prose; `removed` counts the bytes by cause."""
    out = Rewriter(text, removed)
    layout = ProseLayout(Groups(text), out)
    for match in _COMMAND.finditer(text):
        start, end = match.span()
        layout.advance(start)
        if start >= out.at and not (text[start - 1 : start] == b"\\" and escaped(text, start)):
            layout.meet(start, end, match[1])
    layout.advance(len(text))
    return out.finish()
