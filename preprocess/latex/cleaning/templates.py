"""Macro bodies as templates, and how arguments are put in."""

import re
from typing import NamedTuple

from preprocess.latex.cleaning.arguments import read_arguments, read_delimited
from preprocess.latex.cleaning.macros import Macro
from preprocess.latex.cleaning.rewriter import ends_in_control_word
from preprocess.latex.lexer import Groups, escaped

_PARAMETER = re.compile(rb"#([1-9])")


class Template(NamedTuple):
    """An expanded body: literals[0], argument arguments[0], literals[1], argument arguments[1], …"""

    literals: list[bytes]
    arguments: list[int]
    is_in_order: bool  # each argument is used once, in ascending order
    n_bytes: int
    is_incomplete: bool  # contains a macro that cannot be expanded
    pattern: bytes  # the same as a format for `%`; b"" where a control word could meet a letter


def template_of(body: bytes, n_args: int, is_incomplete: bool) -> Template:
    """The template of a macro's body; `is_incomplete`: it contains a macro that cannot be expanded."""
    literals, arguments, at = [], [], 0
    for match in _PARAMETER.finditer(body):
        if not escaped(body, match.start()):  # \# prints a number sign
            literals.append(body[at : match.start()])
            arguments.append(int(match[1]))
            at = match.end()
    literals.append(body[at:])
    may_meet = (
        any(map(ends_in_control_word, literals[:-1]))
        or any(literal[:1].isalpha() for literal in literals[1:])
        or b"" in literals[1:-1]  # one argument directly behind another
    )
    pattern = b"" if may_meet else b"%b".join([literal.replace(b"%", b"%%") for literal in literals])
    is_in_order = arguments == list(range(1, n_args + 1))
    return Template(literals, arguments, is_in_order, len(body), is_incomplete, pattern)


def plain_arguments(macro: Macro, groups: Groups, at: int) -> tuple[list[bytes], int] | None:
    """(arguments, offset behind them) of a use with LaTeX's own arguments; None where one is missing."""
    arguments: list[bytes] = []
    if macro.default is not None:
        option = groups.optional(at)
        argument, at = option if option else (macro.default, at)
        arguments.append(argument)
    while len(arguments) < macro.n_args:
        given = groups.argument(at)
        if given is None:
            return None
        argument, at = given
        arguments.append(argument)
    return arguments, at


def fill_body(macro: Macro, groups: Groups, at: int) -> tuple[bytes, int] | None:
    """(body with the arguments at `at` put in, offset behind these); None where they cannot be read."""
    if macro.body is None:
        return None
    if macro.letters:
        given = read_arguments(groups, at, macro.letters)
    elif macro.delimited:
        given = read_delimited(groups, at, macro.delimited)
    else:
        given = plain_arguments(macro, groups, at)
    if given is None:
        return None
    arguments, at = given
    pieces, last = [], 0
    for match in _PARAMETER.finditer(macro.body):
        if escaped(macro.body, match.start()):
            continue
        is_inner = match.start() > last and macro.body[match.start() - 1 : match.start()] == b"#"
        pieces.append(macro.body[last : match.start() - is_inner])
        number = int(match[1])
        if is_inner:  # ##1 is a parameter of a macro that this body defines
            pieces.append(match[0])
        else:
            argument = arguments[number - 1] if number <= len(arguments) else b""
            if argument[:1].isalpha() and ends_in_control_word(pieces[-1]):
                pieces.append(b" ")
            pieces.append(argument)
            if ends_in_control_word(argument) and macro.body[match.end() : match.end() + 1].isalpha():
                pieces.append(b" ")
        last = match.end()
    pieces.append(macro.body[last:])
    return b"".join(pieces), at
