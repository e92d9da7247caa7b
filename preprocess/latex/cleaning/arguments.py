r"""Read arguments of other forms than LaTeX's own: those of \NewDocumentCommand, and delimited ones of \def.

Also rewrites the bodies of definitions between \ExplSyntaxOn and \ExplSyntaxOff as ordinary LaTeX.
"""

import re

from preprocess.latex.lexer import Groups

NO_VALUE = b"-NoValue-"  # xparse's value for an optional argument that is not given
TRUE, FALSE = b"\\BooleanTrue", b"\\BooleanFalse"
_SPACE = re.compile(rb"[ \t]*+(?:\n[ \t]*+)?")
_EXPL_SWITCH = re.compile(rb"\\ExplSyntaxO(n|ff)(?![A-Za-z@])")
_EXPL_TOKEN = re.compile(rb"(\\[A-Za-z@_:]++)[ \t\n]*+|(\\.)|([ \t\n]++)|(~)", re.DOTALL)
_LETTER = re.compile(rb"[+!>]?\s*([mosvOdDrRt])")

Letter = tuple[bytes, bytes, bytes, bytes]  # letter, opening, closing, default


def expl_regions(text: bytes) -> list[tuple[int, int]]:
    r"""(start, end) of each `\ExplSyntaxOn … \ExplSyntaxOff`, in ascending order."""
    if b"\\ExplSyntaxOff" not in text:
        return []
    regions, start = [], -1
    for switch in _EXPL_SWITCH.finditer(text):
        if switch[1] == b"n":
            start = switch.start() if start < 0 else start
        elif start >= 0:
            regions.append((start, switch.end()))
            start = -1
    return regions


def as_latex(body: bytes) -> bytes:
    """A body from such a region as ordinary LaTeX: no blanks but for `~`; `@` for `_` and `:` in names."""
    return _EXPL_TOKEN.sub(_expl_token, body)


def _expl_token(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        name = match[1].replace(b"_", b"@").replace(b":", b"@")
        return name + b" " if match.string[match.end() : match.end() + 1].isalpha() else name
    if match[2] is not None:
        return match[2]
    return b" " if match[4] is not None else b""


def read_letters(signature: bytes) -> tuple[Letter, ...] | None:
    """The arguments that an xparse signature (`s O{x} m`) asks for; None if one is of kind e, b or g."""
    signature = signature.rstrip()
    groups, at, letters = Groups(signature), 0, []
    while at < len(signature):
        match = _LETTER.match(signature, _SPACE.match(signature, at).end())  # type: ignore[union-attr]
        if match is None:
            return None
        letter, at = match[1], match.end()
        opening, closing, default = b"[", b"]", NO_VALUE
        if letter in b"dDrRt":
            opening, closing = signature[at : at + 1], signature[at + 1 : at + 2]
            at += 1 if letter == b"t" else 2
        if letter in b"ODR":
            given = groups.argument(at)
            if given is None:
                return None
            default, at = given
        letters.append((letter, opening, closing, default))
    return tuple(letters)


def read_arguments(groups: Groups, at: int, letters: tuple[Letter, ...]) -> tuple[list[bytes], int] | None:
    """(arguments, offset behind them) of a use that ends at `at`; None where one is missing."""
    text, arguments = groups.text, list[bytes]()
    for letter, opening, closing, default in letters:
        if letter in b"mv":
            given = groups.argument(at)
            if given is None:
                return None
            argument, at = given
        elif letter in b"st":
            sign = b"*" if letter == b"s" else opening
            next_at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            is_there = text[next_at : next_at + 1] == sign
            argument, at = (TRUE, next_at + 1) if is_there else (FALSE, at)
        else:
            given = _delimited(groups, at, opening, closing)
            next_at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            if given is None and (letter in b"rR" or text[next_at : next_at + 1] == opening):
                return None
            argument, at = given if given else (default, at)
        arguments.append(argument)
    return arguments, at


def _delimited(groups: Groups, at: int, opening: bytes, closing: bytes) -> tuple[bytes, int] | None:
    """(content, offset behind) of an argument between two characters."""
    if opening == b"[":
        return groups.optional(at)
    start = _SPACE.match(groups.text, at).end()  # type: ignore[union-attr]
    if groups.text[start : start + 1] != opening:
        return None
    return _until(groups, start + 1, closing)


def _until(groups: Groups, at: int, delimiter: bytes) -> tuple[bytes, int] | None:
    """(text before the next `delimiter` outside braces, offset behind the delimiter), or None."""
    text, position = groups.text, at
    while position < len(text):
        if text.startswith(delimiter, position):
            return text[at:position], position + len(delimiter)
        char = text[position : position + 1]
        if char == b"{":
            position = groups.end(position)
            if position < 0:
                return None
        elif char == b"}":
            return None
        else:
            position += 2 if char == b"\\" and not delimiter.startswith(b"\\") else 1
    return None


def read_delimited(groups: Groups, at: int, parameters: bytes) -> tuple[list[bytes], int] | None:
    """(arguments, offset behind them) of a use of a \\def macro with the parameter text `parameters`."""
    pieces = re.split(rb"#[1-9]", parameters)
    if not groups.text.startswith(pieces[0], at):
        return None
    at += len(pieces[0])
    arguments: list[bytes] = []
    for delimiter in pieces[1:]:
        given = _until(groups, at, delimiter) if delimiter else groups.argument(at)
        if given is None:
            return None
        argument, at = given
        if argument[:1] == b"{" and groups.end(at - len(argument) - len(delimiter)) == at - len(delimiter):
            argument = argument[1:-1]
        arguments.append(argument)
    return arguments, at
