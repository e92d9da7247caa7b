r"""Commands that make one text of several files are found outside comments and verbatim text."""

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.latex.core import wasm
from preprocess.latex.core.wasm import find_commands
from preprocess.latex.lexer import escaped
from preprocess.pipeline.dropped import Dropped
from tests.support.comments import comments
from tests.support.latex_cases import extract, paper, tar_gz, try_extract
from tests.support.verbatim import verbatim_spans

NAMES = (rb"\input", rb"\include", rb"\@input", rb"\q", rb"\begin{document}", rb"\end{document}")
_COMMAND = re.compile(
    rb"\\(?:(?:input|include|@input|q)(?![A-Za-z@])|(?:begin|end)(?![A-Za-z@])\s*\{document\})"
)
PIECES = (
    *(name.decode() for name in NAMES), "\\begin {document}", "\\end\n{document}", "\\begin{documents}",
    "\\begin{figure}", "\\includegraphics{f}", "\\inputs", "\\input{a}", "\\\\", "\\", "{a}", "\\%",
    "% c", "%", "\n", " ", "x", "é", "\\verb|%|", "\\verb!", "!", "\\url{a%b}", "\\lstinline[a]|\\q|",
    "\\begin{verbatim}", "\\end{verbatim}", "\\begin{comment}", "\\end{comment}", "\\mintinline{py}{\\q}",
    "\\href{a}{", "\\path|%|", "\\nolinkurl{%}",
)  # fmt: skip


def found_slowly(text: bytes) -> list[int]:
    """The offsets of the commands by a second reading."""
    opaque, at = [], 0
    for kind, start, end in [*verbatim_spans(text), ("", len(text), len(text))]:
        opaque += comments(text, at, start)
        opaque += [(start, end)] if kind else []
        at = end
    starts = [match.start() for match in _COMMAND.finditer(text) if not escaped(text, match.start())]
    return [at for at in starts if not any(start <= at < end for start, end in opaque)]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_commands_are_those_of_a_second_reading(text: str) -> None:
    raw = text.encode()
    assert list(find_commands(raw, NAMES)) == found_slowly(raw)


@pytest.mark.parametrize("n_bytes", range(60))
def test_a_command_is_found_wherever_it_stands(n_bytes: int) -> None:
    assert find_commands(b"a" * n_bytes + b"\\q", NAMES) == (n_bytes,)
    assert find_commands(b"a" * n_bytes + b"\\q" + b" " * (60 - n_bytes), NAMES) == (n_bytes,)


def test_a_part_may_end_the_paper() -> None:
    main = paper("A\n\\input{a}").replace("\\end{document}", "")
    text = extract({"main.tex": main, "a.tex": "\\input{b} PART\n\\end{document}\n", "b.tex": "B"}).text
    assert text.endswith(b"A\nB\n PART\n\\end{document}\n\n")


def test_a_part_that_is_a_document_does_not_end_the_paper() -> None:
    part = "\\documentclass{standalone}\n\\begin{document}\nPART\n\\end{document}\n"
    text = extract({"main.tex": paper("A\n\\input{a}\nB"), "a.tex": part}).text
    assert text.endswith(b"A\n\nPART\nB\n\\end{document}\n")


def test_a_paper_for_which_the_memory_is_too_small_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasm, "MAX_MEMORY", 4 << 20)
    monkeypatch.setattr(wasm, "_local", threading.local())
    dropped = try_extract(tar_gz({"main.tex": paper("x" * (8 << 20)).encode()}))
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "cleaning_stopped"
