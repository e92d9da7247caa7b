"""Hashes of word n-grams, which all comparisons of texts use; numpy hashes a whole text at once.

A word is a run of letters and digits; case makes no difference, and spacing, punctuation, backslashes and
braces only separate words. n words in a row become one uint64, the same in every process and on every
machine. Two of 10^5 distinct n-grams have the same hash with p < 1e-9.
"""

import numpy as np
import xxhash

# Translation table for ASCII text: letters to lower case, digits to themselves, all else to 0, which
# separates words.
_WORD_BYTES = bytes(ord(chr(i).lower()) * chr(i).isalnum() if i < 128 else 0 for i in range(256))
_UNSEEN = 1 << 31  # no character has this code
# The same for all of Unicode (4 MB), filled in as characters occur.
_WORD_CODES = np.full(0x110000, _UNSEEN, np.uint32)
# 16 hexadecimal digits of the fractional part of e, the last one made odd.
_IN_NGRAM = np.array([0xB7E151628AED2A6B], np.uint64)  # an array, because numpy warns if a scalar overflows
_PART = 8  # bytes of a word that are hashed at a time
_LONGEST = 1 << 10  # only so many bytes of a longer run of letters count: such a run is no word anyway
_LOW_BITS = np.uint64(48)  # all but the 16 bits by which hashes are sorted first
# The first n bytes of a little-endian uint64, for n from 0 to 8.
_FIRST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(_PART + 1)], np.uint64)


def word_bytes(text: str) -> bytes:
    """The words of a text in lower case as UTF-8, with zero bytes in place of everything between them."""
    if text.isascii():
        return text.encode().translate(_WORD_BYTES)
    # A lone surrogate has no code of its own here; it becomes "?", which separates words.
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
    found = _WORD_CODES[codes]
    if (found == _UNSEEN).any():
        new = np.unique(codes[found == _UNSEEN])
        _WORD_CODES[new] = [_word_code(chr(code)) for code in new.tolist()]
        found = _WORD_CODES[codes]
    return found.tobytes().decode("utf-32-le").encode()


def _word_code(character: str) -> int:
    """The code of a letter or digit in lower case, 0 for all else."""
    lower = character.lower()
    return ord(lower if len(lower) == 1 else character) if character.isalnum() else 0


def text_key(words: bytes) -> bytes:
    """128-bit hash of a text's letters and digits. Among 10^7 papers two collide with p < 1e-24.

    `words`: as `word_bytes` returns them.
    """
    return xxhash.xxh3_128_digest(words.translate(None, b"\0"))


def ngram_hashes(text: str, n: int) -> np.ndarray:
    """Hashes of all runs of `n` words: uint64 [max(0, words - n + 1)], in the order of the text."""
    return combine(word_hashes(word_bytes(text)), n)


def combine(words: np.ndarray, n: int) -> np.ndarray:
    """Hashes of n-grams, as `ngram_hashes`, from the hashes of the words: uint64 [words].

    An n-gram's hash is a mixed polynomial of its words' hashes. That of 2 k words follows from the two of k
    words, and that of k + 1 words from that of k, so 8 words take three multiplications and not seven.
    """
    hashes, length, factor = words, 1, _IN_NGRAM  # factor: _IN_NGRAM to the power of `length`
    for binary_digit in f"{n:b}"[1:]:
        hashes = hashes[:-length] * factor + hashes[length:]
        length, factor = 2 * length, factor * factor
        if binary_digit == "1":
            hashes = hashes[:-1] * _IN_NGRAM + words[length:]
            length, factor = length + 1, factor * _IN_NGRAM
    return _mix(hashes.copy() if hashes is words else hashes)


def distinct_ngrams(text: str, n: int) -> np.ndarray:
    """The distinct n-gram hashes of a text: uint64 [distinct], ascending."""
    return sorted_distinct(ngram_hashes(text, n))


def sorted_distinct(hashes: np.ndarray) -> np.ndarray:
    """The distinct ones of some hashes, ascending; uint64 in and out."""
    # Two stable sorts take a quarter of the time of a sort: numpy sorts 16 bits by their values, and then
    # hardly any hash is out of place. np.unique, which uses a hash table, takes 20 times as long.
    hashes = hashes[np.argsort((hashes >> _LOW_BITS).astype(np.uint16), kind="stable")]
    hashes.sort(kind="stable")
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


def word_hashes(words: bytes) -> np.ndarray:
    """Hashes of the words in a result of `word_bytes`: uint64 [words].

    A word is hashed in parts of eight bytes: the hash so far is mixed and the next part added. Most words
    have one part.
    """
    padded = words + bytes(_PART)
    inside = np.zeros(len(words) + 2, np.bool_)
    inside[1:-1] = np.frombuffer(words, np.uint8)
    borders = np.flatnonzero(inside[1:] != inside[:-1])
    starts = borders[::2]
    lengths = np.minimum(borders[1::2] - starts, _LONGEST)
    parts = np.ndarray(len(words) + 1, "<u8", padded, strides=(1,))  # the eight bytes from each byte on
    hashes = parts[starts]
    hashes &= _FIRST_BYTES.take(lengths, mode="clip")
    longer = np.flatnonzero(lengths > _PART)
    done = _PART
    while len(longer):
        rest = lengths[longer] - done
        part = parts[starts[longer] + done] & _FIRST_BYTES.take(rest, mode="clip")
        hashes[longer] = _mix(hashes[longer]) + part
        longer = longer[rest > _PART]
        done += _PART
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
