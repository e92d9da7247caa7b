r"""Which tokens of a document are mathematics: the one definition by which losses are divided.

A formula is `$…$`, `$$…$$`, `\(…\)`, `\[…\]` or an environment of mathematics, delimiters included. A blank
line ends every formula, as it does in TeX, so a delimiter that is never closed misleads no further than its
paragraph. Text inside a formula (`\text{…}`) belongs to it. A token is a formula token if at least half of
its bytes that are no blanks (or of all, if it holds only blanks) lie in a formula.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer

_ENVIRONMENT = (
    rb"(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray|dmath|subequations"
    rb"|xalignat|xxalignat)\*?"
)
# What can begin or end a formula. `\\` and `\$` are taken whole, so that `\\[2pt]` opens nothing.
_EVENT = re.compile(
    rb"\\begin\{(?P<begin>" + _ENVIRONMENT + rb")\}|\\end\{(?P<end>" + _ENVIRONMENT + rb")\}"
    rb"|(?P<escape>\\.)|(?P<dollars>\$\$?)|(?P<blank>\n[ \t]*\n)",
    re.DOTALL,
)
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_CLOSES = {rb"\[": rb"\]", rb"\(": rb"\)"}


def formula_bytes(text: bytes) -> np.ndarray:
    """Whether each byte of a LaTeX text (UTF-8) lies in a formula (bool, one value a byte)."""
    inside = np.zeros(len(text), np.bool_)
    begin, closer = 0, b""  # where the open formula began, and what ends it; b"" outside
    for event in _EVENT.finditer(text):
        kind, what = str(event.lastgroup), event[0]
        if not closer:
            opened = event["begin"] or _CLOSES.get(what, what if kind == "dollars" else b"")
            if opened:
                begin, closer = event.start(), opened
            continue
        stop = event.end()
        if kind == "blank":
            stop = event.start()
        elif kind == "dollars" and closer == b"$" and what == b"$$":  # one formula ends, another begins
            inside[begin : stop - 1] = True
            begin = stop - 1
            continue
        elif closer not in (event["end"], what) or kind == "begin":
            continue
        inside[begin:stop] = True
        closer = b""
    if closer:
        inside[begin:] = True
    return inside


def piece_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The text of every token (UTF-8) by its id, with the sign for a blank turned back into one."""
    pieces = []
    for token in range(tokenizer.get_vocab_size()):
        piece = tokenizer.id_to_token(token) or ""
        byte = _BYTE.fullmatch(piece)
        pieces.append(bytes([int(byte[1], 16)]) if byte else piece.replace("\u2581", " ").encode())
    return pieces


def formula_tokens(ids: Iterable[int], pieces: Sequence[bytes]) -> np.ndarray:
    """Whether each token of a document is mathematics (bool). `pieces`: the bytes of each token by its id."""
    parts = [pieces[token] for token in ids]
    text = b"".join(parts)
    inside = formula_bytes(text)
    counted = ~np.isin(np.frombuffer(text, np.uint8), np.frombuffer(b" \n\t", np.uint8))
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    edges = np.concatenate([[0], ends])

    def by_token(flags: np.ndarray) -> np.ndarray:
        return np.diff(np.concatenate([[0], np.cumsum(flags)])[edges])

    n_counted, n_bytes = by_token(counted), np.diff(edges)
    only_blanks = n_counted == 0
    n_inside = np.where(only_blanks, by_token(inside), by_token(inside & counted))
    n_all = np.where(only_blanks, n_bytes, n_counted)
    return (2 * n_inside >= n_all) & (n_all > 0)
