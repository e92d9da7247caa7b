"""peS2o's description of its papers: a test for each rule that LaTeX lets us apply."""

from collections import Counter

import pytest

from preprocess.compat.pes2o import to_paragraphs
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import paper

WORDS = "every bounded sequence has a limit which depends continuously on the data and its proof is short "
PARAGRAPH = WORDS * 8  # 136 words
BODY = "\n\n".join([PARAGRAPH] * 5)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a body before the five of BODY; checks that the bytes balance."""
    removed = Counter[str]()
    body = f"{text}\n\n{BODY}"
    plain = to_paragraphs(body, "Title", "Abstract.", removed)
    assert isinstance(plain, str), plain
    assert len(body.encode()) == len(plain.encode()) + removed.total()
    return plain.rstrip("\n").split("\n\n")[:-5]


def reason(text: str, title: str = "Title", abstract: str = "Abstract.") -> str:
    dropped = to_paragraphs(text, title, abstract, Counter())
    assert isinstance(dropped, Dropped), dropped
    return dropped.reason


KEPT = {
    "header above its paragraph": ("\\section{A \\emph{new} way}\n\nSome text.", ["A new way\nSome text."]),
    "line ends are blanks": ("One\ntwo.\n\nThree.", ["One two.", "Three."]),
    "inline formulas are letters": ("Let $x_1$ be \\(y\\).", ["Let x_1 be y ."]),
    "displays go": (
        "We have\n\\[ a = b \\]\nand $$c$$ so\n\\begin{align}d\\end{align} on.",
        ["We have and so on."],
    ),
    "a paragraph of formulas goes": ("One.\n\n\\[ a \\]\n\nTwo.", ["One.", "Two."]),
    "citations and labels go": ("As \\cite[p. 2]{x} says\\label{l} in \\ref{l}.", ["As says in ."]),
    "environments are text": ("\\begin{theorem}It holds.\\end{theorem}", ["It holds."]),
}


@pytest.mark.parametrize(("text", "expected"), KEPT.values(), ids=KEPT.keys())
def test_paragraphs(text: str, expected: list[str]) -> None:
    assert paragraphs(text) == expected


DROPPED = {
    "no title": ("no_abstract", BODY, "", "Abstract."),
    "no abstract": ("no_abstract", BODY, "Title", " "),
    "four paragraphs": ("few_paragraphs", "\n\n".join([PARAGRAPH] * 4), "Title", "Abstract."),
    "fewer than 500 words": ("too_short", "\n\n".join([WORDS] * 5), "Title", "Abstract."),
    "one word too often": ("odd_word", BODY + " the" * 100, "Title", "Abstract."),
    "most frequent word is a number": ("odd_word", BODY + " 12" * 55, "Title", "Abstract."),
}


@pytest.mark.parametrize(("why", "text", "title", "abstract"), DROPPED.values(), ids=DROPPED.keys())
def test_dropped(why: str, text: str, title: str, abstract: str) -> None:
    assert reason(text, title, abstract) == why


def test_title_and_abstract_stand_in_front_of_this_projects_clean_text() -> None:
    config = NormalizeTextConfig.model_validate({"compat": "pes2o", "figures": "drop"})
    body = "\\newcommand{\\R}{real}\\begin{figure}F\\end{figure}Some \\R{} text.\n\n" + BODY
    clean = normalize_document(paper(body).encode(), "A title", "An abstract.", config)
    assert isinstance(clean, Normalized)
    assert clean.text.startswith("A title\n\nAn abstract.\n\nSome real text.\n\nevery bounded")
    assert len(paper(body).encode()) == len(clean.text.encode()) + clean.removed.total()
