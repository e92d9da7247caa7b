"""Hashes of word n-grams, which all comparisons of texts use; numpy hashes a whole text at once.

A word is a run of letters and digits; case makes no difference, and spacing, punctuation, backslashes and
braces only separate words. n words in a row become one uint64, the same in every process and on every
machine. Two of 10^5 distinct n-grams have the same hash with p < 1e-9.
"""

import re

import numpy as np

# Translation table: ASCII letters to lower case; digits and all bytes beyond ASCII to themselves (characters
# there that are no letters or digits were replaced by a space before); all else to 0, which separates words.
_WORD_BYTES = bytes(i if i > 127 else ord(chr(i).lower()) * chr(i).isalnum() for i in range(256))
_NO_WORD_BEYOND_ASCII = re.compile(r"[^\w\x00-\x7f]+")
# Odd multipliers: 16 hexadecimal digits of the fractional parts of pi and e (its last digit made odd).
_IN_WORD, _IN_NGRAM = np.uint64(0x243F6A8885A308D3), np.uint64(0xB7E151628AED2A6B)
# Words are hashed in chunks of this many bytes: as uint64 they are 256 KB, which stay in the CPU's cache (1.5
# times as fast as the whole text at once).
_CHUNK_BYTES = 1 << 15
_POWERS = np.full(_CHUNK_BYTES, _IN_WORD)
_POWERS[0] = 1
np.multiply.accumulate(_POWERS, out=_POWERS)


def word_bytes(text: str) -> bytes:
    """The words of a text in lower case as UTF-8, with zero bytes in place of everything between them."""
    if not text.isascii():
        text = _NO_WORD_BEYOND_ASCII.sub(" ", text.lower())
    # A lone surrogate has no UTF-8 form; it becomes "?", which separates words.
    return text.encode("utf-8", "replace").translate(_WORD_BYTES)


def ngram_hashes(text: str, n: int) -> np.ndarray:
    """Hashes of all runs of `n` words: uint64 [max(0, words - n + 1)], in the order of the text."""
    return combine(word_hashes(text), n)


def combine(words: np.ndarray, n: int) -> np.ndarray:
    """Hashes of n-grams, as `ngram_hashes`, from the hashes of the words: uint64 [words]."""
    n_grams = max(0, len(words) - n + 1)
    hashes = words[:n_grams].copy()
    for k in range(1, n):
        hashes *= _IN_NGRAM
        hashes += words[k : k + n_grams]
    return _mix(hashes)


def distinct_ngrams(text: str, n: int) -> np.ndarray:
    """The distinct n-gram hashes of a text: uint64 [distinct], ascending."""
    return sorted_distinct(ngram_hashes(text, n))


def sorted_distinct(hashes: np.ndarray) -> np.ndarray:
    """The distinct ones of some hashes, ascending; uint64 in and out."""
    hashes = np.sort(hashes)  # np.unique uses a hash table, which takes 20 times as long
    return hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))] if len(hashes) else hashes


def n_shared(one: np.ndarray, two: np.ndarray) -> int:
    """Size of the intersection of two results of `distinct_ngrams`."""
    both = np.concatenate((one, two))
    both.sort(kind="stable")  # it merges the two ascending runs, which takes a sixth of the time of a sort
    return int(np.count_nonzero(both[1:] == both[:-1]))


def expand_ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(all integers of the ranges [start, stop) one after the other, the index of each one's range).

    start, stop: int64 [ranges]. Both results: int64 [sum of the ranges' lengths].
    """
    lengths = stop - start
    owner = np.repeat(np.arange(len(start)), lengths)
    before = np.cumsum(lengths) - lengths
    return np.arange(len(owner)) - before[owner] + start[owner], owner


def word_hashes(text: str) -> np.ndarray:
    """Hashes of the words of a text: uint64 [words]. Each is a mixed polynomial of the word's bytes."""
    data = np.frombuffer(word_bytes(text), np.uint8)
    inside = np.zeros(len(data) + 2, np.bool_)
    inside[1:-1] = data != 0
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = borders[::2], borders[1::2]
    hashes = np.empty(len(starts), np.uint64)
    first = 0
    while first < len(starts):
        begin = starts[first]
        last = max(first + 1, int(np.searchsorted(ends, begin + _CHUNK_BYTES, side="right")))
        # Only the first _CHUNK_BYTES of a longer run of letters count: such a run is no word anyway.
        values = data[begin : min(ends[last - 1], begin + _CHUNK_BYTES)].astype(np.uint64)
        values *= _POWERS[: len(values)]
        at = starts[first:last] - begin
        # The bytes between words are zero, so each sum may run on to the next word's start. The second factor
        # makes the sum independent of the word's position in the chunk.
        hashes[first:last] = np.add.reduceat(values, at) * _POWERS[_CHUNK_BYTES - 1 - at]
        first = last
    return _mix(hashes)


def _mix(x: np.ndarray) -> np.ndarray:
    """Mix the bits of uint64 values in place by the finaliser of SplitMix64 (Steele et al. 2014).

    Afterwards every bit depends on every bit of the input.
    """
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
