"""Formulas written in another way say the same; prose and everything else stays as it is."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.tokenization.rewritings import (
    CHANGES,
    excerpt,
    exchange,
    renamed,
    reordered,
    respaced,
    with_names,
)

PARTS = [
    *(
        "\\alpha",
        "\\beta ",
        " \\gamma",
        "\\Gamma",
        "\\le",
        "\\frac\\alpha2",
        "\\ ",
        "\\\\",
        " \\\\[2pt]\\alpha",
    ),
    *(
        "x",
        "y_{i+1}",
        "x_1 + y^2",
        "(a+b)",
        "(\\alpha + x)",
        "\\left( a + \\beta_1\\right)",
        "2",
        "+",
        " = ",
        "a+b",
    ),
    *("\\text{if \\alpha and  $b$}", "\\mbox{ or \\emph{a {b}} }", "{", "}", "&", ",", "é"),
]
FORMULAS = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)
FORMS = st.sampled_from(["${}$", "\\[{}\\]", "\\begin{{align}}{}\\end{{align}}"])
PROSE = st.sampled_from([" a word ", "\n\n", "\\alpha in prose ", "costs \\$5 ", "\\emph{a + b} "])
TEXTS = st.lists(st.tuples(PROSE, FORMS, FORMULAS), max_size=4).map(
    lambda parts: "".join(prose + form.format(formula) for prose, form, formula in parts)
)
TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|.", re.DOTALL)


def visible(text: str) -> list[str]:
    """TeX's tokens without blanks."""
    return [token for token in TOKEN.findall(text) if token != " "]


@given(TEXTS)
def test_respaced_text_differs_in_blanks_alone(text: str) -> None:
    assert visible(respaced(text)) == visible(text)


@given(TEXTS)
def test_renaming_is_undone_by_the_inverse_names(text: str) -> None:
    names = exchange(text)
    assert sorted(names) == sorted(names.values())
    assert all(old != new for old, new in names.items())
    back = {new: old for old, new in names.items()}
    assert with_names(renamed(text), back) == text


@given(TEXTS)
def test_reordering_keeps_all_tokens_and_twice_is_nothing(text: str) -> None:
    assert Counter(TOKEN.findall(reordered(text))) == Counter(TOKEN.findall(text))
    assert reordered(reordered(text)) == text


@pytest.mark.parametrize("change", CHANGES)
def test_prose_stays(change: str) -> None:
    prose = "\\alpha \\beta (a + b) \\$ \\emph{x}"
    in_formula = "$\\text{for \\alpha and \\beta (a + b) }$"
    assert CHANGES[change](prose + in_formula) == prose + in_formula


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        pytest.param("respaced", r"$x\le \alpha$", r"$x \le\alpha$", id="blanks"),
        pytest.param("respaced", r"$a\ \alpha\\ \beta$", r"$a\ \alpha\\\beta$", id="control_space_stays"),
        pytest.param("renamed", r"$\alpha_\mu\Pi$", r"$\mu_\alpha\Pi$", id="two_letters"),
        pytest.param("renamed", r"$\alpha$ and $\alpha$", r"$\alpha$ and $\alpha$", id="one_letter_alone"),
        pytest.param("renamed", r"$\alphabet\alpha\pi$", r"$\alphabet\pi\alpha$", id="whole_names"),
        pytest.param("reordered", r"$x_i + \alpha^{2n} = 1$", r"$\alpha^{2n} + x_i = 1$", id="sum"),
        pytest.param("reordered", r"$f(a+b,c+1)$", r"$f(b+a,1+c)$", id="neighbours"),
        pytest.param("reordered", r"$1-a+b=0$", r"$1-a+b=0$", id="difference_before"),
        pytest.param("reordered", r"$a+b\le c+d-e$", r"$a+b\le c+d-e$", id="unknown_command_after"),
        pytest.param("reordered", r"$a+b+c$", r"$a+b+c$", id="three_terms"),
    ],
)
def test_cases(change: str, before: str, after: str) -> None:
    assert CHANGES[change](before) == after


def test_long_numbers_take_no_time_to_refuse() -> None:
    text = f"$({'1' * 5000} + {'2 ' * 5000}!)$"
    assert reordered(text) == text


def test_excerpt_holds_paragraphs_with_formulas_up_to_a_size() -> None:
    with_formula = "We set $\\alpha = é$ here."
    text = f"No formula.\n\n{with_formula}\n\nOnly $x$.\n \n{with_formula}\n\n{with_formula}"
    size = len(with_formula.encode()) + 2
    assert excerpt(text, 2 * size) == f"{with_formula}\n\n{with_formula}"
    assert excerpt(text, 2 * size - 1) == with_formula
    assert excerpt("", 100) == ""
