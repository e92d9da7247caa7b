"""The author's own macros: definitions are read and taken out, uses are replaced by what they stand for.

One regular expression, a trie of all names that the paper defines, finds definitions and uses in the order in
which TeX would meet them. A body is expanded once and kept as a template; a macro inside its own body stays
(`\\renewcommand{\\vec}[1]{\\mathbf{\\vec #1}}`). What cannot be understood without running TeX (delimited
parameters, bodies that define or test) is left as it stands and counted.
"""

import re
from collections import Counter
from dataclasses import dataclass

from preprocess.latex.braces import Braces
from preprocess.latex.lexer import ends_in_control_word

_DEFINERS = (
    rb"(?:re|provide)?newcommand\*?|providecommand\*?|DeclareRobustCommand\*?|newcommandx\*?"
    rb"|(?:New|Renew|Provide|Declare)(?:Document|Expandable(?:Document)?)Command"
    rb"|(?:long\s*\\|global\s*\\|protected\s*\\|outer\s*\\)*[egx]?def|(?:global\s*\\)?let"
    rb"|DeclareMathOperator\*?|(?:re|provide)?newenvironment\*?"
)
_DEFINITION = re.compile(rb"\\(?:\\|(" + _DEFINERS + rb")(?![A-Za-z@]))")
_NAME = re.compile(rb"\s*\{?\s*\\([A-Za-z@]+\*?|[^A-Za-z\s])\s*\}?")
_ARGUMENT_COUNT = re.compile(rb"\s*\[\s*(\d)\s*\]")
_DEF_PARAMETERS = re.compile(rb"((?:#[1-9])*)[ \t\n]*(?=\{)")
_LET = re.compile(rb"\s*=?[ \t]?(\\(?:[A-Za-z@]+|.)|[^\\\s{}])", re.DOTALL)
_XPARSE = re.compile(rb"\s*\{\s*((?:m|O\s*\{[^{}]*\}|o|\s)*)\}")
# Bodies that only TeX itself can carry out.
_OPAQUE = re.compile(
    rb"\\(?:[A-Za-z]*@|csname|expandafter|futurelet|catcode|(?:re)?newcommand|[egx]?def|let|if[a-z]|the(?![a-z])"
    rb"|begingroup|aftergroup|loop|count|newcount|advance|hbox\s*to|write|openin|read)"
)
_PARAMETER = re.compile(rb"#([1-9])")
# What the passes after this one go by.
_NEVER = {b"begin", b"end", b"item", b"par", b"document", b"section", b"caption", b"label", b"cite", b"ref"}
MAX_NAMES, MAX_NAME_LENGTH = 4000, 60  # of one paper; more is a package, not a paper, or an attack
MAX_DEPTH = 30  # of macros within macros


@dataclass(frozen=True)
class Macro:
    """A macro, or one end of an environment, whose meaning is its body with the arguments put in."""

    n_args: int
    default: bytes | None  # of the first argument, which is then optional
    body: bytes


@dataclass(frozen=True)
class _Template:
    """An expanded body, cut at its parameters: literal, number of the argument, literal, …"""

    literals: list[bytes]
    arguments: list[int]


class Expander:
    """Expands the macros of one document. `uses`, `left`: occurrences seen, and those left as they stood."""

    def __init__(self, text: bytes, removed: Counter[str]) -> None:
        self.macros: dict[bytes, Macro | None] = {}  # None: defined, but opaque
        self.uses = self.left = 0
        self._removed = removed
        self._templates: dict[bytes, _Template | None] = {}
        # The output may be some times the input, not 2^30 times (macro bombs).
        self._budget = 4 * len(text) + (1 << 20)
        self._pattern = _names_pattern(text)

    def expand(self, text: bytes) -> bytes:
        """`text` without definitions and with its macros expanded."""
        before, definitions = len(text), self._removed["macro_definitions"]
        expanded = self._expand(text, 0)
        in_definitions = self._removed["macro_definitions"] - definitions
        self._removed["macro_expansion"] += before - in_definitions - len(expanded)
        return expanded

    def learn(self, text: bytes) -> None:
        """Read the definitions in `text` (a preamble) and leave it alone."""
        braces = Braces(text, 2 * len(text) + 100_000)
        position = 0
        while match := _DEFINITION.search(text, position):
            position = match.end()
            if match[1] is not None:
                position = self._define(match[1], braces, position) or position

    def _expand(self, text: bytes, depth: int) -> bytes:
        out: list[bytes] = []
        braces = Braces(text, 2 * len(text) + 100_000)
        start = position = 0
        while match := self._pattern.search(text, position):
            begin, position = match.span()
            if (definer := match["definer"]) is not None:
                if depth == 0 and (end := self._define(definer, braces, position)):
                    out.append(text[start:begin])
                    self._removed["macro_definitions"] += end - begin
                    start = position = end
                continue
            if (key := match["macro"]) is None:
                if match["edge"] is None:  # a line break
                    continue
                key = match["edge"][:1] + b"{" + match["environment"] + b"}"
            replaced = self._use(key, braces, position, depth)
            if replaced is None:
                continue
            body, end = replaced
            out.append(text[start:begin])
            _glue(out, body)
            start = position = end
            if text[end : end + 1].isalpha() and body and ends_in_control_word(body):
                out.append(b" ")
        out.append(text[start:])
        return b"".join(out)

    # ------------------------------------------------------------ uses

    def _use(self, key: bytes, braces: Braces, position: int, depth: int) -> tuple[bytes, int] | None:
        """(what a use at `position` stands for, position after its arguments), None to leave it."""
        if key not in self.macros:
            return None
        self.uses += 1
        macro = self.macros[key]
        template = self._template(key, depth) if macro is not None else None
        if macro is None or template is None:
            self.left += 1
            return None
        arguments: list[bytes] = []
        end = position
        if macro.default is not None:
            given = braces.optional(end)
            argument, end = given if given else (macro.default, end)
            arguments.append(argument)
        while len(arguments) < macro.n_args:
            given = braces.argument(end)
            if given is None:
                self.left += 1
                return None
            argument, end = given
            arguments.append(argument)
        out = [template.literals[0]]
        if depth < MAX_DEPTH:
            arguments = [self._expand(a, depth + 1) if b"\\" in a else a for a in arguments]
        for number, literal in zip(template.arguments, template.literals[1:], strict=True):
            _glue(out, arguments[number - 1] if number <= len(arguments) else b"")
            _glue(out, literal)
        body = b"".join(out)
        self._budget -= len(body)
        if self._budget < 0:
            self.left += 1
            return None
        return body, end

    def _template(self, key: bytes, depth: int) -> _Template | None:
        """The expanded body; None while it is being expanded (a macro in itself) or too deep."""
        if key in self._templates:
            return self._templates[key]
        macro = self.macros[key]
        if macro is None or depth > MAX_DEPTH or self._budget < 0:
            return None
        self._templates[key] = None
        uses, left = self.uses, self.left
        body = self._expand(macro.body, depth + 1)
        self.uses, self.left = uses, left  # a definition is no use
        self._budget -= len(body)
        parts = _PARAMETER.split(body)
        self._templates[key] = _Template(parts[0::2], [int(number) for number in parts[1::2]])
        return self._templates[key]

    # ------------------------------------------------------------ definitions

    def _define(self, definer: bytes, braces: Braces, position: int) -> int | None:
        """Read the definition whose command ends at `position`; position after it, None to leave it."""
        kind = definer.rstrip(b"*").rpartition(b"\\")[2] or definer.rstrip(b"*")
        if kind.endswith(b"newenvironment"):
            return self._define_environment(braces, position)
        name = _NAME.match(braces.text, position)
        if name is None:
            return None
        position = name.end()
        if kind == b"let":
            target = _LET.match(braces.text, position)
            if target is None:
                return None
            other = target[1].removeprefix(b"\\")
            same = self.macros.get(other) if target[1][:1] == b"\\" else None
            if other in self.macros and target[1][:1] == b"\\":
                self._set(name[1], same)
            else:
                self._set(name[1], Macro(0, None, target[1]))
            return target.end()
        n_args, default = 0, None
        if kind.endswith(b"def"):
            parameters = _DEF_PARAMETERS.match(braces.text, position)
            if parameters is None:  # delimited parameters: only TeX can match them
                self._set(name[1], None)
                brace = braces.text.find(b"{", position, position + 200)
                close = braces.close(brace) if brace >= 0 else -1
                return close if close > 0 else None
            n_args, position = len(parameters[1]) // 2, parameters.end()
        elif kind.endswith((b"DocumentCommand", b"ExpandableCommand")):
            signature = _XPARSE.match(braces.text, position)
            if signature is None or b"o" in signature[1]:
                self._set(name[1], None)
                group = braces.group(position)
                body = braces.group(group[1]) if group else None
                return body[1] if body else None
            kinds = re.sub(rb"\s", b"", signature[1])
            optional = re.match(rb"O\{([^{}]*)\}", kinds)
            default = optional[1] if optional else None
            n_args = kinds.count(b"m") + (optional is not None)
            position = signature.end()
            if kinds.count(b"O") > (optional is not None):
                self._set(name[1], None)
                body = braces.group(position)
                return body[1] if body else None
        elif not kind.endswith(b"MathOperator"):
            n_args, default, position = self._signature(braces, position)
        body = braces.group(position)
        if body is None:
            return None
        text, end = body
        if kind.endswith(b"MathOperator"):
            star = b"*" if definer.endswith(b"*") else b""
            text = b"\\operatorname" + star + b"{" + text.strip() + b"}"
        if not _OPAQUE.search(text):
            self._set(name[1], Macro(n_args, default, text))
        elif not definer.startswith(b"re"):  # a redefined standard command is best left standard
            self._set(name[1], None)
        return end

    def _define_environment(self, braces: Braces, position: int) -> int | None:
        name = braces.group(position)
        if name is None:
            return None
        n_args, default, position = self._signature(braces, name[1])
        begin = braces.group(position)
        end = braces.group(begin[1]) if begin else None
        if begin is None or end is None:
            return None
        opaque = _OPAQUE.search(begin[0]) or _OPAQUE.search(end[0])
        key = name[0].strip()
        self._set(b"b{" + key + b"}", None if opaque else Macro(n_args, default, begin[0]))
        self._set(b"e{" + key + b"}", None if opaque else Macro(0, None, end[0]))
        return end[1]

    @staticmethod
    def _signature(braces: Braces, position: int) -> tuple[int, bytes | None, int]:
        """(number of arguments, default of the first, position after) of `[2][D]`."""
        count = _ARGUMENT_COUNT.match(braces.text, position)
        if count is None:
            return 0, None, position
        default = braces.optional(count.end())
        return (int(count[1]), default[0], default[1]) if default else (int(count[1]), None, count.end())

    def _set(self, name: bytes, macro: Macro | None) -> None:
        if name in _NEVER:
            return
        if self.macros.get(name) != macro or name not in self.macros:
            self.macros[name] = macro
            self._templates.clear()  # other templates may have the old meaning in them


def _glue(out: list[bytes], piece: bytes) -> None:
    """Append a piece; a control word is never glued to a letter."""
    if piece:
        if piece[:1].isalpha() and out and ends_in_control_word(out[-1]):
            out.append(b" ")
        out.append(piece)


_DEFINED_NAME = re.compile(rb"\\(?:" + _DEFINERS + rb")(?![A-Za-z@])\s*\{?\s*\\([A-Za-z@]+|[^A-Za-z\s])")
_DEFINED_ENVIRONMENT = re.compile(rb"\\(?:re|provide)?newenvironment\*?\s*\{\s*([A-Za-z]+\*?)\s*\}")


def _names_pattern(text: bytes) -> re.Pattern[bytes]:
    """Definitions, and uses of all names that `text` defines anywhere, as one expression.

    Groups: `definer`; `macro`; `edge` (begin, end) with `environment`.
    """
    names = sorted({name for name in _DEFINED_NAME.findall(text) if len(name) <= MAX_NAME_LENGTH})[:MAX_NAMES]
    words = [name for name in names if name[:1].isalpha() or name[:1] == b"@"]
    symbols = [re.escape(name) for name in names if name not in words and name not in (b"\\", b"%")]
    environments = sorted(
        {name for name in _DEFINED_ENVIRONMENT.findall(text) if len(name) <= MAX_NAME_LENGTH}
    )
    macros = ([trie(words) + rb"(?![A-Za-z@])"] if words else []) + symbols
    choices = [rb"\\", rb"(?P<definer>" + _DEFINERS + rb")(?![A-Za-z@])"]
    choices.append(rb"(?P<macro>" + (rb"|".join(macros) or rb"(?!)") + rb")")
    listed = rb"|".join(re.escape(name) for name in environments[:MAX_NAMES]) or rb"(?!)"
    choices.append(rb"(?P<edge>begin|end)\s*\{(?P<environment>" + listed + rb")\}")
    return re.compile(rb"\\(?:" + rb"|".join(choices) + rb")")


def trie(words: list[bytes]) -> bytes:
    """An expression for any of the sorted words that reads no character twice."""
    ends = words[0] == b""
    heads: dict[bytes, list[bytes]] = {}
    for word in words[ends:]:
        heads.setdefault(word[:1], []).append(word[1:])
    branches = [re.escape(head) + trie(tails) for head, tails in heads.items()]
    if not branches:
        return b""
    return rb"(?:" + rb"|".join(branches) + rb")" + (rb"?" if ends else b"")
