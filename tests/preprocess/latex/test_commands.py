"""CommandIndex finds the same commands as a search at every backslash."""

import random
import re

import pytest

from preprocess.latex.cleaning.commands import CommandIndex
from preprocess.latex.lexer import COMMAND

NAMES = {
    rb"\a",
    rb"\ab",
    rb"\R",
    rb"\@",
    rb"\a@b",
    rb"\eightlet",
    rb"\sevenle",
    rb"\longername",
    rb"\begin",
    rb"\,",
}
PIECES = [
    *NAMES, b"\\", b"\\\\", b"{", b"}", b"a", b"Z", b"@", b"`", b"[", b" ", b"\n", b"1",
    "é".encode(), b"\x80", b"\0",
    b"eightlette", b"{thm}", b"{ thm}", b" {thm}", b"{theorem}", b"{thm*}", b"\\end{thm}", b"\\begin{thm}",
]  # fmt: skip


def at_every_backslash(text: bytes, names: set[bytes]) -> list[tuple[int, bytes]]:
    """The commands, found one backslash after the other."""
    offsets = [n for n, byte in enumerate(text) if byte == ord("\\")]
    found = [(at, match[0]) for at in offsets if (match := COMMAND.match(text, at))]
    return [command for command in found if command[1] in names]


@pytest.mark.parametrize("seed", range(100))
def test_finds_the_same_as_a_search_at_every_backslash(seed: int) -> None:
    draw = random.Random(seed)
    text = b"".join(draw.choices(PIECES, k=draw.randrange(60)))
    names = set(draw.sample(sorted(NAMES), draw.randint(1, len(NAMES))))
    assert CommandIndex(text).find(names) == at_every_backslash(text, names)


@pytest.mark.parametrize("seed", range(100))
def test_finds_all_uses_of_the_environments_asked_for(seed: int) -> None:
    draw = random.Random(seed)
    text = b"".join(draw.choices([*PIECES, rb"\begin", rb"\end"], k=draw.randrange(60)))
    found = CommandIndex(text).find({rb"\begin", rb"\end"}, [b"thm"])
    meant = [match.span() for match in re.finditer(rb"\\(?:begin|end)(?=\s*\{\s*thm\s*\})", text)]
    assert {(start, text[start:end]) for start, end in meant} <= set(found)


def test_begin_and_end_of_other_environments_are_not_found() -> None:
    text = rb"\begin{thm}\begin{proof}\end{proof}\end{thm}"
    assert CommandIndex(text).find({rb"\begin", rb"\end"}, [b"thm"]) == [(0, rb"\begin"), (35, rb"\end")]


@pytest.mark.parametrize("text", [b"", b"\\", b"no command", b"\\a", b"\\begin", b"\\begin{"], ids=repr)
def test_commands_at_the_end_of_a_text_are_found(text: bytes) -> None:
    names = {rb"\a", rb"\begin"}
    assert CommandIndex(text).find(names) == at_every_backslash(text, names)
    assert CommandIndex(text).find({rb"\begin"}, [b"thm"]) in ([], [(0, rb"\begin")])
