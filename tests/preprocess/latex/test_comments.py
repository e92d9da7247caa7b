"""Comments and conditionals are removed, verbatim text stays, files and documents end where TeX ends them."""

import pytest

from tests.support.latex_cases import clean, extract, normalize, paper


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("5\\% a % X", "5\\% a", id="escaped_percent_is_no_comment"),
        pytest.param("a \\\\% X\nb", "a \\\\b", id="comment_after_line_break"),
        pytest.param("a \\\\\\% X", "a \\\\\\% X", id="line_break_then_escaped_percent"),
        pytest.param("\\url{a%20b} c", "\\url{a%20b} c", id="percent_in_url"),
        pytest.param("\\href{a%20b}{T} c", "\\href{a%20b}{T} c", id="percent_in_href"),
        pytest.param("\\path{a%b} \\path|c%d|", "\\path{a%b} \\path|c%d|", id="percent_in_path"),
        pytest.param("\\verb|%| b", "\\verb|%| b", id="percent_in_verb"),
        pytest.param("\\verb*+%+ b", "\\verb*+%+ b", id="percent_in_starred_verb"),
        pytest.param("\\lstinline|%| b", "\\lstinline|%| b", id="percent_in_lstinline_bars"),
        pytest.param("\\lstinline[a=b]{%} b", "\\lstinline[a=b]{%} b", id="percent_in_lstinline_braces"),
        pytest.param("foo%\n  bar", "foobar", id="comment_joins_lines"),
        pytest.param("\\alpha%\nbar", "\\alpha bar", id="comment_glues_no_control_word"),
        pytest.param("a\n% c\nb", "a\nb", id="comment_line_is_no_paragraph"),
        pytest.param("a\n  % c\n% d\n\tb", "a\nb", id="indented_comment_lines_are_no_paragraph"),
        pytest.param("a % c\n\nb", "a\n\nb", id="paragraph_after_comment_stays"),
        pytest.param("a\n\n% c\n\nb", "a\n\nb", id="comment_between_paragraphs"),
        pytest.param("a\n\\begin{comment}\nx % \\end\n\\end{comment}\nb", "a\nb", id="comment_environment"),
        pytest.param("\\iffalse A\\ifx..\\else..\\fi B\\fi C", "C", id="iffalse_nests"),
        pytest.param("\\iffalse A\\else B\\fi", "B", id="iffalse_else"),
        pytest.param("\\iftrue A\\else B\\fi", "A", id="iftrue_else"),
        pytest.param("$a \\iff b$ \\iffalse A \\iff \\fi B", "$a \\iff b$ B", id="iff_is_no_conditional"),
        pytest.param("\\iffalse \\ifthenelse{a}{b}{c} \\fi B", "B", id="ifthenelse_is_no_conditional"),
        pytest.param("a\n\\iffalse\nx\n\\fi\nb", "a\nb", id="iffalse_on_lines_is_no_paragraph"),
        pytest.param("\\ifx\\a\\b A\\else B\\fi", "\\ifx\\a\\b A\\else B\\fi", id="unknown_condition_stays"),
        pytest.param("a \\iffalse b", "a \\iffalse b", id="unclosed_iffalse_stays"),
    ],
)
def test_comments_and_decided_conditionals_are_removed(source: str, expected: str) -> None:
    assert clean(source) == expected


@pytest.mark.parametrize(
    ("preamble", "body", "expected"),
    [
        ("", "a\n\\comment\nx\n\\endcomment\nb", "a\nb"),
        (
            "\\newenvironment{history}{\\comment}{\\endcomment}",
            "a\n\\begin{history}\nx\n\\end{history}\nb",
            "a\nb",
        ),
        ("", "a \\comment{x} b", "a \\comment{x} b"),
        ("", "a \\commented x \\endcomment", "a \\commented x \\endcomment"),
    ],
    ids=["plain_form", "environment_made_of_it", "command_of_that_name", "longer_name"],
)
def test_plain_form_of_the_comment_environment_is_removed(preamble: str, body: str, expected: str) -> None:
    assert clean(body, preamble) == expected


def test_conditional_that_would_split_a_group_stays() -> None:
    preamble = "\\newcommand{\\hide}{\\iffalse}\n\\newcommand{\\show}{\\fi}"
    assert clean("A \\hide B \\show C", preamble) == "A \\hide B \\show C"


@pytest.mark.parametrize(
    ("preamble", "body", "expected"),
    [
        ("\\newif\\ifdraft", "\\ifdraft A\\else B\\fi", "B"),
        ("\\newif\\ifdraft\\drafttrue", "\\ifdraft A\\else B\\fi", "A"),
        ("\\newif\\ifdraft\n\\drafttrue\n\\draftfalse", "\\ifdraft A\\fi C", "C"),
        ("\\let\\ifdraft\\iftrue", "\\ifdraft A\\else B\\fi", "A"),
        ("\\newif\\ifdraft", "\\iffalse x \\ifdraft y \\fi z \\fi C", "C"),
        ("", "A \\newif\\ifdraft B\\ifdraft C\\fi", "A B"),
        ("\\newif\\iffull\\newcommand{\\v}[2]{\\iffull #1\\else #2\\fi}\\fulltrue", "\\v{A}{B}", "A"),
        ("\\newif\\iffull\\fulltrue\\def\\v#1{\\iffull #1\\fi}\\fullfalse", "A \\v{B}", "A"),
        ("\\newif\\iffull\\newcommand{\\on}{\\fulltrue}", "\\iffull A\\else B\\fi", "B"),
    ],
    ids=[
        *("unset_is_false", "set_true", "set_twice", "let_to_iftrue", "counts_when_nested"),
        *("declared_in_the_body", "set_behind_the_macro_that_asks", "set_anew_behind_it", "set_by_a_macro"),
    ],
)
def test_switches_of_the_paper_are_decided(preamble: str, body: str, expected: str) -> None:
    assert clean(body, preamble) == expected


@pytest.mark.parametrize(
    "environment",
    ["verbatim", "verbatim*", "Verbatim", "lstlisting", "minted", "alltt", "BVerbatim", "spverbatim"],
)
def test_verbatim_environment_stays_as_written(environment: str) -> None:
    inside = "  50% \\R \\input{x}  \\end{document} \\iffalse\n\n\n\tb\n"
    block = f"\\begin{{{environment}}}{inside}\\end{{{environment}}}"
    assert clean(f"a\n{block}\nc \\R", "\\newcommand{\\R}{r}") == f"a\n{block}\nc r"


def test_verbatim_environment_that_the_paper_defines_stays_as_written() -> None:
    block = "\\begin{code}\na % b\n\\end{code}"
    assert clean(block, "\\lstnewenvironment{code}{}{}") == block
    assert clean(block) == "\\begin{code}\na \\end{code}"  # else an ordinary one


def test_includes_in_verbatim_text_and_comments_are_not_followed() -> None:
    files = {
        "main.tex": paper(
            "\\verb|\\input{a}| % \\input{a}\n\\begin{lstlisting}\n\\input{a}\n\\end{lstlisting}\n"
            "\\\\input{a}"
        ),
        "a.tex": "INCLUDED",
    }
    assert b"INCLUDED" not in extract(files).text


def test_endinput_ends_its_own_file_only() -> None:
    files = {"main.tex": paper("A\n\\input{a}\nB"), "a.tex": "one\n\\endinput\ntwo\n"}
    text = extract(files).text
    assert b"one" in text
    assert b"two" not in text
    assert b"B" in text


@pytest.mark.parametrize(
    "branch", ["\\endinput\\fi", "\\expandafter\\endinput\n\\fi", "\\endinput \\else\\fi"]
)
def test_endinput_in_a_conditional_ends_nothing(branch: str) -> None:
    # Macro files begin like this, so that they are loaded once: \ifx\loaded\undefined\else\endinput\fi
    text = extract(
        {"main.tex": paper("\\input{a}"), "a.tex": f"\\ifx\\loaded\\undefined\\else{branch}\ntwo\n"}
    ).text
    assert b"two" in text


def test_text_after_the_end_of_the_document_is_dropped() -> None:
    files = {"main.tex": paper("A % \\end{document}\nB") + "C\n\\end{document}\n"}
    result = extract(files)
    assert b"C" not in result.text
    assert result.removed["after_end_document"] == len("C\n\\end{document}\n")
    assert normalize(result.text).text == "A B\n"


def test_commented_begin_of_the_document_is_ignored() -> None:
    assert normalize("% \\begin{document}\nX\n" + paper("A")).text == "A\n"
