"""Run 05's cleaning: a test for each behaviour of the authors' release, compared with this project's own."""

import gzip
from collections import Counter

import pytest

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.latex.authors_cleaning import clean_as_authors, is_read_by_authors, join_tex_files
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from preprocess.validate_archives import judge_item
from tests.support.latex_cases import tar_gz

MAIN = b"\\documentclass{article}\n\\begin{document}\nFirst. \\input{part}\n\nLast.\n\\end{document}\n"


def _clean(text: bytes) -> tuple[str, Counter[str]]:
    removed: Counter[str] = Counter()
    return clean_as_authors(text, removed).decode(), removed


def _ours(text: bytes) -> str:
    clean = normalize_document(text, "", "", NormalizeTextConfig())
    assert isinstance(clean, Normalized)
    return clean.text


def test_single_file_papers_are_dropped() -> None:
    assert not is_read_by_authors(judge_item(gzip.compress(MAIN), 1 << 20)[0])
    assert not is_read_by_authors(judge_item(MAIN, 1 << 20)[0])
    assert is_read_by_authors(judge_item(tar_gz({"main.tex": MAIN}), 1 << 20)[0])


def test_tex_files_are_joined_in_the_order_of_the_tar() -> None:
    item = tar_gz({"part.tex": b"Middle.\n", "main.tex": MAIN, "fig.eps": b"%!PS", "old.tex": b"Draft.\n"})
    joined = extract_paper(item, "p.tex", ExtractLatexConfig(authors=True))
    ours = extract_paper(item, "p.tex", ExtractLatexConfig())
    assert isinstance(joined, Extracted)
    assert isinstance(ours, Extracted)
    assert joined.text == b"Middle.\n\n" + MAIN + b"\nDraft.\n"
    assert ours.text.count(b"Middle.") == 1
    assert ours.text.index(b"First.") < ours.text.index(b"Middle.") < ours.text.index(b"Last.")
    assert b"Draft." not in ours.text
    assert joined.bytes_in == len(joined.text) + joined.removed.total()


def test_tar_without_tex_is_dropped() -> None:
    assert join_tex_files({"a.eps": memoryview(b"%!PS")}) == Dropped("no_tex_source", "a.eps")


def test_text_after_an_escaped_percent_sign_is_deleted() -> None:
    text = b"A gain of 5\\% was seen. % note\nThen more.\n"
    assert _clean(text)[0] == "A gain of 5\\ Then more."
    assert "5\\% was seen." in _ours(text)


def test_paragraph_breaks_are_destroyed() -> None:
    text = b"One.\n\nTwo.\n\n\n  Three.\n"
    assert _clean(text)[0] == "One. Two. Three."
    assert _ours(text) == "One.\n\nTwo.\n\nThree.\n"


def test_figures_are_removed_and_preamble_and_macros_stay() -> None:
    text = b"\\newcommand{\\R}{R}\\begin{figure}[h]X\\end{figure} $\\R$ \\begin{figure*}Z\\end{figure*}"
    assert _clean(text)[0] == "\\newcommand{\\R}{R} $\\R$"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b"a \\begin{figure} b", "a \\begin{figure} b"),
        (b"a \\begin{figure} \\begin{figure*} b \\end{figure*} c", "a \\begin{figure} c"),
        (b"a \\end{figure} \\begin{figure} b", "a \\end{figure} \\begin{figure} b"),
    ],
    ids=["open", "other-inside", "end-first"],
)
def test_figure_that_is_never_closed_stays(text: bytes, clean: str) -> None:
    assert _clean(text)[0] == clean


def test_removed_bytes_add_up() -> None:
    text = b"a % c\n\n\\begin{figure}x\\end{figure}\n b\n"
    clean, removed = _clean(text)
    assert len(text) == len(clean) + removed.total()


def test_unclosed_figures_stay() -> None:
    assert _clean(b"\\begin{figure} x\n" * 80_000)[0].count("figure") == 80_000
