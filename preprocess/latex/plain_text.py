"""Separate prose from mathematics in clean LaTeX, find words, and measure the share of slides.

All functions make a few passes in C and take linear time for any input.
"""

import re

import numpy as np

_ENVIRONMENT = (
    r"(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray|dmath|subequations"
    r"|xalignat|xxalignat)\*?"
)
# The forms of mathematics, one pass each: a pattern with a fixed beginning is found several times as fast as
# alternatives are. Possessive repeats never backtrack, so an unclosed formula costs no more than a closed
# one.
_MATHEMATICS = (
    re.compile(r"\\begin\{(" + _ENVIRONMENT + r")\}(?:[^\\]++|\\(?!end\{\1\}))*+(?:\\end\{\1\})?"),
    re.compile(r"\\\[(?:[^\\]++|\\(?!\]))*+(?:\\\])?"),
    re.compile(r"\\\((?:[^\\]++|\\(?!\)))*+(?:\\\))?"),
    re.compile(r"\$(?:\$[^$\0]*+(?:\$\$)?|[^$\0]*+\$?)"),
)
_DISPLAYS = (*_MATHEMATICS[:2], re.compile(r"\$\$[^$\0]*+(?:\$\$)?"))
_COMMAND = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\[A-Za-z@]+\*?|\\.", re.DOTALL)
# U+0080–U+00BF and U+2000–U+207F in UTF-8: punctuation, apart from three letters (ª, µ, º).
_PUNCTUATION = re.compile(rb"\xc2[\x80-\xbf]|\xe2[\x80\x81][\x80-\xbf]")
_LETTERS_ONLY = bytes(code if code >= 0x80 or chr(code).isalpha() else 0x20 for code in range(256))


def split_prose(text: str) -> tuple[str, int]:
    r"""Split `text` into (prose, number of characters in formulas and their delimiters).

    A formula that is not closed counts as mathematics up to the end of its paragraph ($, $$) or of the text.
    In the prose a blank stands for each formula, for `\\` and for `\$`.
    """
    # Clean text holds no NUL, so NUL can mark the end of a paragraph, where a `$` formula ends at the latest.
    text = text.replace("\\\\", "  ").replace("\\$", "  ").replace("\n\n", "\0\0")
    n_math = 0
    for pattern in _MATHEMATICS:
        rest, n_formulas = pattern.subn(" ", text)
        n_math += len(text) - len(rest) + n_formulas  # each was replaced by a blank
        text = rest
    return text.replace("\0\0", "\n\n"), n_math


def without_displays(text: str) -> str:
    """`text` with a blank for each displayed formula; one that is not closed goes to the end of the text."""
    for pattern in _DISPLAYS:
        text = pattern.sub(" ", text)
    return text


def strip_commands(prose: str) -> str:
    """`prose` with a blank for each command name, brace, `~` and `&`; arguments stay."""
    prose = _COMMAND.sub(" ", prose)
    for mark in "{}~&":  # four passes of `replace` take a tenth of the time of four more alternatives
        prose = prose.replace(mark, " ")
    return prose


def letters_of(prose: bytes) -> bytes:
    """Stripped prose (UTF-8) with a blank for each byte that is not part of a letter."""
    if not prose.isascii():
        prose = _PUNCTUATION.sub(b" ", prose)
    return prose.translate(_LETTERS_ONLY)


def find_words(letters: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(offset, length in bytes) of each run of two or more letters in `letters`: two int64 arrays [words]."""
    inside = np.zeros(len(letters) + 2, np.bool_)
    inside[1:-1] = np.frombuffer(letters, np.uint8) != ord(" ")
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts, lengths = borders[::2], borders[1::2] - borders[::2]
    long = lengths >= 2
    return starts[long], lengths[long]


# The beginning of a slide in beamer, seminar, slides and powerdot; also beamer's older \frame{\frametitle{…}
# …}.
_SLIDE = re.compile(r"\\begin\{(frame|slide)\*?\}|\\frame\s*(?:<[^<>]*>\s*)?\{\s*\\frametitle")


def slide_share(text: str) -> float:
    r"""Share (0 to 1) of the characters on slides; one that begins with `\frame` ends where the next begins.

    A `\begin{frame}` without its end before the next slide counts nothing: such a text only mentions frames.
    """
    openings = list(_SLIDE.finditer(text))
    limits = [*(following.start() for following in openings), len(text)][1:]
    on_slides = 0
    for opening, limit in zip(openings, limits, strict=False):
        end = text.find(f"\\end{{{opening[1]}", opening.end(), limit) if opening[1] else limit
        on_slides += max(0, end - opening.start())
    return on_slides / max(len(text), 1)
