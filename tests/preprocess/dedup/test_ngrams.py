"""Hashes of word n-grams: equal exactly where the words are, for any text."""

import random
import re
import string

import numpy as np
import pytest

from preprocess.dedup.ngrams import (
    _LONGEST,
    distinct_ngrams,
    expand_ranges,
    n_shared,
    ngram_hashes,
    sorted_distinct,
)


def words(text: str) -> list[str]:
    """What counts as a word, by the slow definition."""
    return re.findall(r"[^\W_]+", text.lower())


def _texts() -> list[str]:
    rng = random.Random(5)
    alphabet = "aAbZ019 \n\t\\{}$_^.,-éÉß–’中\U0001d4d0\u200b\ud800"
    return ["".join(rng.choices(alphabet, k=rng.randrange(400))) for _ in range(200)]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_hashes_are_equal_exactly_where_the_words_are(n: int) -> None:
    """One-to-one between n-grams of words and hashes, over 200 random texts together."""
    pairs = set()
    for text in _texts():
        found = words(text)
        grams = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
        hashes = ngram_hashes(text, n).tolist()
        assert len(hashes) == len(grams), ascii(text)
        pairs.update(zip(grams, hashes, strict=True))
    assert len(pairs) == len({gram for gram, _ in pairs}) == len({value for _, value in pairs}) > 500


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Let $x_1$ be", "let x 1 BE"),
        (r"\frac{a}{b}", "frac a b"),
        ("Zoë’s – É", "zoë s é"),
        (" a\n\n\tb ", "a b"),
    ],
    ids=["formula", "command", "unicode", "space"],
)
def test_punctuation_between_words_does_not_count(one: str, two: str) -> None:
    assert ngram_hashes(one, 2).tolist() == ngram_hashes(two, 2).tolist()


@pytest.mark.parametrize(
    "text", ["", " ", "\\{}", "one two three four"], ids=["empty", "blank", "no-word", "few"]
)
def test_too_few_words_have_no_ngrams(text: str) -> None:
    assert len(ngram_hashes(text, 5)) == len(distinct_ngrams(text, 5)) == 0


def test_a_word_hashes_alike_wherever_it_stands() -> None:
    """Words are hashed in parts of eight bytes: lengths around a multiple, and what stands behind them."""
    words = [letter * n for letter in "ab" for n in (1, 7, 8, 9, 15, 16, 17, 300, _LONGEST)]
    text = " ".join(random.Random(1).choices(words, k=2000))
    assert len(np.unique(ngram_hashes(text, 1))) == len(words)
    assert len(ngram_hashes("x" * (3 * _LONGEST) + " y z", 1)) == 3


def test_words_that_differ_in_their_last_byte_of_each_part_differ() -> None:
    """A sum of parts times an odd number would give some of them the same hash."""
    words = [f"1234567{a}1234567{b}" for a in string.ascii_lowercase for b in string.ascii_lowercase]
    assert len(np.unique(ngram_hashes(" ".join(words), 1))) == len(words)


def test_hashes_are_the_same_in_every_process() -> None:
    assert ngram_hashes("The quick brown fox", 3).tolist() == [17811728859877085475, 4149659904191495620]


def test_sets_and_their_intersection() -> None:
    rng = random.Random(6)
    one, two = (" ".join(rng.choices("abcdefgh", k=60)) for _ in range(2))
    for n in (1, 2, 3):
        sets = [{tuple(t.split()[i : i + n]) for i in range(61 - n)} for t in (one, two)]
        hashed = [distinct_ngrams(t, n) for t in (one, two)]
        assert [len(h) for h in hashed] == [len(s) for s in sets]
        assert n_shared(*hashed) == len(sets[0] & sets[1])
        assert all((np.diff(h.astype(object)) > 0).all() for h in hashed)


@pytest.mark.parametrize("bits", [0, 1, 16, 40, 63, 64])
def test_sorted_distinct_is_a_sorted_set(bits: int) -> None:
    """Hashes below 2^bits: they may all have the same first 16 bits, by which they are sorted first."""
    rng = random.Random(bits)
    hashes = [rng.randrange(1 << bits) for _ in range(3000)]
    assert sorted_distinct(np.array(hashes, np.uint64)).tolist() == sorted(set(hashes))
    assert sorted_distinct(np.array([], np.uint64)).tolist() == []


def test_ranges_one_after_the_other() -> None:
    numbers, owner = expand_ranges(np.array([3, 7, 1]), np.array([5, 7, 4]))
    assert numbers.tolist() == [3, 4, 1, 2, 3]
    assert owner.tolist() == [0, 0, 2, 2, 2]
