"""Run 05's cleaning: a test for each behaviour of the authors' release, compared with this project's own."""

import gzip
from collections import Counter

import pytest

from preprocess.compat.authors import clean_as_authors
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.compat import clean_files, clean_one, reads
from tests.support.latex_cases import extract, tar_gz

MAIN = "\\documentclass{article}\n\\begin{document}\nFirst. \\input{part}\n\nLast.\n\\end{document}\n"


def _ours(text: str) -> str:
    clean = normalize_document(text.encode(), "", "", NormalizeTextConfig())
    assert isinstance(clean, Normalized)
    return clean.text


def test_single_file_papers_are_dropped() -> None:
    assert not reads("authors", gzip.compress(MAIN.encode()))
    assert not reads("authors", MAIN.encode())
    assert reads("authors", tar_gz({"main.tex": MAIN.encode()}))


def test_tex_files_are_joined_in_the_order_of_the_tar() -> None:
    files = {"part.tex": "Middle.\n", "main.tex": MAIN, "fig.eps": "%!PS", "old.tex": "Draft.\n"}
    joined = clean_files("authors", files)
    assert joined == f"Middle. {' '.join(MAIN.split())} Draft."
    ours = extract(files).text
    assert ours.count(b"Middle.") == 1
    assert ours.index(b"First.") < ours.index(b"Middle.") < ours.index(b"Last.")
    assert b"Draft." not in ours


def test_tar_without_tex_is_dropped() -> None:
    dropped = clean_files("authors", {"a.eps": "%!PS"})
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, dropped.detail) == ("no_tex_source", "a.eps")


def test_text_after_an_escaped_percent_sign_is_deleted() -> None:
    text = "A gain of 5\\% was seen. % note\nThen more.\n"
    assert clean_one("authors", text) == "A gain of 5\\ Then more."
    assert "5\\% was seen." in _ours(text)


def test_paragraph_breaks_are_destroyed() -> None:
    text = "One.\n\nTwo.\n\n\n  Three.\n"
    assert clean_one("authors", text) == "One. Two. Three."
    assert _ours(text) == "One.\n\nTwo.\n\nThree.\n"


def test_figures_are_removed_and_preamble_and_macros_stay() -> None:
    text = "\\newcommand{\\R}{R}\\begin{figure}[h]X\\end{figure} $\\R$ \\begin{figure*}Z\\end{figure*}"
    assert clean_one("authors", text) == "\\newcommand{\\R}{R} $\\R$"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a \\begin{figure} b", "a \\begin{figure} b"),
        ("a \\begin{figure} \\begin{figure*} b \\end{figure*} c", "a \\begin{figure} c"),
        ("a \\end{figure} \\begin{figure} b", "a \\end{figure} \\begin{figure} b"),
    ],
    ids=["open", "other-inside", "end-first"],
)
def test_figure_that_is_never_closed_stays(text: str, clean: str) -> None:
    assert clean_one("authors", text) == clean


def test_many_unclosed_figures_stay() -> None:
    assert clean_as_authors(b"\\begin{figure} x\n" * 80_000, Counter()).count(b"figure") == 80_000
