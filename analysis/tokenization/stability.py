"""What a tokenizer does to LaTeX, counted from the borders that it draws: pure functions, no files.

A tokenizer is seen as an `Encoder`: a text in, the end of each token out. From that follow, for every
occurrence of a command (`\\` and letters, read as TeX reads it: `\\\\alpha` is a line break and a word):

whole     it is one token: bare, with its own leading blank, or with all of `\\begin{env}`, `\\end{env}`
crossed   a token straddles its beginning or its end
entropy   in bits, of the ways in which one command is cut over its contexts, weighted by occurrences

and for every formula whether its borders stay where they were when blanks that TeX ignores come and go
before commands (`respaced`), and when one command gets another name (`renamed`).
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

# Text → (position in `text` behind each token, in order; what decoding gives back).
Encoder = Callable[[str], tuple[np.ndarray, str]]
Spans = Sequence[tuple[int, int]]

_CONTROL = re.compile(r"\\(?:(begin|end)\{[A-Za-z]+\*?\}|([A-Za-z]+)|.)", re.DOTALL)
_WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")
_DISPLAY = r"(?:equation|align|gather|multline|eqnarray)\*?"
# A line break or a written dollar is taken first, as TeX does: neither opens a formula (`\\[2pt]`, `\\$x$`).
_FORMULA = re.compile(
    r"\\\\|\\\$|(?P<formula>"
    rf"\\begin\{{(?P<display>{_DISPLAY})\}}.*?\\end\{{(?P=display)\}}|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|\$\$[^$]+\$\$|\$(?:\\.|[^$\\\n]|\n(?!\n))+\$)",
    re.DOTALL,
)
# Formulas of a document that are tried with other blanks and names: a sample, spread over the document.
FORMULAS_TRIED = 40
_ENVIRONMENT = ("\\begin", "\\end")


@dataclass
class Measures:
    """Counts that add up over documents."""

    documents: int = 0
    lossless: int = 0  # documents that decoding gives back
    n_bytes: int = 0
    n_tokens: int = 0
    words: int = 0
    word_tokens: int = 0  # tokens that share a character with a word
    formulas: int = 0
    formula_tokens: int = 0
    tried: int = 0  # formulas with a command, of the sample
    respaced_same: int = 0
    renamed_same: int = 0
    commands: Counter[str] = field(default_factory=Counter)  # occurrences
    whole: Counter[str] = field(default_factory=Counter)
    crossed: Counter[str] = field(default_factory=Counter)
    cuts: Counter[tuple[str, tuple[int, ...]]] = field(default_factory=Counter)  # of those not whole

    def __add__(self, other: "Measures") -> "Measures":
        return Measures(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def measure(text: str, encode: Encoder) -> Measures:
    """All counts of one document."""
    ends, decoded = encode(text)
    is_border = _borders(text, ends)
    before = np.cumsum(is_border)  # borders up to and at each position
    measures = Measures(
        documents=1, lossless=int(decoded == text), n_bytes=len(text.encode()), n_tokens=len(ends)
    )
    formulas = find_formulas(text)
    measures.formulas, measures.formula_tokens = len(formulas), _touching(formulas, ends)
    words = [match.span() for match in _WORD.finditer(_FORMULA.sub(lambda m: " " * len(m[0]), text))]
    measures.words, measures.word_tokens = len(words), _touching(words, ends)
    for start, end, command, env_end in commands(text):
        fate, cut = _fate(text, is_border, before, start, end, env_end)
        measures.commands[command] += 1
        if fate == "whole":
            measures.whole[command] += 1
        else:
            measures.crossed[command] += fate == "crossed"
            measures.cuts[command, cut] += 1
    with_command = [text[a:b] for a, b in formulas if next(commands(text[a:b]), None)]
    for formula in with_command[:: max(1, len(with_command) // FORMULAS_TRIED)]:
        measures.tried += 1
        as_written = _visible_borders(formula, encode)
        measures.respaced_same += as_written == _visible_borders(respace(formula), encode)
        renamed, old, new = rename(formula)
        measures.renamed_same += _visible_borders(formula, encode, old) == _visible_borders(
            renamed, encode, new
        )
    return measures


def find_formulas(text: str) -> list[tuple[int, int]]:
    """(start, end) of each formula, with its delimiters."""
    return [match.span() for match in _FORMULA.finditer(text) if match["formula"]]


def commands(text: str) -> Iterator[tuple[int, int, str, int]]:
    """(start, end, command, end of the whole `\\begin{env}` or else `end`) of each occurrence."""
    for match in _CONTROL.finditer(text):
        if name := match[1] or match[2]:
            end = match.start() + 1 + len(name)
            yield match.start(), end, "\\" + name, match.end()


def select(measures: Measures, keep: Callable[[str], bool]) -> Measures:
    """The counts of some commands alone."""
    return Measures(
        commands=Counter({c: n for c, n in measures.commands.items() if keep(c)}),
        whole=Counter({c: n for c, n in measures.whole.items() if keep(c)}),
        crossed=Counter({c: n for c, n in measures.crossed.items() if keep(c)}),
        cuts=Counter({(c, cut): n for (c, cut), n in measures.cuts.items() if keep(c)}),
    )


def summarise(measures: Measures) -> dict[str, float]:
    """Ratios; NaN where there is nothing to divide by."""
    occurrences = measures.commands.total()
    ways: dict[str, list[int]] = {command: [n] for command, n in measures.whole.items()}
    for (command, _), n in measures.cuts.items():
        ways.setdefault(command, []).append(n)
    return {
        "documents": measures.documents,
        "lossless": _ratio(measures.lossless, measures.documents),
        "bytes_per_token": _ratio(measures.n_bytes, measures.n_tokens),
        "tokens_per_byte": _ratio(measures.n_tokens, measures.n_bytes),
        "tokens_per_formula": _ratio(measures.formula_tokens, measures.formulas),
        "tokens_per_word": _ratio(measures.word_tokens, measures.words),
        "command_occurrences": occurrences,
        "commands_whole": _ratio(measures.whole.total(), occurrences),
        "commands_crossed": _ratio(measures.crossed.total(), occurrences),
        "entropy_bits": _ratio(sum(sum(n) * entropy_bits(n) for n in ways.values()), occurrences),
        "respaced_same": _ratio(measures.respaced_same, measures.tried),
        "renamed_same": _ratio(measures.renamed_same, measures.tried),
    }


def entropy_bits(counts: list[int]) -> float:
    """Shannon entropy of a distribution given by counts."""
    total = sum(counts)
    return -sum(n / total * math.log2(n / total) for n in counts if n)


def respace(formula: str) -> str:
    """The formula with one blank before each command where there was none, and none where there was one.

    TeX ignores both; only a control space, `\\ `, is left alone.
    """
    parts, position = [], 0
    for start, *_ in commands(formula):
        before = formula[position:start]
        bare = before.rstrip(" ")
        backslashes = len(bare) - len(bare.rstrip("\\"))
        if bare == before:
            before += " " if start else ""
        else:
            before = bare + " " if backslashes % 2 else bare  # an even number are line breaks
        parts.append(before)
        position = start
    return "".join(parts) + formula[position:]


def rename(formula: str, new: str = "\\qmacro") -> tuple[str, Spans, Spans]:
    """The formula with its most frequent command under another name, and where it stands before and after."""
    found = [(start, end, name) for start, end, name, _ in commands(formula) if name not in _ENVIRONMENT]
    names = Counter(name for *_, name in found)
    chosen = min(names, key=lambda name: (-names[name], name), default="")
    old = [(start, end) for start, end, name in found if name == chosen]
    shift = len(new) - len(chosen)
    spans = [(start + i * shift, end + (i + 1) * shift) for i, (start, end) in enumerate(old)]
    for start, end in reversed(old):
        formula = formula[:start] + new + formula[end:]
    return formula, old, spans


def _fate(
    text: str, is_border: np.ndarray, before: np.ndarray, start: int, end: int, env_end: int
) -> tuple[str, tuple[int, ...]]:
    """("whole", "crossed" or "cut", borders within the command; -1 and length + 1 for crossed ends)."""
    left = is_border[start] or (text[start - 1] == " " and is_border[start - 1])
    right = is_border[end]
    if left and any(is_border[e] and before[e] - before[start] == 1 for e in (end, env_end)):
        return "whole", ()
    cut = tuple(int(p) for p in np.flatnonzero(is_border[start + 1 : end]) + 1)
    if left and right:
        return "cut", cut
    return "crossed", (*([] if left else [-1]), *cut, *([] if right else [end - start + 1]))


def _borders(text: str, ends: np.ndarray) -> np.ndarray:
    """Whether a token ends at each position 0 … len(text); position 0 counts as an end."""
    is_border = np.zeros(len(text) + 1, dtype=bool)
    is_border[0] = True
    is_border[ends] = True
    return is_border


def _touching(spans: Spans, ends: np.ndarray) -> int:
    """Tokens that share a character with a span, summed over spans."""
    if not spans:
        return 0
    start, end = np.array(spans).T
    return int((np.searchsorted(ends, end) - np.searchsorted(ends, start, side="right") + 1).sum())


def _visible_borders(text: str, encode: Encoder, hidden: Spans = ()) -> list[bool]:
    """Whether a token ends behind each character that is not blank, nor within `hidden`."""
    is_border = _borders(text, encode(text)[0])
    visible = np.array([character != " " for character in text])
    for start, end in hidden:
        visible[start : end - 1] = False
    return is_border[1:][visible].tolist()


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
