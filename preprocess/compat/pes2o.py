r"""Write a clean paper as peS2o writes the papers of S2ORC, as far as LaTeX allows.

peS2o (Dolma's part of papers) reads PDFs with Grobid, so nothing here can equal it byte for byte. What its
description asks for: title and abstract, then headers and paragraphs of plain text; no figures, tables,
displayed formulas, references; at least 5 paragraphs and 500 words between blanks; the most frequent word
consists of letters and makes up less than 7.5 % of the words. English is left to filter_quality. Two rules
are not applied: papers before 1970 (arXiv has none), and the mean log-probability of a section's words in a
list of English words that is not at hand here.
"""

import re
from collections import Counter

from preprocess.compat.source import counted
from preprocess.latex.plain_text import strip_commands, without_displays
from preprocess.pipeline.dropped import Dropped

MIN_PARAGRAPHS, MIN_WORDS = 5, 500
MAX_SHARE = 0.075  # of the most frequent word

_HEADER = re.compile(
    r"\s*\\(?:(?:sub){0,2}section|chapter|part|(?:sub)?paragraph)\*?\{((?:[^{}]|\{[^{}]*\}){0,500})\}\s*"
)
_NO_TEXT = re.compile(
    r"\\(?:cite[A-Za-z]*|(?:eq|page|auto|c|C)?ref|label)\*?(?:\[[^\[\]]{0,200}\]){0,2}\{[^{}]{0,2000}\}"
)
_BETWEEN = re.compile(r"\n[ \t]*\n\s*")
_LETTER = re.compile(r"[^\W\d_]")


def to_paragraphs(text: str, title: str, abstract: str, removed: Counter[str]) -> str | Dropped:
    """The paragraphs of a clean body (LaTeX), with an empty line between two, or why the paper is dropped."""
    if not title.strip() or not abstract.strip():
        return Dropped("no_abstract", "peS2o takes papers with title and abstract")
    marked = _HEADER.sub("\n\n\\1\0", text)  # NUL ends a header; clean text holds none
    paragraphs = [_plain(paragraph) for paragraph in _BETWEEN.split(marked)]
    paragraphs = [paragraph for paragraph in paragraphs if _LETTER.search(paragraph)]
    if len(paragraphs) < MIN_PARAGRAPHS:
        return Dropped("few_paragraphs", f"{len(paragraphs)} paragraphs")
    joined = "\n\n".join(paragraphs) + "\n"
    words = f"{title} {abstract} {joined}".split()
    if len(words) < MIN_WORDS:
        return Dropped("too_short", f"{len(words)} words")
    word, n_uses = Counter(words).most_common(1)[0]
    if not word.isalpha() or n_uses >= MAX_SHARE * len(words):
        return Dropped("odd_word", f"{word[:50]}: {n_uses} of {len(words)} words")
    return counted(text, joined, "plain_text", removed)


def _plain(paragraph: str) -> str:
    """A paragraph without LaTeX on one line, its header on a line before it."""
    plain = strip_commands(_NO_TEXT.sub("", without_displays(paragraph))).replace("$", " ")
    return "\n".join(" ".join(part.split()) for part in plain.split("\0")).strip()
