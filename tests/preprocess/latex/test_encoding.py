"""Decoding of files to UTF-8 with LF line ends."""

import pytest

from preprocess.latex.extraction.encoding import to_utf8
from tests.support.latex_cases import extract, normalize, paper

GERMAN = "Über größere Mengen – „Anführung“ und ß"
RUSSIAN = "Пусть дано множество, и каждое из его подмножеств имеет меру нуль. " * 5
CHINESE = "设这个集合是有限的，我们证明它的每一个子集也是有限的。" * 5
JAPANESE = "この集合は有限であるとする。すべての部分集合もまた有限であることをしめす。" * 5


def declared(name: str) -> str:
    """A preamble that declares an encoding."""
    return f"\\documentclass{{article}}\n\\usepackage[{name}]{{inputenc}}\n"


@pytest.mark.parametrize(
    ("raw", "expected", "codec"),
    [
        pytest.param(GERMAN.encode(), GERMAN, "utf-8", id="utf8"),
        pytest.param(b"\xef\xbb\xbf" + GERMAN.encode(), GERMAN, "utf-8", id="byte_order_mark"),
        pytest.param(GERMAN.encode("cp1252"), GERMAN, "cp1252", id="undeclared_is_cp1252"),
        pytest.param(GERMAN.encode("utf-16"), GERMAN, "utf-16", id="utf16_by_its_mark"),
        pytest.param(b"a \x81\x8d b", "a \x81\x8d b", "cp1252", id="undefined_in_cp1252"),
        pytest.param(
            (declared("latin2") + "żółć").encode("latin2"), declared("latin2") + "żółć", "latin2", id="latin2"
        ),
        pytest.param(
            (declared("koi8-r") + RUSSIAN).encode("koi8-r"), declared("koi8-r") + RUSSIAN, "koi8_r", id="koi8"
        ),
        pytest.param(
            (declared("latin1") + "„é“").encode("cp1252"), declared("latin1") + "„é“", "cp1252", id="latin1"
        ),
        pytest.param(
            (declared("utf8") + "é").encode() + b"\xe9", declared("utf8") + "éé", "utf-8", id="mixed"
        ),
        pytest.param(RUSSIAN.encode("koi8-r"), RUSSIAN, "koi8_r", id="guessed_koi8"),
        pytest.param(RUSSIAN.encode("cp1251"), RUSSIAN, "cp1251", id="guessed_cp1251"),
        pytest.param(CHINESE.encode("gb18030"), CHINESE, "gb18030", id="guessed_gb"),
        pytest.param(JAPANESE.encode("euc_jp"), JAPANESE, "euc_jp", id="guessed_euc_jp"),
        pytest.param(JAPANESE.encode("shift_jis"), JAPANESE, "shift_jis", id="guessed_shift_jis"),
    ],
)
def test_text_is_decoded_with_the_right_codec(raw: bytes, expected: str, codec: str) -> None:
    decoded = to_utf8(raw)
    assert decoded.text.decode() == expected
    assert decoded.codec == codec
    assert len(raw) == len(decoded.text) + sum(decoded.removed.values())


def test_encoding_declared_in_the_main_file_counts_for_its_parts() -> None:
    files = {
        "main.tex": paper("\\input{a}", "\\usepackage[latin2]{inputenc}").encode("latin2"),
        "a.tex": "żółć".encode("latin2"),
    }
    assert "żółć" in extract(files).text.decode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\rb\r", b"a\nb\n"),
        (b"a\r\r\nb", b"a\nb"),
        (b"a\r\rb", b"a\n\nb"),
    ],
    ids=["crlf", "cr", "converted_twice", "cr_paragraph"],
)
def test_line_ends_become_lf(raw: bytes, expected: bytes) -> None:
    assert to_utf8(raw).text == expected


def test_comment_ends_at_a_cr_line_end() -> None:
    source = paper("A % comment\nB").replace("\n", "\r").encode()
    assert normalize(extract({"p.tex": source}).text).text == "A B\n"


@pytest.mark.parametrize(
    "name", ["utf-16", "unicode-escape", "idna", "punycode", "utf-7", "cp500", "rot13", "hex"]
)
def test_declared_codec_that_tex_cannot_read_is_ignored(name: str) -> None:
    decoded = to_utf8((declared(name) + "é").encode("cp1252"))
    assert (decoded.text.decode(), decoded.codec) == (declared(name) + "é", "cp1252")


@pytest.mark.parametrize("name", ["utf8", "gb2312", "latin2", "koi8-r"])
@pytest.mark.parametrize("n_bytes", [3_000, 12_000_000], ids=["some", "many"])
def test_text_with_many_invalid_bytes_is_read(name: str, n_bytes: int) -> None:
    source = declared(name).encode() + b"\xe9 " * (n_bytes // 2)
    assert len(to_utf8(source).text) > n_bytes


def test_declaration_in_a_comment_is_ignored() -> None:
    commented = "%\\usepackage[cp1251]{inputenc}\n5\\% % \\usepackage[cp1251]{inputenc}"
    preamble = f"{commented}\n50\\% \\usepackage[latin1]{{inputenc}}"
    assert (
        "café à Erdös"
        in extract({"main.tex": paper("café à Erdös", preamble).encode("latin-1")}).text.decode()
    )
