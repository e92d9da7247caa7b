r"""Colours, sizes, skips, phantoms, `\par` and last line breaks are removed from prose, not from formulas."""

import pytest

from tests.support.latex_cases import clean, normalize, paper


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("a {\\color{gray} b} c", "a { b} c", id="colour"),
        pytest.param("a \\color[rgb]{0,0,1} b", "a b", id="colour_model"),
        pytest.param("a \\textcolor{red}{b \\textcolor{blue}{c}} d", "a b c d", id="coloured_text_stays"),
        pytest.param("a\\colorbox[gray]{.9}{b}c", "abc", id="coloured_box"),
        pytest.param("a\\par b", "a\n\nb", id="paragraph"),
        pytest.param("a\\hspace{1cm}b\\hspace*{2em}c", "a b c", id="skip_is_a_blank"),
        pytest.param("a\\_\\hspace{0.3mm}b\\hspace{-1em}c", "a\\_bc", id="kerning_is_nothing"),
        pytest.param("a \\hskip 1em plus 2pt b", "a b", id="skip_without_braces"),
        pytest.param("a \\phantom{xx}\\vphantom{y} b", "a b", id="phantom"),
        pytest.param("{\\small a} {\\Large b}", "{ a} { b}", id="size"),
        pytest.param("{\\fontsize{9}{11}\\selectfont a}", "{ a}", id="size_in_points"),
        pytest.param("a\n\\small\nb", "a\nb", id="a_line_of_its_own_is_no_paragraph"),
        pytest.param("a b\\\\\n\nc\\\\[2pt]\n\nd", "a b\n\nc\n\nd", id="break_at_the_end_of_a_paragraph"),
        pytest.param("a\n\\\\\n\nb", "a\n\nb", id="break_on_a_line_of_its_own"),
        pytest.param(
            "\\begin{figure}\n\\includegraphics{f}\n\\caption{\\small A $\\hspace{1em}$.}\n\\end{figure}",
            "\\begin{figure}\n\\caption{ A $\\hspace{1em}$.}\n\\end{figure}",
            id="caption_of_a_picture",
        ),
        pytest.param("a\n  \\phantom{b}\\phantom{c}\n  d", "a\nd", id="several_on_a_line_are_no_paragraph"),
        pytest.param("a\\\\\nb", None, id="break_inside_a_paragraph_stays"),
        pytest.param(
            "\\begin{tabular}{l}\na \\\\\n\nb \\\\\n\\end{tabular}", None, id="break_of_a_row_stays"
        ),
        pytest.param("a & b \\\\\n\nc", None, id="break_behind_a_column_stays"),
        pytest.param("$a \\hspace{1em} \\color{red} b \\phantom{x}$", None, id="formula"),
        pytest.param("\\[ a \\textcolor{red}{b} \\small \\]", None, id="displayed_formula"),
        pytest.param("\\begin{align*}\na &= \\hspace{1em} b\n\\end{align*}", None, id="environment"),
        pytest.param("$$ a \\text{ if $b$} \\hspace{1em} c $$", None, id="text_in_a_formula"),
        pytest.param("$a$ \\small b $c \\phantom{d}$", "$a$ b $c \\phantom{d}$", id="between_formulas"),
        pytest.param("5\\$ \\small a", "5\\$ a", id="written_dollar"),
        pytest.param("5$ a\n\n\\small b", "5$ a\n\nb", id="formula_ends_with_its_paragraph"),
        pytest.param("\\verb|\\small| a", None, id="verbatim"),
        pytest.param("\\parbox{1cm}{a} \\smaller b", None, id="longer_names"),
    ],
)
def test_layout_is_removed_from_prose_only(body: str, expected: str | None) -> None:
    assert clean(body) == (body if expected is None else expected)


def test_layout_from_a_macro_is_removed_and_counted() -> None:
    result = normalize(paper("a \\todo{b} c", "\\newcommand{\\todo}[1]{{\\color{red}\\footnotesize #1}}"))
    assert result.text == "a { b} c\n"
    assert result.removed["prose_layout"] > 0
