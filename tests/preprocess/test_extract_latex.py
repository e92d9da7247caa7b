"""Extraction of whole papers: the same text however it is packed, and no crash whatever the bytes."""

import gzip

import pytest

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import extract, paper, tar_gz, try_extract

BODY = "Größe $\\R$.\n\n\\section{S}\nText % comment\nwith \\verb|%|."
PREAMBLE = "\\usepackage[latin1]{inputenc}\n\\newcommand{\\R}{\\mathbb{R}}"


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(gzip.compress(paper(BODY, PREAMBLE).encode()), id="single_file"),
        pytest.param(tar_gz({"x.tex": paper(BODY, PREAMBLE).encode()}), id="tar"),
        pytest.param(tar_gz({"x.tex": paper(BODY, PREAMBLE).encode("latin-1")}), id="latin1"),
        pytest.param(
            tar_gz({"x.tex": b"\xef\xbb\xbf" + paper(BODY, PREAMBLE).encode()}), id="byte_order_mark"
        ),
        pytest.param(tar_gz({"x.tex": paper(BODY, PREAMBLE).replace("\n", "\r\n").encode()}), id="crlf"),
        pytest.param(tar_gz({"x.tex": paper(BODY, PREAMBLE).replace("\n", "\r").encode()}), id="cr"),
        pytest.param(tar_gz({"f.eps": b"%!PS", "x.tex": paper(BODY, PREAMBLE).encode()}), id="with_a_figure"),
    ],
)
def test_packaging_changes_nothing(item: bytes) -> None:
    result = try_extract(item)
    assert isinstance(result, Extracted)
    assert result.text.decode() == paper(BODY, PREAMBLE)


def test_record_says_what_was_used_and_why() -> None:
    files = {
        "main.tex": paper("\\input{a}\\input{b}"),
        "a.tex": "x",
        "draft.tex": paper("y"),
        "f.eps": "%!PS",
    }
    record = extract(files).record
    assert record["reason"] == "best_score"
    assert record["files"] == ["main.tex", "a.tex"]
    assert record["unresolved"] == ["\\input{b}"]
    assert [path for path, _, _ in record["candidates"]] == ["main.tex", "draft.tex"]
    assert record["n_files"] == 4


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("f.eps", "unused_figure"),
        ("c.cls", "unused_style"),
        ("old.tex", "unused_tex"),
        ("x.bib", "unused_bibliography"),
        ("anc/data.tex", "unused_ancillary"),
        ("data.csv", "unused_other"),
    ],
)
def test_unused_files_are_removed_by_cause(name: str, cause: str) -> None:
    assert extract({"main.tex": paper("x"), name: "12345"}).removed[cause] == 5


@pytest.mark.parametrize(
    ("limits", "detail"),
    [({"max_text_bytes": 1000}, "limit of bytes"), ({"max_commands": 100}, "limit of commands")],
    ids=["bytes", "commands"],
)
def test_text_beyond_the_limits_is_dropped(limits: dict[str, int], detail: str) -> None:
    item = tar_gz({"main.tex": paper("\\input{a}").encode(), "a.tex": b"\\alpha " * 200})
    result = extract_paper(item, "p.tex", ExtractLatexConfig(**limits))
    assert isinstance(result, Dropped)
    assert result.reason == "too_large"
    assert detail in result.detail
    assert isinstance(extract_paper(item, "p.tex", ExtractLatexConfig()), Extracted)
