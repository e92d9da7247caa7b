"""Unpacking of items: every kind of packaging, damage, and hostile content."""

import gzip
import io
import tarfile
import tracemalloc

import pytest

from preprocess.extract_latex import Extracted
from preprocess.latex.extraction.archive import Unpacked, inflate, kind_of, unlzw, unpack
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import paper, tar_gz, tar_of, try_extract

TEX = b"\\documentclass{article}\\begin{document}x\\end{document}\n"


def tar(*members: tuple[tarfile.TarInfo | str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of (name or header, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for header, content in members:
            info = tarfile.TarInfo(header) if isinstance(header, str) else header
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """The header of a member that is not a regular file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def compress(data: bytes, max_bits: int = 16) -> bytes:
    """`data` as compress(1) compresses it, but the table is never cleared."""
    table = {bytes([i]): i for i in range(256)}
    width, bits, n_bits, group = 9, 0, 0, 0
    out = bytearray((0x1F, 0x9D, 0x80 | max_bits))
    next_code, word = 257, b""

    def emit(code: int) -> None:
        nonlocal bits, n_bits, group
        bits |= code << n_bits
        n_bits += width
        group += 1
        while n_bits >= 8:
            out.append(bits & 255)
            bits >>= 8
            n_bits -= 8

    def pad() -> None:
        nonlocal bits, n_bits, group
        while group % 8:
            emit(0)
        group = 0

    for byte in data:
        longer = word + bytes([byte])
        if longer in table:
            word = longer
            continue
        emit(table[word])
        if next_code < 1 << max_bits:
            table[longer] = next_code
            next_code += 1
            if next_code > 1 << width and width < max_bits:
                pad()
                width += 1
        word = bytes([byte])
    if word:
        emit(table[word])
    if n_bits:
        out.append(bits & 255)
    return bytes(out)


def files(item: bytes) -> dict[str, bytes]:
    """The files of an item by name; checks that every byte is accounted for."""
    unpacked = unpack(item, "paper.tex")
    assert isinstance(unpacked, Unpacked), unpacked
    contents = {name: bytes(view) for name, view in unpacked.files.items()}
    assert unpacked.n_bytes == sum(map(len, contents.values())) + unpacked.skipped.total()
    return contents


def reason(item: bytes, **limits: int) -> str:
    """The reason for which an item is dropped."""
    result = unpack(item, "paper.tex", **limits)
    assert isinstance(result, Dropped), result
    return result.reason


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(TEX, id="bare_file"),
        pytest.param(gzip.compress(TEX), id="gzip"),
        pytest.param(gzip.compress(TEX[:10]) + gzip.compress(TEX[10:]), id="two_gzip_members"),
        pytest.param(gzip.compress(TEX) + b"trailing bytes", id="bytes_behind_the_gzip"),
        pytest.param(gzip.compress(TEX) + b"\0" * 100, id="zeroes_behind_the_gzip"),
        pytest.param(gzip.compress(gzip.compress(TEX)), id="gzip_in_gzip"),
        pytest.param(compress(TEX), id="compress"),
        pytest.param(compress(TEX, 12), id="compress_12_bits"),
    ],
)
def test_single_file_is_unpacked_from_any_packaging(item: bytes) -> None:
    assert files(item) == {"paper.tex": TEX}


@pytest.mark.parametrize(
    ("item", "names"),
    [
        pytest.param(tar_gz({"a.tex": TEX, "b.txt": b"x"}), ["a.tex", "b.txt"], id="tar_gz"),
        pytest.param(tar(("a.tex", TEX)), ["a.tex"], id="bare_tar"),
        pytest.param(compress(tar(("a.tex", TEX))), ["a.tex"], id="tar_z"),
        pytest.param(tar(("./a.tex", TEX), ("s/./b", b"x")), ["a.tex", "s/b"], id="dots_in_names"),
        pytest.param(tar((120 * "d/" + "a.tex", TEX)), [120 * "d/" + "a.tex"], id="gnu_long_name"),
        pytest.param(
            tar((120 * "d/" + "a.tex", TEX), format=tarfile.PAX_FORMAT),
            [120 * "d/" + "a.tex"],
            id="pax_long_name",
        ),
        pytest.param(
            tar((60 * "d/" + "a.tex", TEX), format=tarfile.USTAR_FORMAT),
            [60 * "d/" + "a.tex"],
            id="ustar_prefix",
        ),
        pytest.param(tar(("éa.tex", TEX)), ["éa.tex"], id="utf8_name"),
        pytest.param(tar(("p.tar.gz", tar_gz({"a.tex": TEX}))), ["a.tex"], id="archive_in_the_archive"),
        pytest.param(tar(("s/a.tex.gz", gzip.compress(TEX))), ["s/a.tex"], id="packed_file_in_the_archive"),
        pytest.param(tar(("a.tex", b"old"), ("a.tex", TEX)), ["a.tex"], id="repeated_name"),
        pytest.param(
            tar(("a.tex", TEX), ("../b.tex", b"x"), ("s/../../c", b"x")), ["a.tex"], id="names_that_leave"
        ),
        pytest.param(tar(("/etc/a.tex", TEX)), ["etc/a.tex"], id="absolute_name"),
        pytest.param(
            tar((link("l", "l"), b""), (link("m", "/etc/passwd"), b""), ("a.tex", TEX)), ["a.tex"], id="links"
        ),
        pytest.param(
            tar(
                (link("d", "", tarfile.CHRTYPE), b""), (link("f", "", tarfile.FIFOTYPE), b""), ("a.tex", TEX)
            ),
            ["a.tex"],
            id="devices",
        ),
    ],
)
def test_tar_is_unpacked_to_its_safe_regular_files(item: bytes, names: list[str]) -> None:
    contents = files(item)
    assert sorted(contents) == sorted(names)
    assert contents[next(name for name in names if name.endswith("a.tex"))] == TEX


def test_truncated_tar_yields_its_earlier_files() -> None:
    whole = tar(("a.tex", TEX), ("b.tex", TEX * 100))
    result = unpack(gzip.compress(whole[:2500]), "p")
    assert isinstance(result, Unpacked)
    assert list(result.files) == ["a.tex"]
    assert result.flags == ("truncated_archive",)


def test_truncated_gzip_of_a_tar_yields_its_earlier_files() -> None:
    noise = bytes(range(256)) * 2000
    item = tar_gz({"a.tex": TEX, "b.bin": noise, "c.bin": noise[::-1]})
    result = unpack(item[: len(item) // 2], "p")
    assert isinstance(result, Unpacked)
    assert "a.tex" in result.files


@pytest.mark.parametrize(
    ("item", "why"),
    [
        pytest.param(gzip.compress(TEX)[:-20], "truncated_archive", id="truncated_gzip"),
        pytest.param(gzip.compress(TEX)[:10] + b"\x07" * 30, "corrupt_archive", id="corrupt_gzip"),
        pytest.param(
            gzip.compress(gzip.compress(gzip.compress(gzip.compress(TEX)))),
            "nested_too_deep",
            id="four_gzips",
        ),
        pytest.param(b"\x1f\x9d\xff\xff\xff\xff", "corrupt_archive", id="corrupt_compress"),
        pytest.param(tar((link("l", "l"), b"")), "empty_archive", id="only_a_link_to_itself"),
    ],
)
def test_damaged_item_is_dropped_with_its_reason(item: bytes, why: str) -> None:
    assert reason(item) == why


def test_zeros_are_not_a_tar() -> None:
    assert kind_of(b"\0" * 10_240) == "empty"


def test_item_beyond_a_limit_is_dropped() -> None:
    assert reason(gzip.compress(b"x" * 5000), max_bytes=1000) == "too_large"
    assert reason(tar(*((f"{i}", b"") for i in range(20_001)))) == "too_many_members"


def test_decompression_stops_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20), 9) * 32  # 2 GiB
    tracemalloc.start()
    inflated, _ = inflate(memoryview(bomb), 32 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(inflated) > 32 << 20
    assert peak < 300 << 20
    assert reason(bomb, max_bytes=32 << 20) == "too_large"


@pytest.mark.parametrize("n_bytes", [0, 1, 255, 256, 511, 512, 513, 70_000, 300_000])
@pytest.mark.parametrize("max_bits", [10, 12, 16])
def test_unlzw_reads_codes_of_every_width(n_bytes: int, max_bits: int) -> None:
    data = bytes((i * i >> 3) & 0xFF for i in range(n_bytes))
    out, damage = unlzw(memoryview(compress(data, max_bits)), 1 << 20)
    assert (bytes(out), damage) == (data, "")


def test_bytes_balance_where_nested_archives_repeat_a_name() -> None:
    """An item with two versions of a paper, and with a figure of the same name beside them."""
    body = f"\\input{{x}} {'word ' * 50}"
    versions = {f"v{i}.tar": tar_of({"main.tex": paper(body).encode(), "a.eps": b"eps"}) for i in (1, 2)}
    extracted = try_extract(tar_gz(versions | {"a.eps": b"another"}))
    assert isinstance(extracted, Extracted)
    assert extracted.removed["repeated_member"] == len(paper(body)) + 2 * len(b"eps")
