r"""Uses of the author's macros are replaced by what they stand for, in the order in which TeX meets them.

A body is expanded once and kept as a template; a macro inside its own body stays
(`\renewcommand{\vec}[1]{\mathbf{\vec #1}}`). Output and work are bounded by the size of the document, so that
a macro bomb ends with the rest unexpanded and counted.
"""

import re
from bisect import bisect
from collections import Counter

from preprocess.latex.cleaning.arguments import NO_VALUE, expl_regions
from preprocess.latex.cleaning.commands import Command, CommandIndex
from preprocess.latex.cleaning.gullet import WINDOW, GivenUp, Step, carry_out
from preprocess.latex.cleaning.macros import (
    DEFINERS,
    DEFINITION,
    PREFIXES,
    Macro,
    defined_names,
    environment_key,
    from_expl,
    is_environment,
    needs_tex,
    read_definition,
    without_silent,
)
from preprocess.latex.cleaning.rewriter import Rewriter, ends_in_control_word
from preprocess.latex.cleaning.templates import Template, fill_body, template_of
from preprocess.latex.lexer import BACKSLASH, COMMAND, Groups, escaped

MAX_DEPTH = 25  # of macros in the arguments and bodies of macros
MAX_USES = 100_000  # at 10 µs each; a book has 10,000
MAX_FAILURES = 20  # in a row: then a macro is given up for the rest of the paper
_EDGE_NAME = re.compile(rb"\s*\{([^{}\\\n]+)\}")
_MAY_BELONG = (b"*", b"{")  # to a use without arguments: a starred form, an empty group
_EMPTY_GROUP = re.compile(rb"\{\}(?![_^])")
_DEFINERS = frozenset(b"\\" + name for name in DEFINERS | PREFIXES)
_DEFINER, _EDGE = Macro(0, None, None), Macro(0, None, None)  # what is no macro, but looked at all the same


class Expander:
    """The macros of one document. `replaced` and `left`: uses in it, and those that stay as they were."""

    def __init__(self, n_bytes: int, removed: Counter[str]) -> None:
        # By the command as it is written, `\R`; ends of environments by environment_key.
        self.macros: dict[bytes, Macro] = dict.fromkeys(_DEFINERS, _DEFINER)
        self.replaced = self.left = 0
        self.left_names: Counter[bytes] = Counter()
        self._removed, self._not_counted = removed, Counter[str]()
        # Times the document, with room for a short one: no paper comes near, a bomb makes 2^30 times.
        self._output_budget = 4 * n_bytes + (1 << 20)
        self._work_budget = 16 * n_bytes + (4 << 20)
        self._templates: dict[bytes, Template | None] = {}
        self._plain: dict[bytes, bytes] = {}  # expanded bodies of macros without arguments, most of all uses
        self._depth = self._n_uses = 0
        self._counts = True  # uses in the document and in arguments there; not those in macros' bodies
        self._opaque: set[bytes] = set()
        self._failures: Counter[bytes] = Counter()  # of carrying out such a macro
        self._in_body = False  # what follows a macro's body is not at hand
        self._met_opaque = False

    def learn(self, text: bytes) -> None:
        """Read the definitions in `text` (a preamble)."""
        groups, at, regions = Groups(text), 0, expl_regions(text)
        for match in DEFINITION.finditer(text):
            if match.start() >= at and (definition := read_definition(groups, match, self.macros)):
                before = bisect(regions, (match.start(),)) - 1  # the last region that begins before it
                is_expl = before >= 0 and match.start() < regions[before][1]
                self._set(from_expl(definition[0]) if is_expl else definition[0])
                at = definition[1]

    def take_expl_regions(self, text: bytes) -> bytes:
        r"""`text` without `\ExplSyntaxOn … \ExplSyntaxOff`; what is defined there is learned."""
        out = Rewriter(text, self._removed)
        for start, end in expl_regions(text):
            self.learn(text[start:end])
            out.cut(start, end, "expl_regions")
        return out.finish()

    def expand(self, text: bytes) -> bytes:
        """`text` with macros expanded and definitions taken in and out."""
        index = CommandIndex(text)
        names, environments = set(), set()
        for name in self.macros:
            if is_environment(name):
                environments.add(name.partition(b"{")[2])
            elif len(name) == 2 or not name.endswith(b"*"):  # starred: looked at where the name is found
                names.add(name)
        commands = index.find(names, environments)
        definers = [at for at, name in commands if name in _DEFINERS]
        if defined_here := defined_names(text, definers):
            commands = sorted({*commands, *index.find(defined_here)})
        return self._expand(text, commands) if commands else text

    def _expand(self, text: bytes, commands: list[Command] | None = None) -> bytes:
        """`commands`: all in `text` that may be macros, where that has been looked for already."""
        macros, outermost = self.macros, not self._depth
        self._work_budget -= len(text)
        groups, out = Groups(text), Rewriter(text, self._removed if outermost else self._not_counted)
        if commands is None:
            commands = [(match.start(), match[0]) for match in COMMAND.finditer(text) if match[0] in macros]
        live = 0  # up to here commands are told apart, which keeps a run of backslashes linear
        for n, (start, name) in enumerate(commands):
            macro = macros.get(name)
            if macro is None or start < max(out.at, live):
                continue
            end = start + len(name)
            if start and text[start - 1] == BACKSLASH and start != live and escaped(text, start):
                live = start + 1
                continue
            live = end
            plain = self._plain.get(name)
            if plain is not None and text[end : end + 1] not in _MAY_BELONG and self._spend(len(plain)):
                out.replace(start, end, plain, "macro_expansion")
                self.replaced += self._counts
                continue
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
            used = self._use(name, macro, groups, end) if self._spend(0) else None
            if used is not None:
                out.replace(start, used[1], used[0], "macro_expansion")
                if used[2]:
                    self._leave([name])
                else:
                    self.replaced += self._counts
                continue
            self._leave([name])
            if outermost and (self._n_uses > MAX_USES or self._output_budget < 0):
                self._leave([name for _, name in commands[n + 1 :]])
                break
        return out.finish()

    def _leave(self, names: list[bytes]) -> None:
        if self._counts:
            self.left += len(names)
            self.left_names.update(names)
        else:
            self._met_opaque = self._met_opaque or not self._opaque.isdisjoint(names)

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
            self._plain.clear()
            if is_environment(name):
                self.macros[b"\\begin"] = self.macros[b"\\end"] = _EDGE

    # ---------------------------------------------------------------- uses

    def _use(self, name: bytes, macro: Macro, groups: Groups, at: int) -> tuple[bytes, int, bool] | None:
        """(what a use stands for, offset behind its arguments, whether macros are left in it).

        None where the use stays.
        """
        template = self._templates.get(name) or self._template(name, macro)
        if (template is None or template.leaves) and (carried := self._carried_out(name, macro, groups, at)):
            return carried
        if template is None or template.n_bytes > self._output_budget:
            return None
        if not macro.n_args:
            new = template.literals[0]
            self._output_budget -= len(new)
            # `\R{}` keeps TeX from eating a blank, which nothing here does.
            if groups.text.startswith(b"{}", at) and (empty := _EMPTY_GROUP.match(groups.text, at)):
                at = at if ends_in_control_word(new) else empty.end()
            return new, at, template.leaves
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
        for n, argument in enumerate(arguments):
            if b"\\" in argument and self._depth < MAX_DEPTH and self._work_budget > 0:
                arguments[n] = self._expanded_argument(argument)
        if not template.is_in_order:
            arguments = [arguments[n - 1] if n <= macro.n_args else b"" for n in template.arguments]
        filled = self._filled(template, arguments)
        return None if filled is None else (filled, at, template.leaves)

    # ---------------------------------------------------------------- uses that look ahead or test

    def _carried_out(
        self, name: bytes, macro: Macro, groups: Groups, at: int
    ) -> tuple[bytes, int, bool] | None:
        """As `_use`, for a macro without a template; None where only TeX itself can carry it out."""
        if (
            macro.body is None
            or self._in_body
            or b"#" in macro.delimited
            or self._failures[name] > MAX_FAILURES
        ):
            return None
        if name not in self._opaque and not self._templates.get(name):
            return None  # inside its own body
        behind = groups.text[at : at + WINDOW]
        before = self._counts, self._met_opaque
        self._counts = False
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH or self._work_budget < 0:
                return None
            given = fill_body(macro, Groups(behind), 0)
            if given is None:
                self._work_budget -= len(behind)
                return None
            body, used = given
            new, taken, n_read = carry_out(body, behind[used:], self._step, needs_tex)
            new = new.replace(NO_VALUE, b"")
            self._work_budget -= n_read + len(new)
            if len(new) > self._output_budget:
                return None
            self._output_budget -= len(new)
            self._failures[name] = 0
            return new, at + used + taken, False
        except GivenUp:
            self._work_budget -= WINDOW
            self._failures[name] += 1
            return None
        finally:
            self._depth -= 1
            self._counts, self._met_opaque = before

    def _step(self, groups: Groups, start: int, end: int, name: bytes) -> Step | None:
        """Carry out the command `name` in [start, end) of a body; None where it is none of the paper's."""
        if (definition := self._definition(groups, start)) is not None:
            if groups.text.count(b"{", 0, start) != groups.text.count(b"}", 0, start):
                raise GivenUp  # it holds in a group alone
            return Step(b"", definition)
        macro = self.macros.get(name)
        if macro is None or macro is _EDGE or macro is _DEFINER:
            return None
        if groups.text[end : end + 1] == b"*" and name + b"*" in self.macros:
            name, end = name + b"*", end + 1
            macro = self.macros[name]
        template = self._templates.get(name) or self._template(name, macro)
        if template is not None and not template.leaves:
            used = self._use(name, macro, groups, end)
            return Step(b"", used[1], used[0]) if used else None
        if name not in self._opaque and template is None:
            return Step(b"", end, name)  # inside its own body
        given = fill_body(macro, groups, end)
        if given is None:
            raise GivenUp
        return Step(given[0], given[1])

    def _expanded_argument(self, argument: bytes) -> bytes:
        if self.macros.keys().isdisjoint(COMMAND.findall(argument)):
            return argument
        self._depth += 1
        expanded = self._expand(argument)
        self._depth -= 1
        return expanded

    def _filled(self, template: Template, given: list[bytes]) -> bytes | None:
        """A body with what is `given` in the order of its places; None beyond the budget."""
        if template.n_bytes + sum(map(len, given)) > self._output_budget:
            self._output_budget = -1  # a bomb: all that follows stays
            return None
        if template.pattern:
            new = template.pattern % tuple(given)
        else:
            pieces = [template.literals[0]]
            for given_here, literal in zip(given, template.literals[1:], strict=True):
                for piece in (given_here, literal):
                    if piece[:1].isalpha() and ends_in_control_word(pieces[-1]):
                        pieces.append(b" ")
                    if piece:
                        pieces.append(piece)
            new = b"".join(pieces)
        self._output_budget -= len(new)
        return new

    def _template(self, name: bytes, macro: Macro) -> Template | None:
        """The expanded body; None while it is being expanded (a macro in itself) or where only TeX knows."""
        if name in self._templates:
            return self._templates[name]
        body = None if macro.body is None else without_silent(macro.body)
        if body is None or macro.letters or macro.delimited or needs_tex(body):
            self._templates[name] = None
            self._opaque.add(name)
            return None
        if self._depth > MAX_DEPTH or self._work_budget < 0:
            return None
        self._templates[name] = None
        leaves = False
        if not macro.is_primitive and b"\\" in body:
            before = self._counts, self._met_opaque, self._in_body
            self._counts = self._met_opaque = False
            self._in_body = True
            self._depth += 1
            body = self._expand(body)
            self._depth -= 1
            leaves = self._met_opaque
            self._counts, self._met_opaque, self._in_body = before[0], before[1] or leaves, before[2]
            self._output_budget -= len(body)
        expanded = self._templates[name] = template_of(body, macro.n_args, leaves)
        if not macro.n_args and not leaves and not is_environment(name):
            self._plain[name] = expanded.literals[0]
        return expanded

    def _spend(self, n_bytes: int) -> bool:
        """Whether one more use and its output are within the budgets, which they are taken from."""
        self._n_uses += 1
        if self._n_uses > MAX_USES or n_bytes > self._output_budget:
            return False
        self._output_budget -= n_bytes
        return True
