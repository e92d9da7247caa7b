"""Proof-Pile's cleaning of arXiv: a test for each behaviour of the published code."""

import gzip

import pytest

from preprocess.pipeline.dropped import Dropped
from tests.support.compat import clean_files, clean_one, reads

LONG = "\\section{A} " + "Words of a paper. " * 20  # beyond the 280 characters that a file must have


def clean(text: str | bytes) -> str:
    cleaned = clean_one("proof_pile", text)
    assert isinstance(cleaned, str), cleaned
    return cleaned


def why_dropped(text: str) -> str:
    cleaned = clean_one("proof_pile", text)
    assert isinstance(cleaned, Dropped), cleaned
    assert cleaned.reason == "no_file_kept"
    return cleaned.detail


def test_single_files_are_read() -> None:
    assert reads("proof_pile", gzip.compress(LONG.encode()))


def test_files_stand_one_after_the_other_and_nothing_is_included() -> None:
    files = {"main.tex": f"{LONG}\\input{{part}}", "part.tex": LONG, "short.tex": "\\section{B}"}
    assert clean_files("proof_pile", files) == f"{LONG}\\input{{part}}\n\n{LONG.strip()}"


def test_a_file_that_is_not_utf8_is_latin1() -> None:
    assert clean(LONG.encode() + "é".encode("latin-1")).endswith("é")
    assert clean(LONG.encode() + "é".encode()).endswith("é")


def test_line_ends_become_line_feeds() -> None:
    assert clean(f"{LONG}\r\nnext\rlast").endswith("\nnext\nlast")


PLACES = {
    "begins at the document": (f"\\title{{T}}\n\\begin{{document}}{LONG}x", f"\\begin{{document}}{LONG}x"),
    "a file without document stays whole": (f"\\title{{T}}\n{LONG}x", f"\\title{{T}}\n{LONG}x"),
    "ends behind the document": (f"{LONG}\\end{{document}} more", f"{LONG}\\end{{document}}"),
    "ends before thebibliography": (f"{LONG}x\\begin{{thebibliography}}{{9}} \\end{{document}}", f"{LONG}x"),
    "ends before AmSTeX's references": (f"{LONG}x\\Refs more", f"{LONG}x"),
    "ends before RevTeX's references": (f"{LONG}x\n\\begin{{references}} more", f"{LONG}x"),
    "bibliography command stays": (f"{LONG}\\bibliography{{b}}", f"{LONG}\\bibliography{{b}}"),
    "bibdiv goes": (f"{LONG}a\\begin{{bibdiv}} b\n\\end{{bibdiv}}c", f"{LONG}ac"),
    "open bibdiv stays": (f"{LONG}a\\begin{{bibdiv}} b", f"{LONG}a\\begin{{bibdiv}} b"),
    "macros stay": (f"{LONG}\\newcommand{{\\R}}{{S}}\\R", f"{LONG}\\newcommand{{\\R}}{{S}}\\R"),
}


@pytest.mark.parametrize(("text", "cleaned"), PLACES.values(), ids=PLACES.keys())
def test_what_a_file_keeps(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


COMMENTS = {
    "line end stays": ("a % note\nb", "a \nb"),
    "whole line leaves an empty one": ("a\n% note\nb", "a\n\nb"),
    "escaped": ("5\\% % note", "5\\%"),
    "escaped backslash counts as escape": ("a \\\\% note", "a \\\\% note"),
    "three empty lines become two": ("a\n\n\n\n\nb", "a\n\n\nb"),
    "verbatim is not spared": ("\\verb|%| x", "\\verb|"),
}


@pytest.mark.parametrize(("text", "cleaned"), COMMENTS.values(), ids=COMMENTS.keys())
def test_comments_and_empty_lines(text: str, cleaned: str) -> None:
    assert clean(LONG + text) == LONG + cleaned


def test_the_end_is_looked_for_before_comments_go() -> None:
    assert clean(f"{LONG}a\n% \\end{{document}} old end\nb") == f"{LONG}a"


DROPPED = {
    "280 characters": ("\\section{A}" + "x" * 269, "short_file 1"),
    "no header": ("words " * 100, "file_without_header 1"),
    "blank before the brace": ("\\section {A}" + "words " * 100, "file_without_header 1"),
    "gnuplot": (f"{LONG} made with gnuplot", "file_with_gnuplot 1"),
}


@pytest.mark.parametrize(("text", "detail"), DROPPED.values(), ids=DROPPED.keys())
def test_dropped_files(text: str, detail: str) -> None:
    assert why_dropped(text) == detail


def test_281_characters_are_enough() -> None:
    assert len(clean("\\section{A}" + "x" * 270)) == 281
