"""What the compat modes share: the joined files of a submission, and counting the bytes that rules remove."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SEPARATOR = b"\n"  # between two files in the joined text


@dataclass(frozen=True)
class Joined:
    """The texts of a submission (UTF-8) and the names of their files. `removed`: bytes by cause, signed."""

    texts: Sequence[bytes]
    files: Sequence[str]
    removed: Counter[str]  # without the separators

    @property
    def text(self) -> bytes:
        """All texts as one, which the shard of extract_latex stores."""
        return SEPARATOR.join(self.texts)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each text, from which `parts` finds them again."""
        return [len(text) for text in self.texts]


def parts(text: bytes, sizes: Iterable[int]) -> list[str]:
    """The texts that were joined to `text`."""
    found, at = [], 0
    for size in sizes:
        found.append(text[at : at + size].decode())
        at += size + len(SEPARATOR)
    return found


def n_bytes(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def counted(before: str, after: str, cause: str, removed: Counter[str]) -> str:
    """`after`, which a rule made of `before`; adds the bytes that went away to `removed`."""
    removed[cause] += n_bytes(before) - n_bytes(after)
    return after


def without_spans(text: str, opening: str, closing: str) -> str:
    """`text` without what stands from each `opening` to the next `closing`; an unclosed one stays."""
    kept, position = [], 0
    while (start := text.find(opening, position)) >= 0:
        end = text.find(closing, start + len(opening))
        if end < 0:
            break
        kept.append(text[position:start])
        position = end + len(closing)
    return "".join([*kept, text[position:]])
