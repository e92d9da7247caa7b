"""Clean text: what stands at its head, what stays, what goes, and that every byte is accounted for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.latex.core import wasm as core
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import clean, normalize, paper

FIGURE = (
    "\\begin{figure}[t]\n\\centering\\includegraphics{a}\n\\caption[s]{A {b} $c$.}\\label{f}\n\\end{figure}"
)
TABLE = "\\begin{table}\n\\caption{T.}\n\\begin{tabular}{l}\na & b \\\\\n\\end{tabular}\n\\end{table}"
STEPS = "\\begin{algorithmic}\n\\State $x$\n\\end{algorithmic}"
ALGORITHM = f"\\begin{{algorithm}}[t]\n\\caption{{Sort.}}\n{STEPS}\n\\end{{algorithm}}"
REFERENCES = "\\begin{thebibliography}{9}\\bibitem{x} A. Author.\\end{thebibliography}"


def test_title_and_abstract_come_first() -> None:
    source = paper(
        "\\maketitle\n\\begin{abstract}Own.\\end{abstract}\nBody.", "\\title{T}\\author{A}"
    ).encode()
    result = normalize_document(source, "A\n  title", "  First\nline.\n  Second.\n", NormalizeTextConfig())
    assert isinstance(result, Normalized)
    assert result.text == "A title\n\nFirst\nline.\n\nSecond.\n\nBody.\n"
    assert len(source) == len(result.text.encode()) + sum(result.removed.values())


def test_front_matter_stays_where_the_metadata_has_none() -> None:
    assert "Own." in clean("\\begin{abstract}Own.\\end{abstract}\nBody.")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("a  b\t c \n  d\n \n\n\n e", "a b c\nd\n\ne", id="blanks_and_paragraphs"),
        pytest.param(
            "\\section{S}\\label{s}\n\nSee \\ref{s}, \\cite{x}.", None, id="sections_labels_citations_stay"
        ),
        pytest.param(
            "$a_1$ \\[ \\frac{1}{2} \\hspace{1em} x \\] \\(y\\) $$z$$", None, id="mathematics_verbatim"
        ),
        pytest.param("\\begin{theorem}[N]\nx\n\\end{theorem}", None, id="theorem"),
        pytest.param("a\\footnote{b} c", None, id="footnote"),
        pytest.param(
            "a\n\n\\vskip\\baselineskip\n\n\\section{R}\nb", "a\n\n\\section{R}\nb", id="skip_by_a_register"
        ),
        pytest.param("\\vskip 0.5\\baselineskip\n\\cite{a} b", "\\cite{a} b", id="skip_by_half_a_register"),
        pytest.param("\\hbox to \\hsize{\\hfil a}", None, id="register_before_a_group"),
        pytest.param("\\kern\\parindent 3 apples", None, id="register_before_a_number"),
        pytest.param("\\begin{minipage}{\\textwidth-1cm}a\\end{minipage}", None, id="register_in_a_sum"),
        pytest.param("\\parskip=3pt plus 1pt a", "a", id="assignment"),
        pytest.param("{\\leftskip0pt a}", "{ a}", id="assignment_without_a_sign"),
        pytest.param("\\hsize=0.9\\textwidth a", "a", id="assignment_of_a_register"),
        pytest.param("\\headline={\\hfil x} \\tolerance 1000 a", "a", id="assignment_of_groups_and_numbers"),
        pytest.param("a\n\\noindent\nb", "a\nb", id="command_on_its_own_line_is_no_paragraph"),
        pytest.param("\\vspace*{1cm} a \\setlength{\\parskip}{0pt} b", "a b", id="layout"),
        pytest.param("\\parskip=3pt plus 1pt a \\magnification=\\magstep1 b", "a b", id="assignments"),
        pytest.param("a\\\\noindent b", None, id="line_break_before_a_name"),
        pytest.param("\\indentation a \\titlecase{b}", None, id="longer_names"),
        pytest.param("a \\begin{tikzpicture}\\draw (0,0);\\end{tikzpicture} b", "a b", id="drawing"),
        pytest.param("a\x00\x07b", "ab", id="control_characters"),
        pytest.param("a\u2581b", "a\u2582b", id="sentencepiece_space"),
        pytest.param("e\u0301", "é", id="nfc"),
        pytest.param("\\verb|a  b|", None, id="blanks_in_verb"),
    ],
)
def test_the_body_is_found_and_cleaned(body: str, expected: str | None) -> None:
    assert clean(body) == (body if expected is None else expected)


@pytest.mark.parametrize(
    ("options", "body", "expected"),
    [
        ({}, FIGURE, "\\begin{figure}\n\\caption{A {b} $c$.}\n\\label{f}\n\\end{figure}"),
        ({"figures": "drop"}, f"a\n{FIGURE}\nb", "a\nb"),
        (
            {},
            "\\begin{figure}\nx $y$\n\\caption{C.}\n\\end{figure}",
            "\\begin{figure}\nx $y$\n\\caption{C.}\n\\end{figure}",
        ),
        ({}, TABLE, TABLE),
        ({"tables": "captions"}, TABLE, "\\begin{table}\n\\caption{T.}\n\\end{table}"),
        ({"tables": "drop"}, f"a\n{TABLE}\nb", "a\nb"),
        ({}, ALGORITHM, ALGORITHM),
        ({"algorithms": "captions"}, ALGORITHM, "\\begin{algorithm}\n\\caption{Sort.}\n\\end{algorithm}"),
        ({"algorithms": "drop"}, f"a\n{ALGORITHM}\nb", "a\nb"),
        ({}, f"a\n{REFERENCES}", "a"),
        ({"bibliography": "keep"}, REFERENCES, REFERENCES),
    ],
    ids=[
        "figure_is_its_caption",
        "figure_dropped",
        "figure_of_text_stays",
        "table_stays",
        "table_is_its_caption",
        "table_dropped",
        "algorithm_stays",
        "algorithm_is_its_caption",
        "algorithm_dropped",
        "bibliography_dropped",
        "bibliography_kept",
    ],
)
def test_floats_and_bibliography(options: dict[str, str], body: str, expected: str) -> None:
    assert clean(body, **options) == expected


@given(st.text("a \t\n", max_size=40).map(str.encode))
def test_blanks_are_tidied_as_line_by_line(text: bytes) -> None:
    """Each line is stripped and keeps one blank for several; at most one line in a row is empty."""
    lines = [b" ".join(line.split()) for line in text.split(b"\n")]
    expected = re.sub(rb"\n{3,}", b"\n\n", b"\n".join(lines)).strip() + b"\n"
    tidied = core.clean(text)
    assert tidied.text == expected
    assert tidied.removed["white_space"] == len(text) - len(expected)


def test_raw_is_the_source_as_it_is() -> None:
    source = paper("a % b\n\\R", "\\def\\R{r}")
    assert normalize(source, raw=True).text == source


def test_a_paper_with_no_text_left_is_dropped() -> None:
    result = normalize_document(paper("% x").encode(), "T", "A", NormalizeTextConfig())
    assert isinstance(result, Dropped)
    assert result.reason == "no_document_body"


WORDS = r"""
a é { } [ ] $ % \ \\ & # \x \x{ \newcommand{\x}[1]{ \def\x{ \begin{figure} \end{figure} \begin{verbatim}
\end{verbatim} \iffalse \fi \else \newif\ifx \caption{ \verb| \url{ \item \begin{document} \end{document}
\let\x\y \vspace{ \parskip=1pt \bibliography{a} \newenvironment{e} \includegraphics{f} \topmatter
\endtopmatter \title{t} \begin{table}
""".split()
PIECES = st.lists(st.sampled_from([*WORDS, "\n", "\n\n", "\t", " "]), max_size=60)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.booleans())
def test_any_text_is_balanced(pieces: list[str], in_document: bool) -> None:
    body = "".join(pieces)
    source = (paper(body) if in_document else body).encode()
    result = normalize_document(source, "T", "A", NormalizeTextConfig())
    if isinstance(result, Normalized):
        assert len(source) == len(result.text.encode()) + sum(result.removed.values())
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", result.text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_balanced(data: bytes) -> None:
    source = data.decode("latin-1").encode()
    result = normalize_document(source, "", "", NormalizeTextConfig())
    if isinstance(result, Normalized):
        assert len(source) == len(result.text.encode()) + sum(result.removed.values())


def test_characters_that_print_nothing_are_removed_everywhere() -> None:
    result = normalize_document(
        "a\0\x07\x85\ufeff b".encode(), "T\0\x9f", "A\x01\ufffe", NormalizeTextConfig()
    )
    assert isinstance(result, Normalized)
    assert result.text == "T\n\nA\n\na b\n"
    head_bytes = -result.removed["title_and_abstract"]
    assert head_bytes > 0


def test_each_space_mark_is_counted() -> None:
    removed = normalize(paper("a\u2581b \u2581 c")).removed
    assert (removed["space_marks"], removed["space_mark_substitutes"]) == (6, -6)
