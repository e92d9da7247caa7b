"""The author's macros: every form of definition, redefinitions, and macros that would never end."""

import pytest

from tests.support.hard_inputs import DOUBLING
from tests.support.latex_cases import clean, normalize, paper


@pytest.mark.parametrize(
    ("preamble", "body", "expected"),
    [
        pytest.param(
            "\\newcommand{\\f}[2][D]{#1:#2}", "\\f{a}, \\f[b]{c}", "D:a, b:c", id="optional_argument"
        ),
        pytest.param("\\newcommand\\f[1]{<#1>}", "\\f{a} \\f b", "<a> <b>", id="name_without_braces"),
        pytest.param("\\def\\x#1{Q#1Q}", "\\x{a}, \\x b", "QaQ, QbQ", id="def_with_argument"),
        pytest.param("\\def\\x#1.#2{}", "\\x a.b", "\\x a.b", id="delimited_def_is_left_alone"),
        pytest.param("\\let\\eps\\varepsilon", "$\\eps x$", "$\\varepsilon x$", id="let_is_an_alias"),
        pytest.param("\\let\\eps=\\varepsilon", "$\\eps x$", "$\\varepsilon x$", id="let_with_equals_sign"),
        pytest.param(
            "\\DeclareMathOperator*{\\Tr}{Tr}", "$\\Tr A$", "$\\operatorname*{Tr} A$", id="operator_star"
        ),
        pytest.param("\\DeclareMathOperator{\\Tr}{Tr}", "$\\Tr A$", "$\\operatorname{Tr} A$", id="operator"),
        pytest.param("\\newenvironment{e}{A}{B}", "\\begin{e}x\\end{e}", "AxB", id="environment"),
        pytest.param(
            "\\newenvironment{e}[1]{A#1}{B}", "\\begin{e}{1}x\\end{e}", "A1xB", id="environment_argument"
        ),
        pytest.param(
            "\\newenvironment{proof}{\\textbf{P.}}{.}",
            "\\begin{proof}x\\end{proof}",
            "\\begin{proof}x\\end{proof}",
            id="environment_with_a_meaning_stays",
        ),
        pytest.param(
            "\\newcommand{\\be}{\\begin{picture}}\\newcommand{\\ee}{\\end{picture}}",
            "a\n\\be x \\ee\nb",
            "a\nb",
            id="expanded_before_environments_are_handled",
        ),
        pytest.param(
            "\\renewcommand{\\vec}[1]{\\mathbf{\\vec #1}}", "$\\vec x$", "$\\mathbf{\\vec x}$", id="one_level"
        ),
        pytest.param(
            "\\let\\old\\vec\\renewcommand{\\vec}[1]{[\\old #1]}",
            "$\\vec x$",
            "$[\\vec x]$",
            id="let_of_the_old_meaning",
        ),
        pytest.param("\\def\\a{one}\\def\\ab{two}", "\\a{} \\ab", "one two", id="longest_name"),
        pytest.param(
            "\\newcommand{\\R}{\\mathbb{R}}", "$\\R a$", "$\\mathbb{R} a$", id="blank_after_a_command"
        ),
        pytest.param(
            "\\def\\e{\\epsilon}\\def\\T#1{#1\\e}", "$\\T{x}y$", "$x\\epsilon y$", id="never_glued_after"
        ),
        pytest.param("\\def\\T#1{\\bf#1}", "\\T{x}", "\\bf x", id="never_glued_inside"),
        pytest.param("\\def\\x{y}", "\\alpha\\x", "\\alpha y", id="never_glued_before"),
        pytest.param("\\def\\T#1#2{#2,#1}", "\\T{x}{y}", "y,x", id="arguments_exchanged"),
        pytest.param("\\def\\T#1#2{<#2>}", "\\T{x}{y}", "<y>", id="argument_left_out"),
        pytest.param("\\def\\T#1{#1-#1}", "\\T{x}", "x-x", id="argument_twice"),
        pytest.param(
            "\\def\\T#1#2{#1#2}", "\\T{\\alpha}{y}", "\\alpha y", id="never_glued_between_arguments"
        ),
        pytest.param("\\def\\T#1{#1b}", "\\T{\\alpha}", "\\alpha b", id="never_glued_to_the_body"),
        pytest.param("\\newcommand{\\eg}{e.g.\\ }", "\\eg$x$", "e.g.\\ $x$", id="blank_command_at_the_end"),
        pytest.param("\\newcommand{\\eg}{e.g.\\@\\xspace}", "\\eg x", "e.g. x", id="space_factor"),
        pytest.param("\\newcommand{\\n}{no. \\#1}", "\\n x", "no. \\#1 x", id="number_sign_is_no_parameter"),
        pytest.param("\\newcommand{\\n}[1]{\\##1}", "\\n{x}", "\\#x", id="number_sign_before_a_parameter"),
        pytest.param(
            "\\def\\q{\\catcode`\\'=13 }\\newcommand{\\cf}{\\q\\tt}",
            "{\\cf x}",
            "{\\tt x}",
            id="prints_nothing",
        ),
        pytest.param("\\def\\i#1{\\write\\f{#1}}", "a\\i{b} c", "a c", id="writes_to_a_file"),
        pytest.param(
            "\\newcommand{\\R}{A}\\providecommand{\\R}{B}", "\\R", "A", id="provided_is_not_defined_again"
        ),
        pytest.param(
            "\\DeclarePairedDelimiter\\abs{\\lvert}{\\rvert}",
            "$\\abs[\\big]{x} \\abs{y}$",
            "$\\big\\lvert x \\big\\rvert \\lvert y \\rvert$",
            id="size_of_delimiters",
        ),
        pytest.param("\\def\\T#1{#1\\%}", "\\T{x}", "x\\%", id="per_cent_sign_in_the_body"),
        pytest.param("\\def\\T#1{[#1]}", "\\T{x\\%}", "[x\\%]", id="per_cent_sign_in_the_argument"),
        pytest.param("\\newcommand{\\R}{r}", "a\\\\R", "a\\\\R", id="line_break_before_a_letter"),
        pytest.param("\\newcommand{\\ie}{i.e.\\xspace}", "\\ie{} a \\ie, b", "i.e. a i.e., b", id="xspace"),
        pytest.param(
            "\\DeclarePairedDelimiter{\\n}{\\|}{\\|}", "$\\n{x}$", "$\\| x \\|$", id="paired_delimiter"
        ),
        pytest.param(
            "\\NewDocumentCommand{\\f}{O{D} m}{#1:#2}", "\\f{a} \\f[b]{c}", "D:a b:c", id="document_command"
        ),
        pytest.param("\\def\\a{\\b}\\def\\b{c}", "\\a", "c", id="defined_by_a_later_one"),
        pytest.param("\\def\\f#1{(#1)}", "\\f{\\f{\\f{a}}}", "(((a)))", id="nested_uses"),
        pytest.param("\\def\\x{a}", "\\x \\def\\x{b}\\x", "a b", id="redefined_in_the_body"),
        pytest.param("\\def\\x{\\ifmmode a\\else b\\fi}", "\\x", "\\x", id="body_that_tests_is_left_alone"),
        pytest.param(
            "\\def\\Hom{{\\operator@font Hom}}",
            "$\\Hom(a)$",
            "${\\operator@font Hom}(a)$",
            id="font_of_operators_needs_no_tex",
        ),
        pytest.param(
            "\\def\\x{\\setbox\\y=\\hbox{a}}", "\\x", "\\x", id="body_that_fills_a_box_is_left_alone"
        ),
        pytest.param("\\newcommand{\\x}[1]{#1}", "\\x\n\ny", "\\x\n\ny", id="no_argument_beyond_a_paragraph"),
        pytest.param("\\def\\x#1{<#1>}", "\\x é", "<é>", id="argument_is_a_whole_character"),
        pytest.param("\\def\\x{y}", "\\verb|\\x| \\x", "\\verb|\\x| y", id="not_inside_verb"),
        pytest.param("\\def\\<{\\langle}", "$\\<x$", "$\\langle x$", id="symbol_as_name"),
        pytest.param("% \\def\\x{z}", "\\x", "\\x", id="commented_definition"),
    ],
)
def test_macro_is_expanded(preamble: str, body: str, expected: str) -> None:
    assert clean(body, preamble) == expected


def test_definitions_in_the_body_leave_no_paragraph() -> None:
    assert clean("a\n\\newcommand{\\x}{y}\nb \\x") == "a\nb y"


def test_expansion_can_be_switched_off() -> None:
    assert clean("$\\R$", "\\newcommand{\\R}{\\mathbb{R}}", expand_macros=False) == "$\\R$"


def test_expanded_and_remaining_uses_are_counted() -> None:
    facts = normalize(paper("\\x \\x \\y a.", "\\def\\x{1}\\def\\y#1.{2}")).facts
    assert (facts["macro_uses"], facts["macros_left"], facts["left_most"]) == (3, 1, ["\\y"])


def test_long_document_is_expanded_like_a_short_one() -> None:
    body = "$\\R + \\Rx + \\alpha$ \\begin{e}t\\end{e} \\def\\z{Z}\\z\n\n"
    preamble = "\\def\\R{r}\\newenvironment{e}{A}{B}"
    short, long = clean(body, preamble), clean(body * 20_000, preamble)
    assert short == "$r + \\Rx + \\alpha$ AtB Z"
    assert long == "\n\n".join([short] * 20_000)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(paper("\\aa " * 1000, DOUBLING), id="doubling_63_times"),
        pytest.param(
            paper("\\x{" * 10_000 + "a" + "}" * 10_000, "\\def\\x#1{#1#1}"), id="doubling_arguments"
        ),
        pytest.param(paper("\\x", "\\def\\x{a\\x\\x}"), id="in_itself"),
        pytest.param(paper("\\x", "\\def\\x{\\y}\\def\\y{\\x}"), id="in_each_other"),
        pytest.param(paper("\\newcommand{" * 20_000), id="unclosed_definitions"),
        pytest.param(paper("{" * 10_000 + "\\x{a}" + "}" * 10_000, "\\def\\x#1{(#1)}"), id="nested_braces"),
        pytest.param(paper("\\def\\x{a}\\x" * 20_000), id="redefined_each_time"),
        pytest.param(paper("a" + "\\x[" * 20_000, "\\newcommand{\\x}[2][]{#1#2}"), id="unclosed_options"),
        pytest.param(paper("a" + "\\global" * 20_000), id="prefixes_of_no_definition"),
    ],
)
def test_output_of_hostile_macros_is_bounded(source: str) -> None:
    result = normalize(source)
    assert len(result.text) < 8 * len(source) + (4 << 20)
