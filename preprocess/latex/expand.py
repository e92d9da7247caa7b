r"""Uses of the author's macros are replaced by what they stand for, in the order in which TeX meets them.

A body is expanded once and kept as a template; a macro inside its own body stays
(`\renewcommand{\vec}[1]{\mathbf{\vec #1}}`). Output and work are bounded by the size of the document, so that
a macro bomb ends with the rest unexpanded and counted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preprocess.latex.lexer import Groups, escaped, trie
from preprocess.latex.macros import (
    DEFINERS,
    DEFINITION,
    PREFIXES,
    Macro,
    defined_names,
    environment_key,
    is_environment,
    needs_tex,
    read_definition,
    template,
)
from preprocess.latex.rewriter import Rewriter, ends_in_control_word

MAX_DEPTH = 25  # of macros in the arguments and bodies of macros
MAX_USES = 250_000  # at 10 µs each; a book has 10,000
_WORD = re.compile(rb"\\[A-Za-z@]+")
# What mathematics and running text are full of: half of all commands. A paper that defines none of them is
# searched without a stop at each.
_FREQUENT = frozenset(
    b"""
    mathcal mathbf mathbb mathrm mathfrak frac left right big bigl bigr to in sum int prod lim sup inf
    alpha beta gamma delta epsilon varepsilon theta kappa lambda mu nu pi rho sigma tau phi varphi psi omega
    Gamma Delta Lambda Omega times cdot otimes oplus circ infty partial nabla leq geq le ge subset cap cup
    ldots dots cdots text textit emph item label ref eqref cite section quad overline hat tilde
    """.split()
)
_RARE_WORD = re.compile(rb"\\(?!" + trie(sorted(_FREQUENT)) + rb"(?![A-Za-z@]))[A-Za-z@]+")
_WORD_OR_SYMBOL = re.compile(rb"\\(?:[A-Za-z@]+|[^A-Za-z@])", re.DOTALL)
_EDGE_NAME = re.compile(rb"\s*\{([^{}\\\n]+)\}")
_BYTES_A_NAME = 4000  # of a document; in a shorter one, compiling a pattern of the names takes longer
_EMPTY_GROUP = re.compile(rb"\{\}(?![_^])")


@dataclass(frozen=True)
class _Template:
    """An expanded body: literal, number of an argument, literal, …"""

    literals: list[bytes]
    arguments: list[int]
    n_bytes: int


_DEFINERS = frozenset(b"\\" + name for name in DEFINERS | PREFIXES)
_DEFINER, _EDGE = Macro(0, None, None), Macro(0, None, None)  # what is no macro, but looked at all the same


class Expander:
    """The macros of one document. `uses` and `left`: uses seen in it, and those that stay as they were."""

    def __init__(self, n_bytes: int, removed: Counter[str]) -> None:
        # By the command as it is written, `\R`; ends of environments by environment_key.
        self.macros: dict[bytes, Macro] = dict.fromkeys(_DEFINERS, _DEFINER)
        self.uses = self.left = 0
        self.left_names: Counter[bytes] = Counter()
        self._removed, self._not_counted = removed, Counter[str]()
        # Times the document, with room for a short one: no paper comes near, a bomb makes 2^30 times.
        self._output_budget = 4 * n_bytes + (1 << 20)
        self._work_budget = 16 * n_bytes + (4 << 20)
        self._templates: dict[bytes, _Template | None] = {}
        self._depth = self._n_uses = 0
        self._is_empty = True

    def learn(self, text: bytes) -> None:
        """Read the definitions in `text` (a preamble)."""
        groups, at = Groups(text), 0
        for match in DEFINITION.finditer(text):
            if match.start() >= at and (definition := read_definition(groups, match, self.macros)):
                self._set(definition[0])
                at = definition[1]

    def expand(self, text: bytes) -> bytes:
        """`text` with macros expanded and definitions taken in and out."""
        defined_here = defined_names(text)
        if self._is_empty and not defined_here:
            return text
        names = {name for name in self.macros if not is_environment(name)} | defined_here
        if not defined_here:
            names -= _DEFINERS
        return self._expand(text, self._uses(text, names))

    def _uses(self, text: bytes, names: set[bytes]) -> Iterator[re.Match[bytes]] | list[re.Match[bytes]]:
        """Where one of `names` stands in a whole document."""
        symbols = {name for name in names if not name[1:2].isalpha() and name[1:2] != b"@"}
        if len(text) >= _BYTES_A_NAME * len(names):
            words = trie(name[1:] for name in names - symbols if name[-1:] != b"*")
            pattern = re.compile(
                rb"\\(?:"
                + (words or rb"(?!)")
                + rb"(?![A-Za-z@])|"
                + (trie(name[1:] for name in symbols) or rb"(?!)")
                + rb")"
            )
            return pattern.finditer(text)
        if symbols:
            pattern = _WORD_OR_SYMBOL
        else:
            pattern = _WORD if any(name[1:] in _FREQUENT for name in names) else _RARE_WORD
        return [match for match in pattern.finditer(text) if match[0] in names]

    def _expand(self, text: bytes, uses: Iterable[re.Match[bytes]] | None = None) -> bytes:
        """`uses`: where macros may stand in `text`, where that has been looked for already."""
        macros, outermost = self.macros, not self._depth
        self._work_budget -= len(text)
        groups, out = Groups(text), Rewriter(text, self._removed if outermost else self._not_counted)
        for match in _WORD_OR_SYMBOL.finditer(text) if uses is None else uses:
            macro = macros.get(match[0])
            if macro is None:
                continue
            start, end = match.span()
            if start < out.at or (text[start - 1 : start] == b"\\" and escaped(text, start)):
                continue
            name = match[0]
            if macro is _EDGE:
                edge = _EDGE_NAME.match(text, end)
                if edge is None:
                    continue
                name, end = environment_key(name, edge[1].strip()), edge.end()
                macro = macros.get(name)
                if macro is None:
                    continue
            elif macro is _DEFINER:
                if outermost and (definition := self._definition(groups, start)):
                    out.cut(start, definition, "macro_definitions")
                continue
            elif text[end : end + 1] == b"*" and name + b"*" in macros:
                name, end = name + b"*", end + 1
                macro = macros[name]
            used = self._use(name, macro, groups, end)
            if used is not None:
                out.replace(start, used[1], used[0], "macro_expansion")
            elif outermost:
                self.left += 1
                self.left_names[name] += 1
            self.uses += outermost
        return out.finish()

    def _definition(self, groups: Groups, start: int) -> int | None:
        """Take in the definition at `start`; the offset behind it, None where it cannot be read."""
        match = DEFINITION.match(groups.text, start)
        definition = read_definition(groups, match, self.macros) if match else None
        if definition is None:
            return None
        self._set(definition[0])
        return definition[1]

    def _set(self, macros: dict[bytes, Macro]) -> None:
        for name, macro in macros.items():
            if self.macros.get(name) == macro:
                continue
            self.macros[name] = macro
            self._templates.clear()  # others may have the old meaning in them
            self._is_empty = False
            if is_environment(name):
                self.macros[b"\\begin"] = self.macros[b"\\end"] = _EDGE

    # ---------------------------------------------------------------- uses

    def _use(self, name: bytes, macro: Macro, groups: Groups, at: int) -> tuple[bytes, int] | None:
        """(what a use stands for, offset behind its arguments), None where it stays."""
        self._n_uses += 1
        if self._n_uses > MAX_USES:
            return None
        template = self._templates.get(name) or self._template(name, macro)
        if template is None or template.n_bytes > self._output_budget:
            return None
        if not macro.n_args:
            new = template.literals[0]
            self._output_budget -= len(new)
            # `\R{}` keeps TeX from eating a blank, which nothing here does.
            if groups.text.startswith(b"{}", at) and (empty := _EMPTY_GROUP.match(groups.text, at)):
                at = at if ends_in_control_word(new) else empty.end()
            return new, at
        arguments: list[bytes] = []
        if macro.default is not None:
            given = groups.optional(at)
            argument, at = given if given else (macro.default, at)
            arguments.append(argument)
        while len(arguments) < macro.n_args:
            given = groups.argument(at)
            if given is None:
                return None
            argument, at = given
            arguments.append(argument)
        if self._depth < MAX_DEPTH and self._work_budget > 0:
            self._depth += 1
            arguments = [
                self._expand(argument) if self._has_uses(argument) else argument for argument in arguments
            ]
            self._depth -= 1
        given_in_order = [arguments[n - 1] if n <= len(arguments) else b"" for n in template.arguments]
        if template.n_bytes + sum(map(len, given_in_order)) > self._output_budget:
            self._output_budget = -1  # a bomb: all that follows stays
            return None
        pieces = [template.literals[0]]
        for given_here, literal in zip(given_in_order, template.literals[1:], strict=True):
            for piece in (given_here, literal):
                if piece[:1].isalpha() and ends_in_control_word(pieces[-1]):
                    pieces.append(b" ")
                if piece:
                    pieces.append(piece)
        new = b"".join(pieces)
        self._output_budget -= len(new)
        return new, at

    def _has_uses(self, text: bytes) -> bool:
        """Whether a short text may use macros."""
        return b"\\" in text and not self.macros.keys().isdisjoint(_WORD_OR_SYMBOL.findall(text))

    def _template(self, name: bytes, macro: Macro) -> _Template | None:
        """The expanded body; None while it is being expanded (a macro in itself) or where only TeX knows."""
        if name in self._templates:
            return self._templates[name]
        if macro.body is None or needs_tex(macro.body):
            self._templates[name] = None
            return None
        if self._depth > MAX_DEPTH or self._work_budget < 0:
            return None
        self._templates[name] = None
        body = macro.body
        if not macro.is_primitive and b"\\" in body:
            self._depth += 1
            body = self._expand(body)
            self._depth -= 1
            self._output_budget -= len(body)
        self._templates[name] = _Template(*template(body), len(body))
        return self._templates[name]
