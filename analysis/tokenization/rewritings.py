r"""A paper's text with its formulas written in another way that says the same: pure functions on texts.

respaced    other blanks before commands, which TeX ignores
renamed     the Greek letters that the paper uses, exchanged among each other in all of its formulas
reordered   `a + b` as `b + a`, where that is a whole sum of two simple terms

Arguments of `\text`, `\mbox` and their like stay as they are: there TeX does not ignore blanks.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from analysis.tokenization.stability import commands, find_formulas, respace

LOWER = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota"),
    *("kappa", "lambda", "mu", "nu", "xi", "pi", "varpi", "rho", "varrho", "sigma", "varsigma", "tau"),
    *("upsilon", "phi", "varphi", "chi", "psi", "omega"),
)
UPPER = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")

_PROSE = re.compile(r"\\(?:text[a-z]*|[mhf]box|intertext|label|tag|ref|eqref|cite)\*?\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

# A term is a product of letters and numbers with plain scripts, a sum is two of them between delimiters.
_LETTER = rf"(?:\\(?:{'|'.join((*LOWER, *UPPER))})(?![A-Za-z])|[A-Za-z0-9])"
_SCRIPT = rf"(?:[_^](?:\{{(?:{_LETTER}|[ ,])+\}}|[A-Za-z0-9]|\\(?:{'|'.join(LOWER)})(?![A-Za-z])))"
_TERM = rf"{_LETTER}{_SCRIPT}*(?: *{_LETTER}{_SCRIPT}*)*"
_SUM = re.compile(
    rf"(?P<before>[(\[{{$=&,] *)(?P<first>{_TERM})(?P<plus> *\+ *)(?P<second>{_TERM})"
    r"(?= *(?:[)\]}$=&,]|\\\\))"
)


def respaced(text: str) -> str:
    """The text with a blank before each command of a formula where there was none, and none where one was."""
    return _in_formulas(text, respace)


def renamed(text: str) -> str:
    """The text with each Greek letter of its formulas replaced by the next one that they use.

    Lower case and upper case are exchanged among themselves; the last letter becomes the first. A text with
    fewer than two letters of a kind keeps them.
    """
    return with_names(text, exchange(text))


def exchange(text: str) -> dict[str, str]:
    """Command to command: the permutation that `renamed` applies."""
    used = {name for start, end in find_formulas(text) for *_, name, _ in commands(text[start:end])}
    pairs: dict[str, str] = {}
    for alphabet in (LOWER, UPPER):
        there = ["\\" + name for name in alphabet if "\\" + name in used]
        pairs |= dict(zip(there, there[1:] + there[:1], strict=True)) if len(there) > 1 else {}
    return pairs


def with_names(text: str, names: Mapping[str, str]) -> str:
    """The text with commands of its formulas replaced as `names` says."""

    def change(formula: str) -> str:
        parts, position = [], 0
        for start, end, name, _ in commands(formula):
            parts += [formula[position:start], names.get(name, name)]
            position = end
        return "".join(parts) + formula[position:]

    return _in_formulas(text, change)


def reordered(text: str) -> str:
    """The text with the two terms of each simple sum of its formulas exchanged; twice is nothing."""
    return _in_formulas(text, lambda formula: _SUM.sub(r"\g<before>\g<second>\g<plus>\g<first>", formula))


CHANGES: dict[str, Callable[[str], str]] = {
    change.__name__: change for change in (respaced, renamed, reordered)
}


def excerpt(text: str, most_bytes: int) -> str:
    """The paragraphs of a text that hold a formula with a command, in order, up to so many bytes (UTF-8)."""
    chosen: list[str] = []
    n_bytes = 0
    for paragraph in re.split(r"\n[ \t]*\n", text):
        size = len(paragraph.encode()) + 2
        with_command = any(next(commands(paragraph[a:b]), None) for a, b in find_formulas(paragraph))
        if with_command and n_bytes + size <= most_bytes:
            chosen.append(paragraph)
            n_bytes += size
    return "\n\n".join(chosen)


def _in_formulas(text: str, change: Callable[[str], str]) -> str:
    """The text with the mathematics of each formula changed, its prose and everything else as it is."""
    parts, position = [], 0
    for start, end in find_formulas(text):
        parts.append(text[position:start])
        position = start
        for prose_start, prose_end in _prose_within(text, start, end):
            parts += [change(text[position:prose_start]), text[prose_start:prose_end]]
            position = prose_end
        parts.append(change(text[position:end]))
        position = end
    return "".join(parts) + text[position:]


def _prose_within(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each `\\text{…}` and its like within a formula; an unclosed one reaches to the end."""
    position = start
    while found := _PROSE.search(text, position, end):
        depth, position = 1, end
        for brace in _BRACE.finditer(text, found.end(), end):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                position = brace.end()
                break
        yield found.start(), position
