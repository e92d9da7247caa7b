"""Convert a file's bytes to UTF-8 with LF line ends, and count the bytes that this adds or removes.

Bytes that are valid UTF-8 stay. Otherwise the encoding that the paper declares is used, and otherwise
cp1252, which is right for nearly every paper in Latin script (detectors were slower and more often wrong).
The encoding is guessed only for a file that declares none and consists mostly of non-ASCII letters (Cyrillic,
Chinese, Japanese, Korean).
"""

import codecs
import re
from collections import Counter
from dataclasses import dataclass

from preprocess.latex.lexer import begins_comment

_DECLARATION = re.compile(
    rb"\\(?:usepackage\s*\[([\w-]+)\]\s*\{inputenc\}|inputencoding\s*\{([\w-]+)\}|begin\s*\{CJK\*?\}(?:\[\w*\])?\s*\{(\w+)\})"
    rb"|%\s*!\s*T[Ee]X\s+encoding\s*=\s*([\w -]+)"
)
# Python's codecs for the names of inputenc and CJK; any other name is looked up in Python as it is.
_CODECS = {
    "latin1": "cp1252", "iso-8859-1": "cp1252", "isolatin": "cp1252", "ansinew": "cp1252", "applemac":
    "mac_roman", "macce": "mac_latin2", "utf8x": "utf-8", "utf8": "utf-8", "utf-8": "utf-8", "latin9":
    "iso8859-15", "latin10": "iso8859-16", "koi8-r": "koi8_r", "koi8-ru": "koi8_u", "gb": "gb18030",
    "gbk": "gb18030", "gb2312": "gb18030", "bg5": "big5", "min": "euc_jp", "jis": "euc_jp", "sjis":
    "shift_jis", "ks": "euc_kr", "hl": "euc_kr", "isolatin2": "latin2", "ascii": "cp1252", "decmulti":
    "cp1252", "next": "cp1252",
}  # fmt: skip
_MULTIBYTE = ("gb18030", "euc_jp", "euc_kr", "big5", "shift_jis")
# The most frequent characters of running text by codec. The codec is chosen under which most of a file's
# characters are among these.
_FREQUENT = {
    "gb18030": "的一是不了在人有我他这中大来上个国和说们为要就出会可也时定理证明设数则",
    "big5": "的一是不了在人有我他這中大來上個國和說們為要就出會可也時定理證明設數則",
    "euc_jp": "のにはをたがでとしいるれなっすまてもあこらりさそう",
    "shift_jis": "のにはをたがでとしいるれなっすまてもあこらりさそう",
    "euc_kr": "이다의는에을를가고하지로한사기자도정리수있그",
    "koi8_r": "оеаинтсрвлкмдпу",
    "cp1251": "оеаинтсрвлкмдпу",
}
_SAMPLE = 100_000  # bytes from which the encoding is guessed
# A codec that TeX can read decodes these to themselves; the escape \u0041 finds Python's own text codecs.
_ASCII = rb"\n\u0041" + bytes(sorted({*range(0x20, 0x7F)} - {0x5C}))
MAX_STRAY = 2000  # invalid bytes; a text with more is not in the codec at all


@dataclass(frozen=True)
class Decoded:
    """A text in UTF-8 and the codec that it was in. `removed`: bytes by cause, negative for added ones."""

    text: bytes
    codec: str
    removed: Counter[str]


def declared_codec(raw: bytes) -> str | None:
    """The first codec that `raw` declares outside comments; None where it declares none that TeX can read."""
    at, in_comment = 0, False
    for match in _DECLARATION.finditer(raw):
        start = match.start()
        line_end = max(raw.rfind(b"\n", at, start), raw.rfind(b"\r", at, start))
        in_comment = (in_comment and line_end < 0) or begins_comment(raw, max(at, line_end + 1), start)
        at = start  # each byte is looked at once, however long the line is
        if in_comment:
            continue
        name = next(group for group in match.groups() if group).decode("ascii", "replace").strip().lower()
        codec = _CODECS.get(name, name.replace(" ", "-"))
        try:
            reads_ascii = _ASCII.decode(codec, "replace") == _ASCII.decode()
        except (LookupError, ValueError):
            continue  # unknown to Python, or not a codec of text
        if not reads_ascii:  # EBCDIC, UTF-16, escapes: TeX could not read such a file
            continue
        return codec
    return None


def to_utf8(raw: bytes, main: bytes = b"") -> Decoded:
    """Convert `raw` to UTF-8 with LF line ends.

    `main`: the bytes of the paper's main file, whose declaration counts for files that declare nothing.
    """
    removed: Counter[str] = Counter()
    text, codec = raw, "utf-8"
    if raw.startswith(b"\xef\xbb\xbf"):
        text = raw[3:]
        removed["byte_order_mark"] = 3
    elif raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        codec = "utf-16"
        text = raw.decode("utf-16", "replace").encode("utf-8", "replace")
        removed["encoding"] = len(raw) - len(text)
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            codec = declared_codec(text) or declared_codec(main) or _guess(text)
            decoded = _decode(text, codec).encode("utf-8", "replace")
            removed["encoding"] += len(text) - len(decoded)
            text = decoded
    if b"\r" in text:
        # `\r\r\n` comes from converting line ends twice: it is one line end, not an empty line.
        ended = re.sub(rb"(?<!\r)\r++\n", b"\n", text) if b"\r\r" in text else text.replace(b"\r\n", b"\n")
        ended = ended.replace(b"\r", b"\n")
        removed["line_ends"] = len(text) - len(ended)
        text = ended
    return Decoded(text, codec, removed)


def _decode(raw: bytes, codec: str) -> str:
    """Decode `raw`; bytes invalid in `codec` are read as cp1252, and those invalid there as Latin-1."""
    if raw.decode(codec, "replace").count("\ufffd") > MAX_STRAY:
        codec = "cp1252"
    return raw.decode(codec, "cp1252")


def _stray(error: UnicodeError) -> tuple[str, int]:
    """Error handler: (text for the bytes that the codec cannot read, offset where decoding goes on)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    stray = error.object[error.start : error.end]
    return stray.decode("cp1252", "ignore") or stray.decode("latin-1"), error.end


codecs.register_error("cp1252", _stray)


def _guess(raw: bytes) -> str:
    """The likely codec: cp1252, or where most letters are not ASCII, the one with most _FREQUENT ones."""
    sample = raw[:_SAMPLE]
    high = sample.translate(None, bytes(range(0x80)))
    prose = re.sub(rb"\\[A-Za-z]+|[^A-Za-z\x80-\xff]", b"", sample)
    if 2 * len(high) < len(prose):
        return "cp1252"
    scores = {}
    for codec, frequent in _FREQUENT.items():
        decoded = (
            high.decode(codec, "replace") if codec not in _MULTIBYTE else sample.decode(codec, "replace")
        )
        letters = [c for c in decoded if ord(c) >= 0x80]
        good = sum(map(decoded.count, frequent)) - 2 * decoded.count("\ufffd")
        scores[codec] = good / max(len(letters), 1)
    best = max(scores, key=lambda codec: scores[codec])
    return best if scores[best] > 0.1 else "cp1252"
