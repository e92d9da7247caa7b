r"""Random text from context-free grammars, for the built-in sample. The grammars are in `grammars/`.

A grammar is a text of rules `name: alternative | alternative`, continued on indented lines. `<name>` in an
alternative is expanded at random; `<Name>` begins with a capital; `<names>` is the plural of `<name>`; `a(n)`
becomes a or an. No rule refers back to itself, so every expansion ends. Braces and dollar signs are balanced
in every alternative, hence in every text.

english.txt has the sentences of any theoretical paper. The file of a subject, named after its arXiv category,
adds its words (area person adj object invariant part method state fact) and its formulas (sym limit range op
lhs term).
"""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

Rules = dict[str, list[str]]
GRAMMARS = Path(__file__).with_name("grammars")

# Primary categories of the papers. Domains alternate, so that every number of papers is balanced.
SUBJECTS = (
    *("math.NT", "cs.DS", "hep-th", "math.AG", "cs.LG", "gr-qc"),
    *("math.AP", "cs.IT", "quant-ph", "math.CO", "cs.LO", "math-ph"),
)

_SLOT = re.compile(r"<([A-Za-z_]+)>")
_ARTICLE = re.compile(r"\b([Aa])\(n\) (?=(.))", re.DOTALL)


def parse_rules(text: str) -> Rules:
    """The alternatives by rule name; a name that occurs twice has the alternatives of both rules."""
    rules: Rules = {}
    for rule in re.split(r"\n(?=\S)", text.strip()):
        name, _, alternatives = rule.partition(":")
        rules.setdefault(name, []).extend(" ".join(alternatives.split()).split(" | "))
    return rules


@cache
def read_rules(name: str) -> Rules:
    """The rules of grammars/<name>.txt; for a subject together with those of english.txt."""
    rules = parse_rules((GRAMMARS / f"{name}.txt").read_text(encoding="utf-8"))
    return read_rules("english") | rules if name in SUBJECTS else rules


def capitalised(text: str) -> str:
    """`text` with its first character in upper case; a formula or a command stays as it is."""
    return text[:1].upper() + text[1:]


_IRREGULAR = {"matrix": "matrices", "automaton": "automata", "series": "series"}


def plural(noun: str) -> str:
    """The English plural of a noun phrase whose last word is its head."""
    phrase, head = noun[: noun.rfind(" ") + 1], noun[noun.rfind(" ") + 1 :]
    if head in _IRREGULAR:
        return phrase + _IRREGULAR[head]
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


class Grammar:
    """Rules, and the random generator that chooses among their alternatives."""

    def __init__(self, rng: random.Random, rules: Mapping[str, Sequence[str]]) -> None:
        self.rng = rng
        self.rules: Rules = {name: list(alternatives) for name, alternatives in rules.items()}

    def expand(self, name: str) -> str:
        """One random expansion of a rule. Raises KeyError for a name that is no rule."""
        return self.fill(self.rng.choice(self.rules[name]))

    def fill(self, template: str) -> str:
        """`template` with its slots expanded."""
        return _SLOT.sub(lambda slot: self._slot(slot[1]), template)

    def sentences(self, name: str, n: int = 1) -> str:
        """`n` sentences of a rule, each from a different alternative; fewer if the rule has fewer."""
        templates = self.rng.sample(self.rules[name], min(n, len(self.rules[name])))
        return " ".join(capitalised(self._articles(self.fill(template))) for template in templates)

    @staticmethod
    def _articles(text: str) -> str:
        return _ARTICLE.sub(lambda m: m[1] + ("n " if m[2] in "aeiouAEIOU" else " "), text)

    def _slot(self, name: str) -> str:
        if name[0].isupper():
            return capitalised(self._slot(name[0].lower() + name[1:]))
        if name not in self.rules and name[-1] == "s":
            return plural(self.expand(name[:-1]))
        return self.expand(name)
