"""Find the uses of many commands in a text at once.

A paper uses a hundred macros of its own, and a regular expression of their names takes longer to compile than
most papers take to read. Instead numpy reads the first eight letters of all commands at once, as one 64-bit
number for each command.
"""

from collections.abc import Collection, Iterable

import numpy as np

from preprocess.latex.lexer import COMMAND

_KEY_BYTES = 8
_TABLE_BITS = 16
_HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing (Knuth, TAOCP 6.4)
_SHIFT = np.uint64(64 - _TABLE_BITS)
_ONE, _SEVEN = np.uint64(1), np.uint64(7)

Command = tuple[int, bytes]  # offset of the backslash, the command with its backslash


def _in_each_byte(value: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([value]) * _KEY_BYTES))


_LOW_BITS, _TOP_BIT, _LOWER = _in_each_byte(0x7F), _in_each_byte(0x80), _in_each_byte(0x20)
_FROM_A, _BEHIND_Z = _in_each_byte(0x80 - ord("a")), _in_each_byte(0x80 - ord("z") - 1)
_AT = _in_each_byte(ord("@"))


class CommandIndex:
    r"""The commands of a text: each backslash with the letters (including `@`) or the character behind it."""

    def __init__(self, text: bytes) -> None:
        padded = text + bytes(_KEY_BYTES + 1)
        self._text = text
        self._backslashes = np.flatnonzero(np.frombuffer(padded, np.uint8) == ord("\\"))
        self._behind = np.ndarray(len(text) + 1, "<u8", padded, 1, (1,))  # eight bytes, by the offset before
        self._keys = _keys(self._behind[self._backslashes])

    def find(self, names: Collection[bytes], environments: Collection[bytes] = ()) -> list[Command]:
        r"""The uses of `names` (with backslash), ascending. The backslash may be the second one of `\\`.

        `environments`: `\begin` and `\end` are found only before names that begin like one of these, or
        before all names if there are none here.
        """
        # A name that fills its key may be longer, so such a use is read again from the text.
        wanted = _words(name[1:] for name in names)
        by_key = {
            key: name if len(name) <= _KEY_BYTES else b""
            for key, name in zip(wanted.tolist(), names, strict=True)
        }
        chosen = _are_among(self._keys, wanted)
        if environments:
            self._choose_environments(chosen, environments)
        commands = []
        for at, key in zip(self._backslashes[chosen].tolist(), self._keys[chosen].tolist(), strict=True):
            if name := by_key.get(key):
                commands.append((at, name))
            elif name is not None and (match := COMMAND.match(self._text, at)) and match[0] in names:
                commands.append((at, match[0]))
        return commands

    def _choose_environments(self, chosen: np.ndarray, environments: Iterable[bytes]) -> None:
        r"""Unset `chosen` for each `\begin` and `\end` before a name that is none of `environments`."""
        wanted = np.append(_keys(_words(environments)), _words((b" ", b"\t", b"\n")))
        for edge in (b"begin", b"end"):
            at = np.flatnonzero(chosen & (self._keys == _key(edge)))
            name_at = np.minimum(self._backslashes[at] + len(edge) + 1, len(self._text))
            is_tight = self._behind[name_at - 1] & np.uint64(0xFF) == ord("{")
            chosen[at] = ~is_tight | _are_among(_keys(self._behind[name_at]), wanted)


def _key(name: bytes) -> int:
    return int.from_bytes(name[:_KEY_BYTES], "little")


def _words(names: Iterable[bytes]) -> np.ndarray:
    """The first eight bytes of each name as a number, padded with zeros: uint64 (n,)."""
    return np.frombuffer(b"".join([name[:_KEY_BYTES].ljust(_KEY_BYTES, b"\0") for name in names]), "<u8")


def _are_among(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether each of `keys` (n,) is wanted: bool (n,). One in hundreds of the others is True as well."""
    table = np.zeros(1 << _TABLE_BITS, np.bool_)
    table[wanted * _HASH >> _SHIFT] = True
    return np.asarray(table[keys * _HASH >> _SHIFT])


def _keys(words: np.ndarray) -> np.ndarray:
    """The command name at the start of each eight bytes, zeros behind it: uint64 (n,) to uint64 (n,)."""
    # The eight bytes of a word are compared at once, with results in their top bits: L. Lamport, Multiple
    # byte processing with full-word instructions, Communications of the ACM 18 (1975).
    lower = (words | _LOWER) & _LOW_BITS
    is_letter = (lower + _FROM_A) & ~(lower + _BEHIND_Z) & ~words
    differs = words ^ _AT
    is_at = ~(((differs & _LOW_BITS) + _LOW_BITS) | differs)
    behind = ~(is_letter | is_at) & _TOP_BIT
    first = behind & (~behind + _ONE)  # 0 where all eight bytes belong to the name
    keys: np.ndarray = words & ((first >> _SEVEN) - _ONE)
    return np.where(keys == 0, words & np.uint64(0xFF), keys)
