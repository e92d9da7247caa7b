"""What is made to be hard: each is done or dropped within 5 s of one core and 1 GB of memory."""

import gzip
import itertools
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.normalize_text import NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import paper, tar_gz

MAX_S, MAX_BYTES = 5, 1 << 30
ORDINARY = "The map $x_1 + \\alpha$ is \\emph{continuous} by \\cite{a} on all of $\\R$ and its closure.\n\n"
REAL = "\\newcommand{\\R}{\\mathbb{R}}"
NAMES = ["".join(pair) for pair in itertools.product("abcdefgh", repeat=2)]
CLEAR = b"\0\1" + bytes(7)  # code 256 of compress(1), and the rest of its group
DOUBLING = "".join(f"\\def\\{a}{{\\{b}\\{b}}}" for a, b in itertools.pairwise(NAMES)) + "\\def\\hh{x}"


def item(body: str, preamble: str = "", encoding: str = "utf-8") -> bytes:
    """A paper as arXiv packs one file."""
    return gzip.compress(paper(body, preamble).encode(encoding), 1)


@contextmanager
def limited_memory() -> Iterator[None]:
    """At most MAX_BYTES more than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


HARD: dict[str, tuple[Callable[[], bytes], str]] = {
    # name: (item, reason of the drop or "")
    "bomb_of_2_GiB": (lambda: gzip.compress(b"\0" * (64 << 20), 9) * 32, "too_large"),
    "bomb_of_commands": (lambda: gzip.compress(b"\\a{" * (16 << 20), 9) * 43, "too_large"),
    "text_of_240_MB": (lambda: item("word $x$ % c\r" * 18_000_000), "too_large"),
    "200_papers_in_one": (
        lambda: tar_gz({f"{i}.tex": paper("word $x$ \\x\n" * 90_000).encode() for i in range(200)}),
        "",
    ),
    "file_of_30_MB": (lambda: item(ORDINARY * 350_000, REAL), "too_large"),
    "file_of_11_MB": (lambda: item(ORDINARY * 120_000, REAL), ""),
    "line_of_4_MB": (lambda: item(ORDINARY.strip() * 48_000, REAL), ""),
    "4_MB_of_backslashes": (lambda: item("\\" * 4_000_000 + "%"), "too_large"),
    "braces_10_000_deep": (lambda: item("{" * 10_000 + "x" + "}" * 10_000), ""),
    "arguments_10_000_deep": (lambda: item("\\x{" * 10_000 + "a" + "}" * 10_000, "\\def\\x#1{#1#1}"), ""),
    "environments_6_000_unclosed": (lambda: item("".join(f"\\begin{{e{i}}} " for i in range(6000))), ""),
    "figures_6_000_unclosed": (lambda: item("\\begin{figure} x " * 6000), ""),
    "verbatim_6_000_unclosed": (lambda: item("\\begin{verbatim} x " * 6000), ""),
    "captions_100_000_unclosed": (
        lambda: item("x \\begin{figure}\\includegraphics{a}" + "\\caption{x" * 100_000 + "\\end{figure}"),
        "",
    ),
    "macros_that_double": (lambda: item("\\aa " * 1000, DOUBLING), ""),
    "macro_at_every_word": (lambda: item("\\x a" * 550_000, "\\def\\x#1{y#1}"), ""),
    "options_unclosed": (lambda: item("\\x[" * 550_000, "\\newcommand{\\x}[2][]{#1#2}"), ""),
    "definitions_unclosed": (lambda: item("\\newcommand{ x " * 20_000), ""),
    "comments": (lambda: item("a%\na" * 450_000), ""),
    "inputs_of_one_file": (
        lambda: tar_gz({"main.tex": paper("\\input{a}" * 450_000).encode(), "a.tex": b"x"}),
        "",
    ),
    "layout": (lambda: item("\\indent a" * 450_000), ""),
    "wrong_encoding": (
        lambda: item("café " * 2_500_000, "\\usepackage[utf8]{inputenc}", "latin-1"),
        "",
    ),
    "noise_in_chinese": (
        lambda: gzip.compress(
            paper("x", "\\usepackage[gb2312]{inputenc}").encode() + random.Random(1).randbytes(12 << 20), 1
        ),
        "",
    ),
    "figures_8_000_and_one_end": (lambda: item("\\begin{figure} x " * 8000 + "\\end{figure}"), ""),
    "line_break_as_a_macro": (lambda: item("\\" * 400_000, "\\def\\\\{x}"), ""),
    "400_papers_that_include_each_other": (
        lambda: tar_gz(
            {f"{i}.tex": paper("".join(f"\\input{{{j}}}" for j in range(400))).encode() for i in range(400)}
        ),
        "",
    ),
    "20_bombs_in_a_tar": (
        lambda: tar_gz(dict.fromkeys((f"{i}.gz" for i in range(20)), gzip.compress(bytes(256 << 20), 1))),
        "too_large",
    ),
    "clear_codes": (lambda: gzip.compress(b"\x1f\x9d\x90" + CLEAR * 400_000, 1), "no_tex_source"),
    "20_000_unclosed_iffalse": (lambda: item("\\iffalse x " * 20_000), ""),
    "20_000_unclosed_url": (lambda: item("\\url{ x " * 20_000), ""),
    "20_000_unclosed_url_on_lines": (lambda: item("\\url{ x\n" * 20_000), ""),
    "20_000_unclosed_verb": (lambda: item("\\verb|x\n" * 20_000), ""),
    "20_000_unclosed_math": (lambda: item("$x $$ y \\( \\[" * 20_000), ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_is_done_or_dropped_in_time_and_memory(name: str) -> None:
    make, why = HARD[name]
    packed = make()
    start = time.process_time()
    with limited_memory():
        result = extract_paper(packed, "paper.tex", ExtractLatexConfig.model_validate({}))
        if isinstance(result, Extracted):
            clean = normalize_document(result.text, "T", "A", NormalizeTextConfig.model_validate({}))
            del clean
    seconds = time.process_time() - start
    print(f"{name}: {seconds:.2f} s")
    assert seconds < MAX_S
    assert (result.reason if isinstance(result, Dropped) else "") == why
