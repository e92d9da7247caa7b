"""Hashes of word n-grams, a whole text at a time in numpy: by them texts are compared.

A word is a run of letters and digits, case apart; spacing, punctuation, backslashes and braces only part
words. n words in a row are one uint64; the same words give the same number in every process and on every
machine. Among 10^5 distinct n-grams two share a number with p < 1e-9.
"""

import re

import numpy as np

# Bytes of words: ASCII letters in lower case, digits, all of UTF-8 beyond ASCII (what is no letter or digit
# there is replaced by a space before). 0 parts words.
_WORD_BYTES = bytes(i if i > 127 else ord(chr(i).lower()) * chr(i).isalnum() for i in range(256))
_NO_WORD_BEYOND_ASCII = re.compile(r"[^\w\x00-\x7f]+")
# Odd multipliers: 16 hexadecimal digits of the fractional parts of pi and e (its last digit made odd).
_IN_WORD, _IN_NGRAM = np.uint64(0x243F6A8885A308D3), np.uint64(0xB7E151628AED2A6B)
# Words are hashed in stretches of so many bytes: 256 KB as uint64 stay in the cache, which is 1.5 x as fast.
_STRETCH = 1 << 15
_POWERS = np.full(_STRETCH, _IN_WORD)
_POWERS[0] = 1
np.multiply.accumulate(_POWERS, out=_POWERS)


def word_bytes(text: str) -> bytes:
    """The words of a text in lower case as UTF-8, zero bytes for all that stands between them."""
    if not text.isascii():
        text = _NO_WORD_BEYOND_ASCII.sub(" ", text.lower())
    # A lone surrogate has no UTF-8; it becomes "?", which parts words.
    return text.encode("utf-8", "replace").translate(_WORD_BYTES)


def ngram_hashes(text: str, n: int) -> np.ndarray:
    """Hash of the `n` words from each word on: uint64 [max(0, words - n + 1)], in the text's order."""
    return combine(word_hashes(text), n)


def combine(words: np.ndarray, n: int) -> np.ndarray:
    """Hashes of n-grams from those of their words, as `ngram_hashes` gives them."""
    n_grams = max(0, len(words) - n + 1)
    hashes = words[:n_grams].copy()
    for k in range(1, n):
        hashes *= _IN_NGRAM
        hashes += words[k : k + n_grams]
    return _mix(hashes)


def distinct_ngrams(text: str, n: int) -> np.ndarray:
    """The set of a text's n-gram hashes: uint64, ascending."""
    hashes = np.sort(ngram_hashes(text, n))  # np.unique hashes them again: 20 x slower
    return hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))] if len(hashes) else hashes


def n_shared(one: np.ndarray, two: np.ndarray) -> int:
    """Size of the intersection of two sets as `distinct_ngrams` gives them."""
    both = np.sort(np.concatenate((one, two)))
    return int(np.count_nonzero(both[1:] == both[:-1]))


def expand_ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All integers of the ranges [start, stop), one range after the other, and the range each is from."""
    lengths = stop - start
    owner = np.repeat(np.arange(len(start)), lengths)
    before = np.cumsum(lengths) - lengths
    return np.arange(len(owner)) - before[owner] + start[owner], owner


def word_hashes(text: str) -> np.ndarray:
    """uint64 [words]: a polynomial over each word's bytes, mixed."""
    data = np.frombuffer(word_bytes(text), np.uint8)
    inside = np.zeros(len(data) + 2, np.bool_)
    inside[1:-1] = data != 0
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = borders[::2], borders[1::2]
    hashes = np.empty(len(starts), np.uint64)
    first = 0
    while first < len(starts):
        begin = starts[first]
        last = max(first + 1, int(np.searchsorted(ends, begin + _STRETCH, side="right")))
        # A single word of more than _STRETCH bytes is no word: its beginning stands for it.
        values = data[begin : min(ends[last - 1], begin + _STRETCH)].astype(np.uint64)
        values *= _POWERS[: len(values)]
        at = starts[first:last] - begin
        # What parts words is zero: a word's sum may go on to the next word's start. The second factor makes
        # it independent of where in the stretch the word stands.
        hashes[first:last] = np.add.reduceat(values, at) * _POWERS[_STRETCH - 1 - at]
        first = last
    return _mix(hashes)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64, in place: every bit depends on every bit of the input."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
