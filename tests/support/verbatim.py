"""Where the verbatim text of a LaTeX source is: a slow second reading beside the compiled core's."""

import re
from collections.abc import Iterator

from preprocess.latex.lexer import begins_comment, escaped

_ENVIRONMENTS = b"""
    verbatim verbatim* Verbatim Verbatim* BVerbatim LVerbatim SaveVerbatim lstlisting minted alltt verbatimtab
    boxedverbatim spverbatim filecontents filecontents* comment
    """.split()
_GROUP_ON_A_LINE = rb"\{[^{}\n]*+(?:\{[^{}\n]*+\}[^{}\n]*+)*+\}"
_MARKED = rb"(?:\[[^\[\]\n]*+\])?(?:(?P<%b>[^\sA-Za-z*\[{])[^\n]*?(?P=%b)|" + _GROUP_ON_A_LINE + rb")"
_VERBATIM = re.compile(
    rb"\\(?:(?P<verb>verb\*?(?P<v>[^\sA-Za-z*])[^\n]*?(?P=v)"
    rb"|(?:lstinline|mintinline(?:\[[^\[\]\n]*+\])?\s*\{\w*\})" + _MARKED % (b"w", b"w") + rb")"
    rb"|(?P<url>(?:url|path|nolinkurl|href)\s*" + _MARKED % (b"u", b"u") + rb")"
    rb"|(?P<verbatim>begin\s*\{(?P<environment>" + b"|".join(map(re.escape, _ENVIRONMENTS)) + rb")\}))",
)


def verbatim_spans(text: bytes) -> Iterator[tuple[str, int, int]]:
    r"""(kind, start, end) of each verbatim text outside comments, in order.

    Kinds: `verb`, `url`, `verbatim` (the whole environment; one that is never closed is not verbatim).
    """
    at = 0
    while match := _VERBATIM.search(text, at):
        start, end = match.span()
        if escaped(text, start):
            at = start + 1
            continue
        kind = match.lastgroup or ""
        if begins_comment(text, max(at, text.rfind(b"\n", at, start) + 1), start):
            line_end = text.find(b"\n", start)
            at = line_end if line_end >= 0 else len(text)
            continue
        if kind == "verbatim":
            closing = rb"\end{" + match["environment"] + rb"}"
            closed = text.find(closing, end)
            at = closed + len(closing) if closed >= 0 else end
            if closed < 0:
                continue
        else:
            at = end
        yield kind, start, at
