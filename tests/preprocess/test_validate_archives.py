"""A verdict for every item of a bulk tar, by content; tars that are not what the manifest says."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from preprocess.pipeline.shard import read_rows
from preprocess.pipeline.stage import NothingKept
from preprocess.validate_archives import judge_item
from tests.conftest import run_script
from tests.support.corpus import ledger, run_stage
from tests.support.latex_cases import tar_of

TEX = b"\\documentclass{article}\\begin{document}Hello.\\end{document}"
BIG = 1 << 30


def _source(folder: Path, tars: dict[str, bytes], listed: dict[str, bytes] | None = None) -> Path:
    src = folder / "src"
    src.mkdir()
    for name, data in tars.items():
        (src / name).write_bytes(data)
    entries = "".join(
        f"<file><filename>src/{name}</filename><md5sum>{hashlib.md5(data).hexdigest()}</md5sum>"
        f"<size>{len(data)}</size><num_items>1</num_items></file>"
        for name, data in (tars if listed is None else listed).items()
    )
    (src / "arXiv_src_manifest.xml").write_text(f"<?xml version='1.0'?><arXivSRC>{entries}</arXivSRC>")
    return src


def _validate(folder: Path, src: Path, *overrides: str) -> dict[str, str]:
    with contextlib.suppress(NothingKept):  # most of these tars hold nothing else
        run_stage("validate_archives", "--data", folder, "--src", src, *overrides)
    return ledger(folder, "validate_archives")


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        pytest.param(gzip.compress(TEX), "text.gz", "", id="text_gz"),
        pytest.param(gzip.compress(tar_of({"main.tex": TEX})), "tar.gz", "", id="tar_gz"),
        pytest.param(tar_of({"main.tex": TEX}), "tar", "", id="tar"),
        pytest.param(TEX, "text", "", id="text"),
        pytest.param(gzip.compress(TEX) + gzip.compress(TEX), "text.gz", "", id="two_members"),
        pytest.param(gzip.compress(TEX) + b"trailing", "text.gz", "", id="bytes_behind"),
        pytest.param(b"\x1f\x9d\x90" + b"x" * 40, "compress", "", id="compress"),
        pytest.param(b"%PDF-1.4 \n", "pdf", "pdf_only", id="pdf"),
        pytest.param(gzip.compress(b"%PDF-1.4 \n"), "pdf.gz", "pdf_only", id="pdf_gz"),
        pytest.param(gzip.compress(b"%!PS-Adobe-2.0\n"), "postscript.gz", "postscript", id="postscript_gz"),
        pytest.param(gzip.compress(b"<!DOCTYPE html><html>"), "html.gz", "html", id="html_gz"),
        pytest.param(gzip.compress(b""), "empty.gz", "empty", id="empty_gz"),
        pytest.param(b"", "empty", "empty", id="empty"),
        pytest.param(gzip.compress(bytes(10240)), "empty.gz", "empty", id="zeros_gz"),
        pytest.param(gzip.compress(TEX)[:-9], "gzip", "truncated_archive", id="without_its_end"),
        pytest.param(gzip.compress(TEX * 99)[:40], "gzip", "truncated_archive", id="first_bytes_only"),
        pytest.param(gzip.compress(TEX)[:-8] + b"12345678", "gzip", "corrupt_archive", id="wrong_checksum"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\xff" * 60, "gzip", "corrupt_archive", id="no_deflate"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "binary", "unknown_format", id="png"),
    ],
)
def test_item_is_judged_by_its_content(data: bytes, kind: str, reason: str) -> None:
    assert judge_item(data, BIG) == (kind, reason)


def test_bomb_is_too_large_in_flat_memory() -> None:
    assert judge_item(gzip.compress(bytes(64 << 20)), 1 << 20)[1] == "too_large"


def test_every_item_gets_a_row(tmp_path: Path) -> None:
    tar = tar_of(
        {
            "0704/0704.0001.gz": gzip.compress(TEX),
            "0704/hep-th0704002.gz": gzip.compress(TEX),
            "0704/0704.0003.pdf": b"%PDF-1.5",
            "0704/README": b"hello",
            "0704/0704.0001.pdf": b"%PDF-1.5",
        },
        links={"0704/0704.0004.gz": "/etc/passwd"},
    )
    verdicts = _validate(tmp_path, _source(tmp_path, {"arXiv_src_0704_001.tar": tar}))
    assert verdicts == {
        "0704.0001": "kept",
        "hep-th/0704002": "kept",
        "0704.0003": "pdf_only",
        "@0704/README": "no_arxiv_id",
        "0704.0001@0704/0704.0001.pdf": "repeated_item",
        "0704.0004": "not_a_file",
    }


def test_item_is_found_again_at_its_offset(tmp_path: Path) -> None:
    data = gzip.compress(TEX)
    src = _source(tmp_path, {"t.tar": tar_of({"0704/0704.0001.gz": data})})
    _validate(tmp_path, src)
    (row,) = read_rows(tmp_path / "corpus/main/validate_archives/t.parquet")
    assert (src / "t.tar").read_bytes()[row["offset"] :][: row["n_bytes"]] == data


@pytest.mark.parametrize(
    "damage",
    [lambda tar: tar[:-1] + b"x", lambda tar: tar[: len(tar) // 2], lambda tar: tar + bytes(512)],
    ids=["md5", "truncated", "longer"],
)
def test_tar_unlike_its_manifest_entry_is_quarantined_or_salvaged(tmp_path: Path, damage) -> None:
    files = {f"0704/0704.000{i}.gz": gzip.compress(TEX * 40 + bytes([i])) for i in range(1, 9)}
    tar = tar_of(files)
    src = _source(tmp_path, {"t.tar": damage(tar)}, listed={"t.tar": tar})
    verdicts = _validate(tmp_path, src)
    assert set(verdicts.values()) == {"damaged_tar"}
    salvaged = _validate(tmp_path, src, "salvage=true")
    assert "kept" in salvaged.values()
    assert set(salvaged.values()) <= {"kept", "truncated_archive"}


def test_items_of_one_name_or_id_each_have_a_row(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("0704/0704.0001.gz", "0704/0704.0001.gz", "0704/0704.0001.gz", "README", "README"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"Hello"))
    src = _source(tmp_path, {"t.tar": buffer.getvalue()})
    assert sorted(_validate(tmp_path, src).values()) == [
        *("kept", "no_arxiv_id", "no_arxiv_id", "repeated_item", "repeated_item")
    ]
    (src / "t.tar").write_bytes(buffer.getvalue() + b"damage")
    assert list(_validate(tmp_path, src).values()) == ["damaged_tar"] * 5


@pytest.mark.parametrize(
    ("cut", "n_kept", "rows"),
    [
        (lambda tar: tar[: 3 * 1024], 3, {"@t.tar": "truncated_archive"}),
        (lambda tar: tar[: 2 * 1024 + 100], 2, {"@t.tar": "truncated_archive"}),
        (
            lambda tar: tar[: 2 * 1024 + 515],
            2,
            {"0704.0003": "truncated_archive", "@t.tar": "truncated_archive"},
        ),
        (lambda tar: tar[:2048] + b"x" * 512 + tar[2560:], 2, {"@t.tar": "truncated_archive"}),
        (lambda _: b"", 0, {"@t.tar": "truncated_archive"}),
        (lambda _: b"no tar at all" * 99, 0, {"@t.tar": "truncated_archive"}),
    ],
    ids=["between-items", "in-a-header", "in-an-item", "broken-header", "empty", "garbage"],
)
def test_unlisted_tar_that_ends_too_early_is_reported(tmp_path: Path, cut, n_kept: int, rows) -> None:
    tar = tar_of({f"0704/0704.000{i}.gz": gzip.compress(TEX) for i in range(1, 6)})
    verdicts = _validate(tmp_path, _source(tmp_path, {"t.tar": cut(tar)}, listed={"other.tar": tar}))
    assert list(verdicts.values()).count("kept") == n_kept
    assert {key: verdict for key, verdict in verdicts.items() if verdict != "kept"} == rows


def test_tar_without_one_whole_item_is_in_the_ledger(tmp_path: Path) -> None:
    tar = tar_of({"0704/0704.0001.gz": gzip.compress(TEX)})
    src = _source(tmp_path, {"t.tar": b""}, listed={"t.tar": tar})
    assert _validate(tmp_path, src) == {"@t.tar": "damaged_tar"}
    (row,) = read_rows(tmp_path / "ledger/main/validate_archives/t.parquet")
    assert "0 of 1 items found; 0 bytes, the manifest says" in row["detail"]


def test_item_that_claims_to_be_huge_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("0704/0704.0001.gz")
    info.size = 1 << 40
    src = _source(tmp_path, {"t.tar": info.tobuf() + bytes(10240)})
    assert _validate(tmp_path, src)["0704.0001"] == "too_large"


def test_when_a_tar_arrives_only_that_one_is_read(tmp_path: Path) -> None:
    one, two = (tar_of({f"0704/0704.000{i}.gz": gzip.compress(TEX)}) for i in (1, 2))
    src = _source(tmp_path, {"a.tar": one}, listed={"a.tar": one, "b.tar": two})
    _validate(tmp_path, src)
    (src / "b.tar").write_bytes(two)
    (src / "arXiv_src_manifest.xml").touch()
    said = run_stage("validate_archives", "--data", tmp_path, "--src", src)
    assert "1 of 2 shards are finished" in said
    assert set(ledger(tmp_path, "validate_archives").values()) == {"kept"}


def test_tar_that_changes_is_read_again_and_others_are_not(tmp_path: Path) -> None:
    one, two = (tar_of({f"0704/0704.000{i}.gz": gzip.compress(TEX)}) for i in (1, 2))
    src = _source(tmp_path, {"a.tar": one, "b.tar": two})
    _validate(tmp_path, src)
    (src / "b.tar").write_bytes(one)  # same size, other bytes than the manifest says
    said = run_stage("validate_archives", "--data", tmp_path, "--src", src)
    assert "1 of 2 shards are finished" in said
    assert "damaged_tar" in said


def test_missing_and_unlisted_tars_are_reported(tmp_path: Path) -> None:
    tar = tar_of({"0704/0704.0001.gz": gzip.compress(TEX)})
    src = _source(tmp_path, {"a.tar": tar}, listed={"b.tar": tar})
    said = run_stage("validate_archives", "--data", tmp_path, "--src", src)
    assert "1 listed but not here: b.tar" in said
    assert "1 here but not listed, so unchecked: a.tar" in said
    report = json.loads((tmp_path / "ledger/main/validate_archives/_TARS.json").read_text())
    assert report == {"listed_not_here": ["b.tar"], "here_not_listed": ["a.tar"]}


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (None, "no manifest"),
        ("<arXivSRC><file>", "not a manifest"),
        ("<arXivSRC><file><size>many</size></file></arXivSRC>", "not a manifest"),
        (
            "<arXivSRC><file><filename>a.tar</filename><size>1</size><num_items>1</num_items>"
            "<md5sum>/../../a</md5sum></file></arXivSRC>",
            "'/../../a' is no MD5",
        ),
        (
            "<arXivSRC><file><filename>src/..</filename><size>1</size><num_items>1</num_items></file></arXivSRC>",
            "'..' of 1 bytes is no tar",
        ),
        (
            "<arXivSRC><file><filename>a.tar</filename><size>-1</size><num_items>1</num_items></file></arXivSRC>",
            "'a.tar' of -1 bytes is no tar",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><arXivSRC/>', "holds a DTD"),
    ],
    ids=["none", "truncated", "no-number", "no-md5", "no-name", "negative-size", "entities"],
)
def test_unusable_manifest_is_a_clear_error(tmp_path: Path, manifest: str | None, says: str) -> None:
    src = _source(tmp_path, {"a.tar": tar_of({"0704/0704.0001.gz": gzip.compress(TEX)})})
    path = src / "arXiv_src_manifest.xml"
    path.unlink()
    if manifest is not None:
        path.write_text(manifest)
    failed = run_script("preprocess/validate_archives.py", "--data", tmp_path, "--src", src, check=False)
    assert failed.returncode == 2
    assert str(path) in failed.stderr
    assert says in failed.stderr
