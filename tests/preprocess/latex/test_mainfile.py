"""The choice of an archive's main file."""

from collections.abc import Mapping

import pytest

from preprocess.latex.extraction import mainfile
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import extract, paper, tar_gz, try_extract

LONG = "words " * 2000
PAPER = paper("\\begin{abstract}x\\end{abstract}\nText.", "\\title{T}")


@pytest.mark.parametrize(
    ("files", "main", "reason"),
    [
        pytest.param({"a.tex": PAPER}, "a.tex", "only_candidate", id="only_one"),
        pytest.param(
            {"a.tex": PAPER, "b.tex": paper(LONG)},
            "a.tex",
            "best_score",
            id="title_and_abstract_before_length",
        ),
        pytest.param(
            {"ms.tex": PAPER, "response.tex": PAPER + LONG}, "ms.tex", "best_score", id="response_to_referees"
        ),
        pytest.param(
            {"p.tex": PAPER, "supplement.tex": PAPER + LONG}, "p.tex", "best_score", id="supplement"
        ),
        pytest.param({"p.tex": PAPER, "template.tex": PAPER + LONG}, "p.tex", "best_score", id="template"),
        pytest.param(
            {"a.tex": PAPER, "letter.tex": PAPER.replace("article", "letter") + LONG},
            "a.tex",
            "only_candidate",
            id="letter_class",
        ),
        pytest.param(
            {"a.tex": PAPER, "fig.tex": paper(LONG).replace("article", "standalone")},
            "a.tex",
            "only_candidate",
            id="standalone_figure",
        ),
        pytest.param({"x.tex": PAPER, "main.tex": PAPER}, "main.tex", "best_score", id="name"),
        pytest.param(
            {"x.tex": PAPER, "x.bbl": "", "y.tex": PAPER}, "x.tex", "best_score", id="has_its_bibliography"
        ),
        pytest.param(
            {"a.tex": paper("\\input{b}"), "b.tex": PAPER + LONG},
            "a.tex",
            "only_candidate",
            id="not_what_is_included",
        ),
        pytest.param(
            {
                "a.tex": "\\input{pre}\n\\begin{document}A\\end{document}",
                "pre.tex": "\\documentclass{article}",
            },
            "a.tex",
            "only_candidate",
            id="class_in_an_included_file",
        ),
        pytest.param(
            {"a.tex": "% \\documentclass{x}\n% \\begin{document}\n" + LONG, "b.tex": PAPER},
            "b.tex",
            "only_candidate",
            id="commented_class_is_none",
        ),
        pytest.param(
            {"a.tex": PAPER, "b.tex": PAPER, "00README.XXX": "b.tex toplevelfile\n"},
            "b.tex",
            "readme",
            id="readme_lines",
        ),
        pytest.param(
            {
                "a.tex": PAPER,
                "b.tex": PAPER,
                "00README.json": '{"sources": [{"filename": "b.tex", "usage": "toplevel"}]}',
            },
            "b.tex",
            "readme",
            id="readme_json",
        ),
        pytest.param(
            {
                "a.tex": PAPER,
                "b.tex": PAPER,
                "00README.yaml": "sources:\n- filename: b.tex\n  usage: toplevel\n",
            },
            "b.tex",
            "readme",
            id="readme_yaml",
        ),
        pytest.param(
            {
                "a.tex": PAPER,
                "b.tex": PAPER,
                "00README.yaml": "sources:\n- usage: toplevel\n  filename: b.tex\n- filename: a.tex\n",
            },
            "b.tex",
            "readme",
            id="readme_yaml_usage_first",
        ),
        pytest.param(
            {"a.tex": PAPER, "b.tex": PAPER, "00README.XXX": "a.tex ignore\n"},
            "b.tex",
            "only_candidate",
            id="readme_ignores",
        ),
        pytest.param(
            {"a.tex": PAPER, "b.tex": PAPER, "00README.json": "{]"}, "a.tex", "best_score", id="readme_broken"
        ),
        pytest.param(
            {"b.tex": PAPER, "a.tex": PAPER, "p/c.tex": "%!TEX root = ../b.tex\nx"},
            "b.tex",
            "best_score",
            id="tex_root",
        ),
        pytest.param(
            {"a.tex": PAPER, "anc/b.tex": PAPER + LONG}, "a.tex", "only_candidate", id="ancillary_files"
        ),
        pytest.param({"a.tex": PAPER, "copy/a.tex": PAPER}, "a.tex", "best_score", id="the_same_paper_twice"),
        pytest.param(
            {"slides.tex": PAPER.replace("article", "beamer") + LONG, "a.tex": PAPER},
            "a.tex",
            "best_score",
            id="slides",
        ),
        pytest.param(
            {"a.tex": "%auto-ignore\n" + PAPER, "b.tex": paper("x")},
            "b.tex",
            "only_candidate",
            id="auto_ignored_part",
        ),
        pytest.param(
            {"p.tex": "\\input amstex\n\\documentstyle{amsppt}\n\\document x \\enddocument"},
            "p.tex",
            "only_candidate",
            id="amstex",
        ),
        pytest.param(
            {"p.tex": "\\magnification=1200\nText.\n\\bye"}, "p.tex", "only_candidate", id="plain_tex"
        ),
        pytest.param(
            {"p.tex": "\\documentstyle[12pt]{article}\\begin{document}x\\end{document}"},
            "p.tex",
            "only_candidate",
            id="latex209",
        ),
        pytest.param(
            {"p.tex": "\\section{A} \\emph{b} \\cite{c} \\ref{d} \\label{e}"},
            "p.tex",
            "only_tex_file",
            id="fragment",
        ),
        pytest.param({"paper": PAPER}, "paper", "only_candidate", id="no_suffix"),
    ],
)
def test_main_file_is_chosen_for_the_right_reason(files: Mapping[str, str], main: str, reason: str) -> None:
    result = extract(files)
    assert (result.main_file, result.record["reason"]) == (main, reason)


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (PAPER, "latex"),
        ("\\documentstyle[12pt]{article}\\begin{document}x\\end{document}", "latex209"),
        ("\\input amstex\n\\documentstyle{amsppt}\n\\document x \\enddocument", "amstex"),
        ("\\input amstex\nText.\n\\bye", "amstex"),
        ("\\magnification=1200\nText.\n\\bye", "plain"),
    ],
)
def test_dialect_is_recognised(text: str, dialect: str) -> None:
    assert extract({"p.tex": text}).record["dialect"] == dialect


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"p.tex": b"%auto-ignore\nwithdrawn"}, "auto_ignore"),
        ({"p.pdf": b"%PDF-1.4"}, "pdf_source"),
        ({"p.ps": b"%!PS-Adobe"}, "postscript_source"),
        ({"p.html": b"<!DOCTYPE html><html>"}, "html_source"),
        ({"a.png": b"\x89PNG\r\n"}, "no_tex_source"),
        ({"a.txt": b"just words"}, "no_tex_source"),
        ({"a.tex": b"\\a \\bb " * 20 + b"\\ccc", "b.tex": b"\\dd \\ee " * 20}, "no_main_file"),
    ],
    ids=["withdrawn", "pdf", "postscript", "html", "figures_only", "words_only", "two_fragments"],
)
def test_archive_without_a_paper_is_dropped_with_its_reason(files: Mapping[str, bytes], reason: str) -> None:
    result = try_extract(tar_gz(files))
    assert isinstance(result, Dropped)
    assert result.reason == reason
    assert result.bytes_in == sum(map(len, files.values()))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(other, id=name)
        for name, other in {
            "nothing": "text",
            "its_name_in_prose": "The body of the paper.",
            "part": "\\input{other}",
            "wrapper": "\\input{body}",
            "wrapper_with_suffix": "\\input{body.tex}",
            "wrapper_bare": "\\input body\n",
            "wrapper_quoted": '\\input{"body"}',
            "wrapper_by_folder": "\\import{./}{body}",
            "wrapper_by_detour": "\\input{../x/body}",
            "wrapper_by_macro": "\\olinput{\\here/body}",
            "wrapper_in_comment": "% \\input{body}",
            "class_alone": "\\documentclass{article}",
            "class_and_body_included": "\\documentclass{article}\\input{body}",
            "second_body": "\\begin{document}",
            "withdrawn_wrapper": "%auto-ignore \\input{body}",
        }.items()
    ],
)
@pytest.mark.parametrize("name", ["body.tex", "body.TEX", "x/body.tex", "bödy.tex"])
def test_shortcut_for_the_only_body_chooses_like_the_full_search(
    name: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = other.replace("body", "bödy") if "ö" in name else other
    texts = {name: "\\documentclass{article}\\begin{document}A\\end{document}", "a.tex": other}
    members = {path: memoryview(text.encode()) for path, text in texts.items()}
    chosen = mainfile.choose_main_file(members)
    monkeypatch.setattr(mainfile, "_only_body", lambda sources: [])
    assert mainfile.choose_main_file(members) == chosen
