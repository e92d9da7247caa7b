"""Telling prose from mathematics in clean LaTeX: a few passes in C, linear for any input."""

import re

import numpy as np

_ENVIRONMENT = (
    r"(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray|dmath|subequations"
    r"|xalignat|xxalignat)\*?"
)
# What is mathematics, a pass each: a pattern that begins with fixed characters is searched for several times
# as fast as one of alternatives. Possessive repeats never go back: what is not closed costs no more.
_MATHEMATICS = (
    re.compile(r"\\begin\{(" + _ENVIRONMENT + r")\}(?:[^\\]++|\\(?!end\{\1\}))*+(?:\\end\{\1\})?"),
    re.compile(r"\\\[(?:[^\\]++|\\(?!\]))*+(?:\\\])?"),
    re.compile(r"\\\((?:[^\\]++|\\(?!\)))*+(?:\\\))?"),
    re.compile(r"\$(?:\$[^$\0]*+(?:\$\$)?|[^$\0]*+\$?)"),
)
_COMMAND = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z@]+\*?|\\.", re.DOTALL)
# U+0080–U+00BF and U+2000–U+207F in UTF-8: no letters, but for three (ª, µ, º).
_PUNCTUATION = re.compile(rb"\xc2[\x80-\xbf]|\xe2[\x80\x81][\x80-\xbf]")
_LETTERS_ONLY = bytes(code if code >= 0x80 or chr(code).isalpha() else 0x20 for code in range(256))


def split_prose(text: str) -> tuple[str, int]:
    r"""(text without its mathematics, characters of mathematics with their delimiters).

    A formula that is not closed within its paragraph ($) or at all counts as mathematics up to there. In the
    prose `\\` and `\$` are blanks.
    """
    # Clean text holds no NUL: it marks where a paragraph ends, beyond which no `$` reaches.
    text = text.replace("\\\\", "  ").replace("\\$", "  ").replace("\n\n", "\0\0")
    n_math = 0
    for pattern in _MATHEMATICS:
        rest, n_formulas = pattern.subn(" ", text)
        n_math += len(text) - len(rest) + n_formulas  # a blank stands for each
        text = rest
    return text.replace("\0\0", "\n\n"), n_math


def strip_commands(prose: str) -> str:
    """Prose without command names, braces and alignment marks; arguments stay."""
    prose = _COMMAND.sub(" ", prose)
    for mark in "{}~&":  # four passes of `replace` cost a tenth of four more alternatives in the pattern
        prose = prose.replace(mark, " ")
    return prose


def letters_of(prose: bytes) -> bytes:
    """Stripped prose in UTF-8 with a blank for every byte that is not a letter's."""
    if not prose.isascii():
        prose = _PUNCTUATION.sub(b" ", prose)
    return prose.translate(_LETTERS_ONLY)


def find_words(letters: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(first byte, length in bytes) of each run of two or more letters: int64 [words] each."""
    inside = np.zeros(len(letters) + 2, np.bool_)
    inside[1:-1] = np.frombuffer(letters, np.uint8) != ord(" ")
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts, lengths = borders[::2], borders[1::2] - borders[::2]
    long = lengths >= 2
    return starts[long], lengths[long]


# Where a slide begins: beamer, seminar, slides, powerdot; and beamer's older \frame{\frametitle{…} …}.
_SLIDE = re.compile(r"\\begin\{(frame|slide)\*?\}|\\frame\s*(?:<[^<>]*>\s*)?\{\s*\\frametitle")


def slide_share(text: str) -> float:
    r"""Share of a text on slides: from `\begin{frame}` to its end, from an old `\frame` to the next slide.

    A frame without an end before the next begins is no slide but a text that mentions one.
    """
    openings = list(_SLIDE.finditer(text))
    limits = [*(following.start() for following in openings), len(text)][1:]
    on_slides = 0
    for opening, limit in zip(openings, limits, strict=False):
        end = text.find(f"\\end{{{opening[1]}", opening.end(), limit) if opening[1] else limit
        on_slides += max(0, end - opening.start())
    return on_slides / max(len(text), 1)
