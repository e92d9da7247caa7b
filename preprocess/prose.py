"""Telling prose from mathematics in clean LaTeX, in one pass that is linear for any input."""

import re

_MATH_ENVIRONMENT = re.compile(
    r"(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray|dmath|subequations"
    r"|xalignat|xxalignat)\*?"
)
# Where mathematics may begin or end; `\\.` swallows `\$` and `\\` so that `\\[2pt]` opens nothing.
_BORDER = re.compile(r"\\(?:begin|end)\{([A-Za-z]+\*?)\}|\\[\[\]()]|\\.|\$\$?", re.DOTALL)
_CLOSER = {"\\[": "\\]", "\\(": "\\)"}
_COMMAND = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\(?:[A-Za-z@]+\*?|.)|[{}~&]", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2,}")


def split_prose(text: str) -> tuple[str, int]:
    """(text without its mathematics, characters of mathematics with their delimiters).

    A formula that is not closed within its paragraph ($) or at all counts as mathematics up to there.
    """
    prose: list[str] = []
    n_math, position, start, closer = 0, 0, -1, ""
    for match in _BORDER.finditer(text):
        border = match[0]
        if start >= 0:
            # `$` cannot span a blank line: one that does is a stray dollar, not a formula.
            blank = text.find("\n\n", start, match.start()) if closer in ("$", "$$") else -1
            if blank >= 0:
                n_math += blank - start
                position, start = blank, -1
            elif border == closer or (closer == "$" and border == "$$"):
                n_math += match.end() - start
                position, start = match.end(), -1
                continue
            else:
                continue
        if border in ("$", "$$", "\\[", "\\("):
            closer = _CLOSER.get(border, border)
        elif border.startswith("\\begin{") and _MATH_ENVIRONMENT.fullmatch(match[1]):
            closer = f"\\end{{{match[1]}}}"
        else:
            continue
        prose.append(text[position : match.start()])
        start = match.start()
    if start >= 0:
        n_math += len(text) - start
    else:
        prose.append(text[position:])
    return " ".join(prose), n_math


def strip_commands(prose: str) -> str:
    """Prose without command names, braces and alignment marks; arguments stay."""
    return _COMMAND.sub(" ", prose)


def words(prose: str) -> list[str]:
    """Runs of two or more letters."""
    return _WORD.findall(prose)
