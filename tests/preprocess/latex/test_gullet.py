r"""Macros that look ahead or test their arguments, xparse's argument letters, \ExplSyntaxOn regions."""

import pytest

from tests.support.latex_cases import clean, normalize, paper

AT = "\\makeatletter"


@pytest.mark.parametrize(
    ("preamble", "body", "expected"),
    [
        pytest.param(
            AT
            + "\\def\\f{\\@ifnextchar[{\\f@opt}{\\f@plain}}\\def\\f@opt[#1]#2{#2 of #1}\\def\\f@plain#1{#1}",
            "\\f{a}, \\f[b]{c}.",
            "a, c of b.",
            id="option_by_hand",
        ),
        pytest.param(
            AT + "\\def\\f{\\@ifstar{\\f@s}{\\f@n}}\\def\\f@s#1{S#1}\\def\\f@n#1{N#1}",
            "\\f{a} \\f*{b}",
            "Na Sb",
            id="star_by_hand",
        ),
        pytest.param(
            AT + "\\def\\q#1{\\forall #1\\@ifnextchar\\bgroup{.\\,\\q}{.}}",
            "$\\q{x}{y}{z} P$",
            "$\\forall x.\\,\\forall y.\\,\\forall z. P$",
            id="as_many_groups_as_there_are",
        ),
        pytest.param(
            AT + "\\def\\f{\\@testopt\\f@i{d}}\\def\\f@i[#1]#2{#1:#2}",
            "\\f{a} \\f[b]{c}",
            "d:a b:c",
            id="testopt",
        ),
        pytest.param(
            "\\NewDocumentCommand{\\f}{s m o}{#2\\IfBooleanT{#1}{!}\\IfNoValueF{#3}{(#3)}}",
            "\\f{a} \\f*{b} \\f{c}[d]",
            "a b! c(d)",
            id="star_and_option",
        ),
        pytest.param(
            "\\DeclareDocumentCommand\\f{D(){d} r<> R||{x} v +m}{#1#2#3#4#5}",
            "\\f<a>|b|{c}{e} \\f(z)<a>|b|{c}{e}",
            "dabce zabce",
            id="other_delimiters",
        ),
        pytest.param(
            "\\NewDocumentCommand{\\f}{O{x} d()}{[#1]\\IfValueT{#2}{(#2)}}",
            "\\f, \\f[y](z).",
            "[x], [y](z).",
            id="defaults",
        ),
        pytest.param(
            "\\NewDocumentCommand{\\f}{o}{\\item #1}",
            "\\f[a \\{ b \\}] c",
            "\\item a \\{ b \\} c",
            id="written_braces",
        ),
        pytest.param(
            "\\ExplSyntaxOn\n\\NewDocumentCommand { \\f } { m }"
            "{ \\tl_if_empty:nTF { #1 } { no~text } { <#1> } }"
            "\n\\ExplSyntaxOff",
            "\\f{}, \\f{a b}.",
            "no text, <a b>.",
            id="expl_body",
        ),
        pytest.param(
            "\\ExplSyntaxOn\\NewDocumentCommand{\\needs}{m}"
            "{\\clist_map_inline:nn{#1}{\\vphantom{\\ref{##1}}}"
            "\\ignorespaces}\\ExplSyntaxOff",
            "a \\needs{x, y} b",
            "a b",
            id="list_that_prints_nothing",
        ),
        pytest.param(
            "\\newcommand{\\f}[1]{\\ifx\\relax#1\\relax none\\else #1\\fi}",
            "\\f{} \\f{a}",
            "none a",
            id="empty_test",
        ),
        pytest.param(
            "\\newcommand{\\f}[2][]{#2\\ifthenelse{\\equal{#1}{}}{}{ by #1}}",
            "\\f{a}, \\f[b]{c}",
            "a, c by b",
            id="ifthenelse",
        ),
        pytest.param(
            "\\newcommand{\\f}[1]{\\ifnum#1<2 few\\else many\\fi}", "\\f{1} \\f{3}", "few many", id="number"
        ),
        pytest.param(
            "\\def\\long{0}\\def\\full{1}\\newcommand{\\ed}[1]{\\if\\full1#1\\fi}",
            "a\\ed{b}c",
            "abc",
            id="edition",
        ),
        pytest.param(
            "\\newcommand{\\f}{\\ifmmode x\\else$x$\\fi}", "\\f", "\\ensuremath{x}", id="formula_or_not"
        ),
        pytest.param(
            "\\newcommand{\\use}[1]{\\csname my#1\\endcsname}\\newcommand{\\mya}{A}",
            "\\use{a}",
            "A",
            id="csname",
        ),
        pytest.param("\\def\\TEX/{T}", "\\TEX/ a", "T a", id="fixed_delimiter"),
        pytest.param(
            "\\newcommand{\\f}[1]{\\setbox0=\\hbox{#1}\\box0}", "\\f{a}", None, id="boxes_are_left_alone"
        ),
        pytest.param(
            "\\newcommand{\\f}[1]{\\ifodd#1 a\\else b\\fi}", "\\f{1}", None, id="other_tests_are_left_alone"
        ),
    ],
)
def test_macro_is_carried_out(preamble: str, body: str, expected: str | None) -> None:
    assert clean(body, preamble) == (body if expected is None else expected)


def test_expl_region_in_the_body_is_removed_and_counted() -> None:
    region = (
        "\\ExplSyntaxOn\n\\cs_new:Npn \\my_f:n #1 {}\n\\NewDocumentCommand\\f{m}{ <#1> }\n\\ExplSyntaxOff"
    )
    result = normalize(paper(f"a\n{region}\nb \\f{{c}}"))
    assert result.text == "a\nb <c>\n"
    assert result.removed["expl_regions"] > 0
    assert result.facts["macros_left"] == 0


def test_expl_region_that_is_never_closed_stays() -> None:
    assert "text" in clean("a \\ExplSyntaxOn text")


@pytest.mark.parametrize(
    "definition",
    [
        "\\def\\x{\\@ifnextchar a\\x\\x}",
        "\\def\\x{\\@ifnextchar a{\\x\\x}{\\x\\x}}",
        "\\def\\x#1{\\@ifnextchar\\bgroup{\\x{#1#1}}{\\x{#1}{#1}}}",
        "\\NewDocumentCommand\\x{s}{\\IfBooleanTF{#1}{\\x*}{\\x}}",
        "\\def\\x#1{\\csname \\x{#1}\\endcsname}",
    ],
)
def test_macro_that_never_ends_stays(definition: str) -> None:
    source = paper("\\x{a} " * 3000, AT + definition)
    result = normalize(source)
    assert len(result.text) < 8 * len(source) + (4 << 20)
    assert result.facts["macros_left"] > 0
