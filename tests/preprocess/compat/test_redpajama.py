"""RedPajama's cleaning of arXiv: a test for each behaviour of the published code, faults included."""

import gzip
import itertools

import pytest

from preprocess.compat import redpajama
from preprocess.pipeline.dropped import Dropped
from tests.support.compat import clean_files, clean_one, reads
from tests.support.latex_cases import tar_gz


def clean(text: str) -> str:
    cleaned = clean_one("redpajama", text)
    assert isinstance(cleaned, str), cleaned
    return cleaned


def reason(cleaned: str | Dropped) -> str:
    assert isinstance(cleaned, Dropped), cleaned
    return cleaned.reason


def test_single_files_are_read_if_they_are_gzipped() -> None:
    assert reads("redpajama", gzip.compress(b"\\section{A} text"))
    assert reads("redpajama", tar_gz({"a.tex": b"\\section{A} text"}))
    assert not reads("redpajama", b"\\section{A} text")


def test_files_are_joined_in_the_order_of_the_tar_whatever_includes_what() -> None:
    files = {
        "part.tex": "\\section{P} Part.",
        "main.tex": "\\section{M} \\input{part}",
        "b.sty": "\\section{S}",
    }
    assert clean_files("redpajama", files) == "\\section{P} Part.\n\\section{M} \\input{part}"


def test_a_file_without_a_header_leaves_an_empty_line_and_a_paper_of_them_is_dropped() -> None:
    assert clean_files("redpajama", {"a.tex": "Text.", "b.tex": "\\section{B}"}) == "\n\\section{B}"
    assert reason(clean_files("redpajama", {"a.tex": "Text.", "b.tex": "More."})) == "no_document_body"


def test_one_file_that_is_not_utf8_loses_the_paper() -> None:
    files: dict[str, str | bytes] = {"a.tex": "\\section{A}", "b.tex": b"\\section{B} caf\xe9"}
    assert reason(clean_files("redpajama", files)) == "not_utf8"


def test_suffixes_count_in_lower_case_only() -> None:
    assert reason(clean_files("redpajama", {"A.TEX": "\\section{A}"})) == "no_tex_source"


HEADERS = {
    "section": ("Title.\n\\section{A} a \\section{B}", "\\section{A} a \\section{B}"),
    "starred": ("Title.\n\\section*{A} a", "\\section*{A} a"),
    "short title": ("Title.\n\\chapter[S]{A} a", "\\chapter[S]{A} a"),
    "subsubsection": ("x \\subsubsection{A} a", "\\subsubsection{A} a"),
    "a blank before the brace is none": ("x \\section {A} a \\part{B} b", "\\part{B} b"),
    "an open one is none": ("x \\part{A} y \\section{open", "\\part{A} y \\section{open"),
    "no longer name": ("x \\sectionmark{A} a \\part{B} b", "\\part{B} b"),
    "paragraph alone is none": ("x \\paragraph{A} a \\section{B} b", "\\section{B} b"),
    "paragraph and subparagraph": (
        "x \\paragraph{A} {b}\\subparagraph{C} c",
        "\\paragraph{A} {b}\\subparagraph{C} c",
    ),
    "bracket without a group": ("x \\section[A] a \\part{B} b", "\\part{B} b"),
}


@pytest.mark.parametrize(("text", "cleaned"), HEADERS.values(), ids=HEADERS.keys())
def test_a_file_begins_at_its_first_header(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


COMMENTS = {
    "whole line": ("% gone\nkept", "kept"),
    "character before the sign": ("word% note\nnext", "wor\nnext"),
    "blank before the sign": ("word % note\nnext", "word\nnext"),
    "nothing behind the sign": ("word%\nnext", "word%\nnext"),
    "escaped": ("5\\% of it % note", "5\\% of it"),
    "escaped backslash counts as escape": ("a \\\\% note", "a \\\\% note"),
    "verbatim is not spared": ("\\verb|%| x", "\\verb"),
}


@pytest.mark.parametrize(("text", "cleaned"), COMMENTS.values(), ids=COMMENTS.keys())
def test_comments(text: str, cleaned: str) -> None:
    assert clean("\\section{A}\n" + text) == "\\section{A}\n" + cleaned


ENDS = {
    "appendix": "\\appendix More.",
    "appendix within a name": "\\appendixname More.",
    "references": "\\begin{references} R \\end{references} More.",
    "bibliography": "\\bibliography{b} More.",
    "thebibliography": "\\begin{thebibliography}{9} More.",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_everything_from_appendix_or_references_on_goes(end: str) -> None:
    assert clean(f"\\section{{A}} Text. {end} }}\n") == "\\section{A} Text. "


def test_an_open_bibliography_and_its_style_do_not_end_the_text() -> None:
    assert clean("\\section{A} \\bibliographystyle{x} \\bibliography{b") == (
        "\\section{A} \\bibliographystyle{x} \\bibliography{b"
    )


MACROS = {
    "newcommand": ("\\newcommand{\\R}{\\mathbb{R}}", "$\\R$", "$\\mathbb{R}$"),
    "starred": ("\\newcommand*{\\R}{S}", "\\R.", "S."),
    "def": ("\\def \\R {S}", "\\R.", "S."),
    "no braces": ("\\newcommand\\R{S}", "\\R.", "\\R."),
    "with argument": ("\\newcommand{\\R}[1]{S#1}", "\\R{x}", "\\R{x}"),
    "not at the end of its line": ("\\newcommand{\\R}{S} % note", "\\R.", "\\R."),
    "of several lines": ("\\newcommand{\\R}{S\n}", "\\R.", "\\R."),
    "two in a line are one": ("\\def\\R{S}\\def\\T{U}", "\\R.", "S}\\def\\T{U."),
    "longer name stays": ("\\newcommand{\\R}{S}", "\\Rn \\R1 \\R.", "\\Rn \\R1 S."),
    "one of two neighbours": ("\\newcommand{\\R}{S}", "\\R\\R.", "S\\R."),
    "at the end of the text": ("\\newcommand{\\R}{S}", "\\R", "\\R"),
    "one after the other": ("\\newcommand{\\R}{\\T!}\n\\newcommand{\\T}{U}", "\\R.", "U!."),
    "not backwards": ("\\newcommand{\\T}{U}\n\\newcommand{\\R}{\\T!}", "\\R.", "\\T!."),
    "def after newcommand": ("\\def\\R{a}\n\\newcommand{\\R}{b}", "\\R.", "a."),
}


@pytest.mark.parametrize(("preamble", "use", "cleaned"), MACROS.values(), ids=MACROS.keys())
def test_macros(preamble: str, use: str, cleaned: str) -> None:
    assert clean(f"{preamble}\n\\section{{A}} {use}") == f"\\section{{A}} {cleaned}"


def test_macros_of_one_file_are_expanded_in_all() -> None:
    files = {"main.tex": "\\section{A} \\R.", "defs.tex": "\\newcommand{\\R}{S}\n"}
    assert clean_files("redpajama", files) == "\\section{A} S.\n"


def test_a_definition_beyond_ascii_loses_the_paper() -> None:
    assert reason(clean_one("redpajama", "\\newcommand{\\e}{é}\n\\section{A} text")) == "unusual_macro"


def test_macros_that_double_drop_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redpajama, "MAX_CHARS", 1 << 20)
    names = "abcdefghijklmnopqrstuvwxyz"
    bomb = "\n".join(f"\\def\\{a}{{\\{b} \\{b} }}" for a, b in itertools.pairwise(names))
    assert reason(clean_one("redpajama", f"{bomb}\n\\section{{A}} \\a .")) == "too_large"


def test_hard_inputs_take_no_quadratic_time() -> None:
    for piece in (
        "\\section[",
        "\\paragraph{",
        "\\newcommand{\\a}{",
        "\\bibliography{",
        "%",
        "}\\subparagraph[",
    ):
        clean_one("redpajama", piece * 100_000)
