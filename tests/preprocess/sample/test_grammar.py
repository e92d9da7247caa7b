"""Random text from grammars: plurals, capitals, articles, and no slot left."""

import random

import pytest

from preprocess.sample.grammar import SUBJECTS, Grammar, parse_rules, plural, read_rules
from tests.support.sample import balanced


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("elliptic curve", "elliptic curves"),
        ("abelian variety", "abelian varieties"),
        ("Gibbs process", "Gibbs processes"),
        ("random matrix", "random matrices"),
        ("decay", "decays"),
        ("graph", "graphs"),
    ],
)
def test_plural_of_noun_phrases(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_slots_are_expanded_with_plurals_capitals_and_articles() -> None:
    rules = parse_rules("one: a(n) <adj> <noun>,\n    <Nouns> and <noun>\nadj: open | even\nnoun: box")
    assert Grammar(random.Random(0), rules).sentences("one") in {
        f"An {a} box, Boxes and box" for a in ("open", "even")
    }


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_rule_of_a_subject_expands(subject: str) -> None:
    rules = read_rules(subject) | {name: ["x"] for name in ("cite", "key", "eqref", "secref", "table")}
    grammar = Grammar(random.Random(0), rules)
    for name, alternatives in rules.items():
        for alternative in alternatives:
            text = grammar.fill(alternative)
            assert balanced(text), (name, text)
            assert text.count("$") % 2 == 0, (name, text)
