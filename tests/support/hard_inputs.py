"""Archives that are hard to read: bombs, deep nesting, what opens thousands of times and never closes.

`tests/preprocess/latex/test_hard_inputs.py` checks how each of them ends; `benchmarks/growth.py` measures how
the time of those that are kept grows with their size.
"""

import gzip
import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

from preprocess.latex.extraction.includes import MAX_INCLUDES
from tests.support.latex_cases import paper, tar_gz

SENTENCE = "The map $x_1 + \\alpha$ is \\emph{continuous} by \\cite{a} on all of $\\R$ and its closure.\n\n"
REALS = "\\newcommand{\\R}{\\mathbb{R}}"
CLEAR = b"\0\1" + bytes(7)  # code 256 of compress(1), and the rest of its group of eight codes
_NAMES = ["".join(pair) for pair in itertools.product("abcdefgh", repeat=2)]
# 64 macros, each of which uses the next one twice: \aa stands for 2^63 letters.
DOUBLING = "".join(f"\\def\\{a}{{\\{b}\\{b}}}" for a, b in itertools.pairwise(_NAMES)) + "\\def\\hh{x}"


class HardInput(NamedTuple):
    """`make(n)` gives the archive with `n` repetitions; the test uses `size` of them."""

    size: int
    make: Callable[[int], bytes]
    reason: str = ""  # why the archive is dropped at `size`; "" where it is kept


def item(body: str, preamble: str = "", encoding: str = "utf-8") -> bytes:
    """A paper of one file, packed as arXiv does."""
    return gzip.compress(paper(body, preamble).encode(encoding), 1)


def _include_each_other(n: int) -> bytes:
    inputs = "".join(f"\\input{{{i}}}" for i in range(n))
    return tar_gz({f"{i}.tex": paper(inputs).encode() for i in range(n)})


def _noise_in_chinese(n: int) -> bytes:
    head = paper("x", "\\usepackage[gb2312]{inputenc}").encode()
    return gzip.compress(head + random.Random(1).randbytes(n), 1)


# What a limit drops or cuts short: the work does not grow in proportion to the size.
LIMITED: dict[str, HardInput] = {
    "bomb_of_zeros_2_GiB": HardInput(32, lambda n: gzip.compress(bytes(64 << 20), 9) * n, "too_large"),
    "bomb_of_commands_2_GiB": HardInput(
        43, lambda n: gzip.compress(b"\\a{" * (16 << 20), 9) * n, "too_large"
    ),
    "bombs_in_a_tar": HardInput(
        20,
        lambda n: tar_gz(dict.fromkeys((f"{i}.gz" for i in range(n)), gzip.compress(bytes(256 << 20), 1))),
        "too_large",
    ),
    "text_of_240_MB": HardInput(18_000_000, lambda n: item("word $x$ % c\r" * n), "too_large"),
    "sentences_30_MB": HardInput(350_000, lambda n: item(SENTENCE * n, REALS), "too_large"),
    "backslashes_4_MB": HardInput(4_000_000, lambda n: item("\\" * n + "%"), "too_large"),
    "more_inputs_than_are_followed": HardInput(
        450_000, lambda n: tar_gz({"main.tex": paper("\\input{a}" * n).encode(), "a.tex": b"x"})
    ),
    "lzw_clear_codes": HardInput(
        400_000, lambda n: gzip.compress(b"\x1f\x9d\x90" + CLEAR * n, 1), "no_tex_source"
    ),
}

GROWING: dict[str, HardInput] = {
    # Much of something ordinary.
    "sentences": HardInput(120_000, lambda n: item(SENTENCE * n, REALS)),
    "one_long_line": HardInput(48_000, lambda n: item(SENTENCE.strip() * n, REALS)),
    "blank_lines": HardInput(4_000_000, lambda n: item("a" + "\n" * n + "b")),
    "comments": HardInput(200_000, lambda n: item("a%\na" * n)),
    "layout_commands": HardInput(200_000, lambda n: item("\\indent a" * n)),
    "coloured_text": HardInput(40_000, lambda n: item("\\textcolor{red}{a \\small b} " * n)),
    "papers_in_one_tar": HardInput(
        200, lambda n: tar_gz({f"{i}.tex": paper("word $x$ \\x\n" * 90_000).encode() for i in range(n)})
    ),
    "small_papers_in_one_tar": HardInput(
        1600, lambda n: tar_gz({f"{i}.tex": paper("word $x$ \\x\n" * 90).encode() for i in range(n)})
    ),
    "papers_that_include_each_other": HardInput(320, _include_each_other),
    "inputs_of_one_file": HardInput(
        MAX_INCLUDES, lambda n: tar_gz({"main.tex": paper("\\input{a}" * n).encode(), "a.tex": b"x"})
    ),
    "include_commands_of_the_author": HardInput(
        20_000, lambda n: tar_gz({"main.tex": paper("\\olinput{a} \\x" * n).encode(), "a.tex": b"x"})
    ),
    # Encodings.
    "wrong_encoding": HardInput(
        2_500_000, lambda n: item("café " * n, "\\usepackage[utf8]{inputenc}", "latin-1")
    ),
    "noise_in_chinese": HardInput(12 << 20, _noise_in_chinese),
    "undeclared_cyrillic": HardInput(400_000, lambda n: item("слово " * n, encoding="koi8-r")),
    "commented_declarations": HardInput(
        40_000, lambda n: item("é", "%\\usepackage[utf8]{inputenc}" * n, "latin-1")
    ),
    # Deep nesting and runs.
    "backslashes": HardInput(500_000, lambda n: item("\\" * n + "%")),
    "backslashes_before_percent_signs": HardInput(190_000, lambda n: item("\\\\%" * n + "\n")),
    "nested_braces": HardInput(160_000, lambda n: item("{" * n + "x" + "}" * n)),
    "nested_arguments": HardInput(10_000, lambda n: item("\\x{" * n + "a" + "}" * n, "\\def\\x#1{#1#1}")),
    "nested_emphasis": HardInput(100_000, lambda n: item("\\emph{" * n + "a" + "}" * n)),
    "nested_conditionals": HardInput(
        50_000, lambda n: item("\\ifx\\a\\b " * n + "\\iffalse x\\fi" + "\\fi" * n)
    ),
    "nested_colours": HardInput(20_000, lambda n: item("\\textcolor{red}{" * n + "a" + "}" * n)),
    # Opened and never closed.
    "unclosed_environments": HardInput(6000, lambda n: item("".join(f"\\begin{{e{i}}} " for i in range(n)))),
    "unclosed_figures": HardInput(60_000, lambda n: item("\\begin{figure} x " * n)),
    "figures_and_one_end": HardInput(60_000, lambda n: item("\\begin{figure} x " * n + "\\end{figure}")),
    "unclosed_captions": HardInput(
        100_000,
        lambda n: item("x \\begin{figure}\\includegraphics{a}" + "\\caption{x" * n + "\\end{figure}"),
    ),
    "unclosed_verbatim": HardInput(60_000, lambda n: item("\\begin{verbatim} x " * n)),
    "unclosed_options": HardInput(200_000, lambda n: item("\\x[" * n, "\\newcommand{\\x}[2][]{#1#2}")),
    "unclosed_iffalse": HardInput(200_000, lambda n: item("\\iffalse x " * n)),
    "unclosed_url": HardInput(200_000, lambda n: item("\\url{ x " * n)),
    "unclosed_url_on_lines": HardInput(200_000, lambda n: item("\\url{ x\n" * n)),
    "unclosed_verb": HardInput(200_000, lambda n: item("\\verb|x\n" * n)),
    "unclosed_mathematics": HardInput(100_000, lambda n: item("$x $$ y \\( \\[" * n)),
    "unclosed_expl_regions": HardInput(100_000, lambda n: item("\\ExplSyntaxOn x " * n)),
    "expl_regions": HardInput(20_000, lambda n: item("\\ExplSyntaxOn x\\ExplSyntaxOff y " * n)),
    # Macros and their definitions.
    "macros_that_double": HardInput(1000, lambda n: item("\\aa " * n, DOUBLING)),
    "macro_at_every_word": HardInput(200_000, lambda n: item("\\x a" * n, "\\def\\x#1{y#1}")),
    "line_break_as_a_macro": HardInput(400_000, lambda n: item("\\" * n, "\\def\\\\{x}")),
    "unclosed_definitions": HardInput(100_000, lambda n: item("\\newcommand{ x " * n)),
    "definitions": HardInput(
        20_000, lambda n: item("a", "".join(f"\\def\\a{_letters(i)}{{{i}}}\n" for i in range(n)))
    ),
    "definitions_in_the_body": HardInput(
        20_000, lambda n: item("".join(f"\\def\\a{_letters(i)}{{{i}}}\\a{_letters(i)} " for i in range(n)))
    ),
    "redefinitions": HardInput(50_000, lambda n: item("\\def\\x{a}\\x" * n)),
    "definitions_that_use_the_one_before": HardInput(
        4000,
        lambda n: item(
            f"\\a{_letters(n - 1)}",
            "\\def\\aa{x}" + "".join(f"\\def\\a{_letters(i)}{{\\a{_letters(i - 1)}}}" for i in range(1, n)),
        ),
    ),
    "switches": HardInput(
        2000,
        lambda n: item(
            "".join(f"\\ifs{_letters(i)} a\\fi " for i in range(n)),
            "".join(f"\\newif\\ifs{_letters(i)} " for i in range(n)),
        ),
    ),
    "macros_that_look_ahead": HardInput(
        20_000,
        lambda n: item(
            "\\f{a} \\f[b]{c} " * n,
            "\\makeatletter\\def\\f{\\@ifnextchar[{\\g}{\\h}}\\def\\g[#1]#2{#1#2}\\def\\h#1{#1}",
        ),
    ),
    "unclosed_arguments_of_a_macro_that_tests": HardInput(
        40_000, lambda n: item("\\x{" * n, "\\def\\x#1{\\ifnum 1<2 a\\fi}")
    ),
    "delimited_macro_without_its_end": HardInput(20_000, lambda n: item("\\x a" * n, "\\def\\x#1.{#1}")),
    "csname_in_itself": HardInput(2000, lambda n: item("\\x " * n, "\\def\\x{\\csname \\x \\endcsname}")),
    "csname_in_csname": HardInput(
        5000, lambda n: item("\\x ", "\\def\\x{" + "\\csname " * n + "a" + "\\endcsname" * n + "}")
    ),
    "definitions_behind_expl_regions": HardInput(
        10_000, lambda n: item("a", "\\ExplSyntaxOn\\ExplSyntaxOff\\def\\x{y}" * n)
    ),
    "expl_regions_opened_behind_the_last_end": HardInput(
        40_000, lambda n: item("a", "\\ExplSyntaxOff" + "\\ExplSyntaxOn" * n)
    ),
    "long_signature": HardInput(
        200_000, lambda n: item("\\x", "\\NewDocumentCommand{\\x}{" + "s " * n + "}{a}")
    ),
    "switches_nested_in_a_macro": HardInput(
        20_000,
        lambda n: item("\\x", "\\newif\\ifs\\strue\\def\\x{" + "\\ifs a\\else {b}" * n + "\\fi" * n + "}"),
    ),
    # Long names, and long runs of blanks inside a command.
    "long_names": HardInput(100_000, lambda n: item(f"\\{'x' * n}", f"\\def\\{'x' * n}{{y}}")),
    "long_verbatim_environment": HardInput(
        100_000, lambda n: item("a", f"\\lstnewenvironment{{{'x' * n}}}{{}}{{}}")
    ),
    "verbatim_environments_each_longer": HardInput(
        400, lambda n: item("a", "".join(f"\\lstnewenvironment{{{'x' * i}}}{{}}{{}}" for i in range(1, n)))
    ),
    "long_switch": HardInput(100_000, lambda n: item("a", f"\\newif\\if{'x' * n} \\if{'x' * n} a\\fi")),
    "switches_each_longer": HardInput(
        400, lambda n: item("a", "".join(f"\\newif\\if{'x' * i} " for i in range(1, n)))
    ),
    "long_include_command": HardInput(
        100_000,
        lambda n: tar_gz({"main.tex": paper(f"\\input{'x' * n}{{a}}").encode(), "a.tex": b"x"}),
    ),
    "include_commands_all_different": HardInput(
        8000,
        lambda n: tar_gz(
            {
                "main.tex": paper("".join(f"\\input{_letters(i)}{{a}} " for i in range(n))).encode(),
                "a.tex": b"x",
            }
        ),
    ),
    "verbatim_environments_all_different": HardInput(
        8000, lambda n: item("a", "".join(f"\\lstnewenvironment{{x{_letters(i)}}}{{}}{{}}" for i in range(n)))
    ),
    "blanks_in_a_definition": HardInput(20_000, lambda n: item("a", "\\def\\x" + " " * n + "a")),
    "blanks_in_a_signature": HardInput(
        20_000, lambda n: item("a", "\\NewDocumentCommand{\\x}{" + " " * n + "a}{b}")
    ),
    "blanks_in_an_alias": HardInput(20_000, lambda n: item("\\iffalse\\fi", "\\let\\ifx" + " " * n + "a")),
    "blanks_in_a_category_code": HardInput(
        20_000, lambda n: item("a", "\\def\\x{\\catcode`a" + " " * n + "}")
    ),
    "blanks_behind_a_package": HardInput(20_000, lambda n: item("a", "\\usepackage" + " " * n + "a")),
    "blanks_behind_a_class": HardInput(20_000, lambda n: item("a", "\\documentclass" + " " * n + "%")),
    "blanks_behind_plain_input": HardInput(20_000, lambda n: item("a", "\\input" + " " * n + "%")),
    "blanks_behind_an_environment": HardInput(
        20_000, lambda n: item("a", "\\lstnewenvironment" + " " * n + "a")
    ),
    "blanks_in_an_input": HardInput(20_000, lambda n: item("\\input{" + " " * n + "{")),
    "blanks_in_an_own_input": HardInput(20_000, lambda n: item("\\xinput{" + " " * n + "{")),
    # What an archive says of itself.
    "readme_of_blank_lines": HardInput(
        200_000, lambda n: tar_gz({"00README.XXX": b"\n" * n, "a.tex": paper("a").encode()})
    ),
    "files_that_the_readme_ignores": HardInput(
        16_000,
        lambda n: tar_gz(
            {
                "00README.XXX": b"".join(b"f%d.eps ignore\n" % i for i in range(n)),
                "a.tex": paper("a").encode(),
            }
            | {f"f{i}.eps": b"" for i in range(n)}
        ),
    ),
    "bibliographies": HardInput(
        16_000,
        lambda n: tar_gz(
            {"a.tex": paper("\\bibliography{x}" * n).encode()} | {f"f{i}.eps": b"" for i in range(n)}
        ),
    ),
    "subfiles_of_one_parent": HardInput(
        1600,
        lambda n: tar_gz(
            {f"{i}.tex": paper("a").replace("{article}", "[p]{subfiles}").encode() for i in range(n)}
            | {"p.tex": paper("".join(f"\\input{{q{i}}}" for i in range(n))).encode()}
            | {f"q{i}.tex": b"a" for i in range(300)}
        ),
    ),
}


def _letters(number: int) -> str:
    """`number` in letters, as a command's name may have them."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
