r"""Read the definitions of the author's macros, in all forms that TeX and LaTeX have for them.

A macro that only TeX can carry out (one that typesets, or assigns) is recorded without a body: its uses stay
as they are and are counted.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from preprocess.latex.cleaning.arguments import Letter, as_latex, read_letters
from preprocess.latex.lexer import SHALLOW_GROUP, Groups, escaped, trie

# Commands that define macros. The star of \newcommand* does not matter here.
_NEWCOMMAND = (b"newcommand", b"renewcommand", b"providecommand", b"DeclareRobustCommand")
_XPARSE = (
    b"NewDocumentCommand", b"RenewDocumentCommand", b"ProvideDocumentCommand", b"DeclareDocumentCommand",
    b"NewExpandableDocumentCommand", b"DeclareExpandableDocumentCommand",
)  # fmt: skip
_DEF = (b"def", b"gdef", b"edef", b"xdef")
_OPERATOR = (b"DeclareMathOperator", b"newmathop")
ENVIRONMENT_DEFINERS = (b"newenvironment", b"renewenvironment", b"provideenvironment")
_PAIRED = (b"DeclarePairedDelimiter",)
DEFINERS = frozenset((*_NEWCOMMAND, *_XPARSE, *_DEF, *_OPERATOR, *ENVIRONMENT_DEFINERS, *_PAIRED, b"let"))

PREFIXES = frozenset((b"long", b"global", b"protected", b"outer"))
DEFINITION = re.compile(
    rb"\\(?=[DNPRdeglnoprx])(?:" + trie(PREFIXES) + rb"\s*+\\){0,4}+(" + trie(DEFINERS) + rb")(?![A-Za-z@])"
)
_NAME = re.compile(rb"\*?\s*(?:\{\s*\\([A-Za-z@]+|[^\s])\s*\}|\\([A-Za-z@]+|[^\s]))")
_COUNT = re.compile(rb"\s*\[\s*([0-9])\s*\]")
_PARAMETERS = re.compile(rb"\s*+((?:#[1-9])*+)\s*+(?=\{)")
_TARGET = re.compile(rb"\s*=?[ \t]?\\([A-Za-z@]+|[^\s])")
_SIGNATURE = re.compile(rb"\s*\{\s*+(?:O\s*+\{([^{}]*+)\})?+\s*+((?:m\s*+)*+)\}")
_NEEDS_TEX = re.compile(
    rb"\\(?:(?!operator@font(?![A-Za-z@]))[A-Za-z]*@|csname|expandafter|futurelet|catcode|(?:re|provide)?newcommand|[egx]?def(?![A-Za-z])"
    rb"|let(?![A-Za-z])|if[a-z]*(?<!\\iff)(?![A-Za-z])|fi(?![A-Za-z])|else(?![A-Za-z])|begingroup|aftergroup|afterassignment|loop(?![A-Za-z])|advance"
    rb"|setbox|pgfmath|write(?![A-Za-z])|read(?![A-Za-z])|openin|openout|uppercase|lowercase|obeylines|everypar|the(?=\\))|(?<!\\)##"
)
# Parts of a body that print nothing: category codes, definitions of active characters, output to a file, and
# `\@`, which only changes the space behind a full stop.
_SILENT = re.compile(
    rb"\\catcode\s*+`\\?+(?:\^\^.|.)\s*+=?+\s*+\d+\s?|\\def[^\\A-Za-z\s#{}]\{[^{}]*\}|\\@(?![A-Za-z@])"
    rb"|(?:\\immediate\s*)?\\write\s*(?:-?\d+|\\[A-Za-z@]+)\s*" + SHALLOW_GROUP,
    re.DOTALL,
)
# Three of four definitions have this simple form; one pattern for all of it reads them three times as fast.
_SIMPLE = re.compile(
    rb"\\(?:(?P<re>re)?newcommand\*?\s*+(?:\{\s*+\\(?P<braced>[A-Za-z@]++)\s*+\}|\\(?P<named>[A-Za-z@]++))"
    rb"(?:\s*+\[\s*+(?P<count>[0-9])\s*+\])?+|def\s*+\\(?P<defined>[A-Za-z@]++)(?P<parameters>(?:#[1-9])*+))"
    rb"[ \t]*+(?:\n[ \t]*+)?" + SHALLOW_GROUP,
    re.DOTALL,
)
_SIMPLE_BYTES = 500  # that such a definition may have
# Commands for the structure of a text are never expanded: authors redefine them for their layout, and later
# passes look for their names.
_KEPT_COMMANDS = frozenset(
    b"""
    begin end item par section subsection subsubsection paragraph subparagraph chapter part caption
    label ref eqref cite citep citet bibitem footnote title author date abstract document maketitle
    thebibliography emph textbf textit text left right sqrt frac sum int input include hline appendix
    relax
    """.split()
)
# Further commands that exist in LaTeX, so that \providecommand does not define them.
_OF_LATEX = frozenset(b"texttt textrm textsf textsc underline url href path mathrm mathbf mathit".split())
_KEPT_ENVIRONMENTS = frozenset(
    b"""
    abstract document theorem lemma proposition corollary definition proof remark example figure table
    equation align itemize enumerate description thebibliography quote quotation center verbatim
    """.split()
)


class Macro(NamedTuple):
    """The meaning of a command or of one end of an environment. `body`: None where it cannot be read."""

    n_args: int
    default: bytes | None  # value of the first argument where that is optional
    body: bytes | None
    is_primitive: bool = False  # defined by `\let` from a command of TeX: the body is not expanded further
    letters: tuple[Letter, ...] = ()  # the arguments that \NewDocumentCommand specifies
    delimited: bytes = b""  # the parameter text of \def where it has more than parameters


OPAQUE = Macro(0, None, None)
Definition = tuple[dict[bytes, Macro], int]  # macros by key, offset behind the definition


def defined_names(text: bytes, definers: Iterable[int]) -> set[bytes]:
    r"""The commands defined at offsets `definers`, and `\begin` and `\end` if environments are defined."""
    names = set()
    for match in (DEFINITION.match(text, at) for at in definers):
        if match is None:
            continue
        if match[1] in ENVIRONMENT_DEFINERS:
            names |= {b"\\begin", b"\\end"}
        elif name := _NAME.match(text, match.end()):
            names.add(b"\\" + (name[1] or name[2]))
    return names


def printing_part(body: bytes) -> bytes | None:
    """`body` without parts that print nothing; None where only TeX can carry out what is left."""
    if not needs_tex(body):
        return body
    printing = _SILENT.sub(b"", body)
    return None if needs_tex(printing) else printing


def needs_tex(body: bytes) -> bool:
    """Whether only TeX can carry out a body, because it tests, defines, assigns or looks ahead."""
    return _NEEDS_TEX.search(body) is not None


def environment_key(edge: bytes, name: bytes) -> bytes:
    r"""The key under which one end (`edge`: `\begin` or `\end`) of an environment is stored."""
    return edge + b"{" + name


def is_environment(key: bytes) -> bool:
    """Whether a key belongs to one end of an environment."""
    return key.startswith((b"\\begin{", b"\\end{"))


def read_definition(groups: Groups, match: re.Match[bytes], known: dict[bytes, Macro]) -> Definition | None:
    """(macros that a match of DEFINITION defines, offset behind it); None where it cannot be read.

    `known`: the macros defined before, which a `\\let` may copy.
    """
    definer, at = match[1], match.end()
    if simple := _SIMPLE.match(groups.text, match.start(1) - 1, at + _SIMPLE_BYTES):
        renewed, braced, named, count, defined, parameters, body = simple.groups()
        name = braced or named or defined
        key = b"\\" + name
        if name in _KEPT_COMMANDS or (renewed and _is_better_kept(key, body, known)):
            return {}, simple.end()
        n_args = int(count or 0) if defined is None else len(parameters) // 2
        # What Macro(n_args, None, body) makes in four times the time; a paper defines a hundred macros.
        macro = tuple.__new__(Macro, (n_args, None, _trimmed(body), False, (), b""))
        return {key: macro}, simple.end()
    if definer in ENVIRONMENT_DEFINERS:
        return _environment(groups, at)
    name_match = _NAME.match(groups.text, at)
    if name_match is None:
        return None
    name, at = name_match[1] or name_match[2], name_match.end()
    if definer == b"let":
        target = _TARGET.match(groups.text, at)
        if target is None:
            return None
        macro = known.get(b"\\" + target[1]) or Macro(0, None, b"\\" + target[1], is_primitive=True)
        return _named(name, macro), target.end()
    if definer in _DEF:
        parameters = _PARAMETERS.match(groups.text, at)
        if parameters is None:  # delimited parameters: the body begins at the next brace
            brace = groups.text.find(b"{", at, at + 200)
            end = groups.end(brace) if brace >= 0 else -1
            if end < 0:
                return None
            macro = Macro(0, None, groups.text[brace + 1 : end - 1], delimited=groups.text[at:brace])
            return _named(name, macro), end
        n_args, default, at = len(parameters[1]) // 2, None, parameters.end()
    elif definer in _XPARSE:
        signature = _SIGNATURE.match(groups.text, at)
        if signature is None:
            return _document_command(groups, name, at)
        default, at = signature[1], signature.end()
        n_args = signature[2].count(b"m") + (default is not None)
    elif definer in _PAIRED:
        return _paired_delimiter(groups, name, at)
    elif definer in _OPERATOR:
        n_args, default = 0, None
    else:
        n_args, default, at = _signature(groups, at)
    body = groups.group(at)
    if body is None:
        return None
    if definer == b"providecommand" and (b"\\" + name in known or name in _OF_LATEX):
        return {}, body[1]  # the existing command keeps its meaning
    if definer in _OPERATOR:
        star = b"*" if groups.text[match.end() : match.end() + 1] == b"*" else b""
        return _named(name, Macro(0, None, b"\\operatorname" + star + b"{" + body[0].strip() + b"}")), body[1]
    return _defined(name, n_args, default, body[0], known, definer == b"renewcommand"), body[1]


def _document_command(groups: Groups, name: bytes, at: int) -> Definition | None:
    """The rest of a \\NewDocumentCommand whose signature has more than `O{...}` and `m`."""
    signature = groups.group(at)
    body = groups.group(signature[1]) if signature else None
    if signature is None or body is None:
        return None
    letters = read_letters(signature[0])
    return _named(name, Macro(0, None, body[0].strip(), letters=letters) if letters else OPAQUE), body[1]


def from_expl(macros: dict[bytes, Macro]) -> dict[bytes, Macro]:
    r"""Macros defined between \ExplSyntaxOn and \ExplSyntaxOff, with bodies as ordinary LaTeX."""
    return {
        name: macro._replace(body=None if macro.body is None else as_latex(macro.body).strip())
        for name, macro in macros.items()
    }


def _defined(
    name: bytes, n_args: int, default: bytes | None, body: bytes, known: dict[bytes, Macro], is_renewed: bool
) -> dict[bytes, Macro]:
    if is_renewed and _is_better_kept(b"\\" + name, body, known):
        return {}
    return _named(name, Macro(n_args, default, _trimmed(body)))


def _is_better_kept(key: bytes, body: bytes, known: dict[bytes, Macro]) -> bool:
    """Whether a redefined command is LaTeX's own, whose name says more than a body that only TeX reads."""
    return key not in known and needs_tex(body)


def _named(name: bytes, macro: Macro) -> dict[bytes, Macro]:
    """`macro` by its key; empty for a command of the text's structure."""
    return {} if name in _KEPT_COMMANDS else {b"\\" + name: macro}


def _trimmed(body: bytes) -> bytes:
    r"""A body without blanks at its end and without `\xspace`, which only affect spacing."""
    stripped = body.rstrip()
    if len(stripped) < len(body) and escaped(body, len(stripped)):  # a backslash and a blank are a command
        return stripped + b" "
    return stripped.removesuffix(b"\\xspace")


def _signature(groups: Groups, at: int) -> tuple[int, bytes | None, int]:
    """(number of arguments, default of the first, offset behind) from `[2][D]` at `at`."""
    count = _COUNT.match(groups.text, at)
    if count is None:
        return 0, None, at
    default = groups.optional(count.end())
    return (int(count[1]), default[0], default[1]) if default else (int(count[1]), None, count.end())


def _paired_delimiter(groups: Groups, name: bytes, at: int) -> Definition | None:
    r"""The rest of `\DeclarePairedDelimiter\abs{\lvert}{\rvert}`; the starred form scales the delimiters."""
    left = groups.group(at)
    right = groups.group(left[1]) if left else None
    if left is None or right is None:
        return None
    # The optional argument is a size: \abs[\big]{x}.
    macros = _named(name, Macro(2, b"", b"#1" + left[0] + b" #2 #1" + right[0]))
    if macros:
        macros[b"\\" + name + b"*"] = Macro(1, None, b"\\left" + left[0] + b" #1 \\right" + right[0])
    return macros, right[1]


def _environment(groups: Groups, at: int) -> Definition | None:
    """The rest of a \\newenvironment: a macro for each of its ends."""
    star = 1 if groups.text[at : at + 1] == b"*" else 0
    name = groups.group(at + star)
    if name is None:
        return None
    n_args, default, at = _signature(groups, name[1])
    begin = groups.group(at)
    end = groups.group(begin[1]) if begin else None
    if begin is None or end is None:
        return None
    key = name[0].strip()
    if key in _KEPT_ENVIRONMENTS or needs_tex(begin[0]) or needs_tex(end[0]):
        return {}, end[1]  # the name of the environment says more than its expansion
    return {
        environment_key(b"\\begin", key): Macro(n_args, default, begin[0].strip()),
        environment_key(b"\\end", key): Macro(0, None, end[0].strip()),
    }, end[1]
