r"""Expand the author's macros, in the order in which TeX meets them.

A body is expanded once and kept as a template. A macro inside its own body stays
(`\renewcommand{\vec}[1]{\mathbf{\vec #1}}`). Output and work are limited in proportion to the size of the
document: beyond the limits the remaining uses stay and are counted.
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
    ENVIRONMENT_DEFINERS,
    PREFIXES,
    Macro,
    defined_names,
    environment_key,
    from_expl,
    is_environment,
    needs_tex,
    printing_part,
    read_definition,
)
from preprocess.latex.cleaning.rewriter import Rewriter, ends_in_control_word
from preprocess.latex.cleaning.templates import Template, fill_body, plain_arguments, template_of
from preprocess.latex.lexer import BACKSLASH, COMMAND, Groups, escaped

MAX_DEPTH = 25  # nesting of macros in the arguments and bodies of macros
MAX_USES = 100_000  # of macros in a document, at about 10 µs each; a book has 10,000
MAX_FAILURES = 20  # failures in a row, after which a macro's uses stay for the rest of the paper
_EDGE_NAME = re.compile(rb"\s*\{([^{}\\\n]+)\}")
_MAY_BELONG = (b"*", b"{")  # first characters that may belong to a use: of a starred form, an empty group
_EMPTY_GROUP = re.compile(rb"\{\}(?![_^])")
_DEFINERS = frozenset(b"\\" + name for name in DEFINERS | PREFIXES)
_DEFINER, _EDGE = Macro(0, None, None), Macro(0, None, None)  # commands that are not macros but matter


class Expander:
    """Expands the macros of one document of `n_bytes`.

    `replaced` and `left` count the uses that were expanded and those that stay, `left_names` the latter by
    name.
    """

    def __init__(self, n_bytes: int, removed: Counter[str]) -> None:
        # By the command as it is written (`\R`), or for environments by environment_key.
        self.macros: dict[bytes, Macro] = dict.fromkeys(_DEFINERS, _DEFINER)
        self.replaced = self.left = 0
        self.left_names: Counter[bytes] = Counter()
        self._removed, self._not_counted = removed, Counter[str]()
        # In bytes, proportional to the document with a minimum for short ones. No real paper comes near.
        self._output_budget = 4 * n_bytes + (1 << 20)
        self._work_budget = 16 * n_bytes + (4 << 20)
        self._templates: dict[bytes, Template | None] = {}
        self._plain: dict[bytes, bytes] = {}  # expanded bodies of macros without arguments
        self._depth = self._n_uses = 0
        self._counts = True  # whether uses are counted: in the document and in arguments, not in bodies
        self._opaque: set[bytes] = set()  # macros without a template: only their uses can be carried out
        self._failures: Counter[bytes] = Counter()  # of carrying out such a macro, in a row
        self._in_body = False  # in a macro's body, where the text behind the use is unknown
        self._met_opaque = False

    def learn(self, text: bytes) -> None:
        """Read the definitions in `text`, usually a preamble."""
        groups, at, regions, macros = Groups(text), 0, expl_regions(text), self.macros
        for match in DEFINITION.finditer(text):
            if match.start() < at or not (definition := read_definition(groups, match, macros)):
                continue
            learned, at = definition
            if regions:
                before = bisect(regions, (match.start(),)) - 1  # the last region that begins before it
                if before >= 0 and match.start() < regions[before][1]:
                    learned = from_expl(learned)
            macros.update(learned)
            if match[1] in ENVIRONMENT_DEFINERS and learned:
                macros[b"\\begin"] = macros[b"\\end"] = _EDGE
        self._forget_templates()

    def take_expl_regions(self, text: bytes) -> bytes:
        r"""`text` without `\ExplSyntaxOn … \ExplSyntaxOff`, after learning the definitions there."""
        out = Rewriter(text, self._removed)
        for start, end in expl_regions(text):
            self.learn(text[start:end])
            out.cut(start, end, "expl_regions")
        return out.finish()

    def expand(self, text: bytes) -> bytes:
        """`text` with macros expanded; definitions in it are learned and removed."""
        index = CommandIndex(text)
        names, environments = set(), set()
        for name in self.macros:
            if is_environment(name):
                environments.add(name.partition(b"{")[2])
            elif len(name) == 2 or not name.endswith(b"*"):  # a starred form is found by its name
                names.add(name)
        commands = index.find(names, environments)
        definers = [at for at, name in commands if name in _DEFINERS]
        if defined_here := defined_names(text, definers):
            commands = sorted({*commands, *index.find(defined_here)})
        return self._expand(text, commands) if commands else text

    def _expand(self, text: bytes, commands: list[Command] | None = None) -> bytes:
        """`text` with macros expanded. `commands`: all commands that may be macros, if already known."""
        macros, outermost = self.macros, not self._depth
        self._work_budget -= len(text)
        groups, out = Groups(text), Rewriter(text, self._removed if outermost else self._not_counted)
        if commands is None:
            commands = [(match.start(), match[0]) for match in COMMAND.finditer(text) if match[0] in macros]
        plain, may_belong = self._plain, _MAY_BELONG
        live = 0  # a command ends here: whether the next one is escaped is known, however many backslashes
        for n, (start, name) in enumerate(commands):
            macro = macros.get(name)
            if macro is None or start < live or start < out.at:
                continue
            end = start + len(name)
            if start and text[start - 1] == BACKSLASH and start != live and escaped(text, start):
                live = start + 1
                continue
            live = end
            body = plain.get(name)
            if body is not None and text[end : end + 1] not in may_belong and self._spend(len(body)):
                out.replace(start, end, body, "macro_expansion")
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
        """Count uses that stay; in a body, note whether one of them needs the text behind it."""
        if self._counts:
            self.left += len(names)
            self.left_names.update(names)
        else:
            self._met_opaque = self._met_opaque or not self._opaque.isdisjoint(names)

    def _definition(self, groups: Groups, start: int) -> int | None:
        """Learn the definition at `start`; returns the offset behind it, None where it cannot be read."""
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
            self._forget_templates()
            if is_environment(name):
                self.macros[b"\\begin"] = self.macros[b"\\end"] = _EDGE

    def _forget_templates(self) -> None:
        """Forget the expanded bodies, because they may contain the old meaning of another macro."""
        self._templates.clear()
        self._plain.clear()

    # ---------------------------------------------------------------- uses

    def _use(self, name: bytes, macro: Macro, groups: Groups, at: int) -> tuple[bytes, int, bool] | None:
        """Expand a use: (text, offset behind the arguments, whether macros remain); None where it stays."""
        template = self._templates.get(name) or self._template(name, macro)
        if (template is None or template.is_incomplete) and (
            carried := self._carried_out(name, macro, groups, at)
        ):
            return carried
        if template is None or template.n_bytes > self._output_budget:
            return None
        if not macro.n_args:
            new = template.literals[0]
            self._output_budget -= len(new)
            # In `\R{}` the group only keeps TeX from skipping a blank, which is not skipped here.
            if groups.text.startswith(b"{}", at) and (empty := _EMPTY_GROUP.match(groups.text, at)):
                at = at if ends_in_control_word(new) else empty.end()
            return new, at, template.is_incomplete
        given = plain_arguments(macro, groups, at)
        if given is None:
            return None
        arguments, at = given
        for n, argument in enumerate(arguments):
            if b"\\" in argument and self._depth < MAX_DEPTH and self._work_budget > 0:
                arguments[n] = self._expanded_part(argument)
        if not template.is_in_order:
            arguments = [arguments[n - 1] if n <= macro.n_args else b"" for n in template.arguments]
        filled = self._filled(template, arguments)
        return None if filled is None else (filled, at, template.is_incomplete)

    # ---------------------------------------------------------------- macros that look ahead or test

    def _carried_out(
        self, name: bytes, macro: Macro, groups: Groups, at: int
    ) -> tuple[bytes, int, bool] | None:
        """As `_use`, for a macro without a complete template; None where only TeX can carry it out."""
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
        """Expand the command `name` in [start, end) of a body; None if it is not a macro of the paper."""
        if (definition := self._definition(groups, start)) is not None:
            if groups.text.count(b"{", 0, start) != groups.text.count(b"}", 0, start):
                raise GivenUp  # the definition is local to a group
            return Step(b"", definition)
        macro = self.macros.get(name)
        if macro is None or macro is _EDGE or macro is _DEFINER:
            return None
        if groups.text[end : end + 1] == b"*" and name + b"*" in self.macros:
            name, end = name + b"*", end + 1
            macro = self.macros[name]
        template = self._templates.get(name) or self._template(name, macro)
        if template is not None and not template.is_incomplete:
            used = self._use(name, macro, groups, end)
            return Step(b"", used[1], used[0]) if used else None
        if name not in self._opaque and template is None:
            return Step(b"", end, name)  # inside its own body
        given = fill_body(macro, groups, end)
        if given is None:
            raise GivenUp
        return Step(given[0], given[1])

    def _expanded_part(self, text: bytes) -> bytes:
        """An argument or a body with macros expanded."""
        if self.macros.keys().isdisjoint(COMMAND.findall(text)):
            return text
        self._depth += 1
        expanded = self._expand(text)
        self._depth -= 1
        return expanded

    def _filled(self, template: Template, given: list[bytes]) -> bytes | None:
        """The template with the arguments `given`, in the order of their places; None beyond the budget."""
        if template.n_bytes + sum(map(len, given)) > self._output_budget:
            self._output_budget = -1  # all following uses stay
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
        """The expanded body; None while it is being expanded, or where only single uses can be."""
        if name in self._templates:
            return self._templates[name]
        body = None if macro.body is None else printing_part(macro.body)
        if body is None or macro.letters or macro.delimited:
            self._templates[name] = None
            self._opaque.add(name)
            return None
        if self._depth > MAX_DEPTH or self._work_budget < 0:
            return None
        self._templates[name] = None
        is_incomplete = False
        if not macro.is_primitive and b"\\" in body:
            before = self._counts, self._met_opaque, self._in_body
            self._counts = self._met_opaque = False
            self._in_body = True
            n_bytes, work_left = len(body), self._work_budget
            body = self._expanded_part(body)
            # A template may be made many times, so its body is work even if nothing in it is a macro.
            self._work_budget = min(self._work_budget, work_left - n_bytes)
            is_incomplete = self._met_opaque
            self._counts, self._met_opaque, self._in_body = before[0], before[1] or is_incomplete, before[2]
            self._output_budget -= len(body)
        expanded = self._templates[name] = template_of(body, macro.n_args, is_incomplete)
        if not macro.n_args and not is_incomplete and not is_environment(name):
            self._plain[name] = expanded.literals[0]
        return expanded

    def _spend(self, n_bytes: int) -> bool:
        """Count one more use and `n_bytes` of output; False, without spending, if that exceeds a limit."""
        self._n_uses += 1
        if self._n_uses > MAX_USES or n_bytes > self._output_budget:
            return False
        self._output_budget -= n_bytes
        return True
