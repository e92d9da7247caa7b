"""Made-up texts, and copies of texts with a known similarity to them."""

import random

import numpy as np

from preprocess.dedup.ngrams import distinct_ngrams, n_shared

# Frequencies follow Zipf's law, as those of words do, so phrases of frequent words recur in all texts.
_WORDS = [f"w{i}" for i in range(5000)]
_WEIGHTS = [1 / (i + 10) for i in range(5000)]


def write_words(rng: random.Random, n_words: int) -> list[str]:
    """A text of random words."""
    return rng.choices(_WORDS, _WEIGHTS, k=n_words)


def edited(rng: random.Random, words: list[str], share: float) -> list[str]:
    """A copy with a share of the words replaced at random places."""
    return [rng.choice(_WORDS) if rng.random() < share else word for word in words]


def with_other_ending(rng: random.Random, words: list[str], share: float) -> list[str]:
    """A copy whose last part, a share of the words, is rewritten."""
    n_kept = round((1 - share) * len(words))
    return words[:n_kept] + write_words(rng, len(words) - n_kept)


def perturbed(rng: random.Random, text: str) -> list[str]:
    """Two near duplicates, a chapter (of at least 1,000 words), and a copy too different for a duplicate."""
    words = text.split()
    length = max(1000, len(words) // 4)
    start = rng.randrange(max(1, len(words) - length))
    copies = (
        edited(rng, words, 0.01),
        with_other_ending(rng, words, 0.08),
        edited(rng, words[start : start + length], 0.015),
        edited(rng, words, 0.08),
    )
    return [" ".join(copy) for copy in copies]


def likeness(one: str, two: str, n: int = 5) -> tuple[float, float]:
    """(Jaccard similarity, containment of the smaller one) of word n-grams."""
    a, b = distinct_ngrams(one, n), distinct_ngrams(two, n)
    both = n_shared(a, b)
    return both / (len(a) + len(b) - both), both / min(len(a), len(b))


def held(text: str, others: list[str], n: int = 8) -> float:
    """Share of a text's n-grams that occur in any of the others."""
    ngrams = distinct_ngrams(text, n)
    return float(np.isin(ngrams, np.concatenate([distinct_ngrams(other, n) for other in others])).mean())
