"""The Common Pile's cleaning of arXiv's LaTeX: a test for each behaviour of the published code."""

import gzip

import pytest

from preprocess.compat.common_pile import without_addresses
from preprocess.pipeline.dropped import Dropped
from tests.support.compat import clean_files, clean_one, reads
from tests.support.latex_cases import tar_gz, tar_of

BEGIN, END = "\\documentclass{article}\n\\begin{document}\n", "\n\\end{document}\n"


def clean(body: str) -> str:
    """The clean text of a paper with this body, which is a line of several words between others."""
    cleaned = clean_one("common_pile", f"{BEGIN}{body}{END}")
    assert isinstance(cleaned, str), cleaned
    return cleaned.strip("\n")


def test_only_gzipped_tars_are_read() -> None:
    text = f"{BEGIN}One paper.{END}".encode()
    assert reads("common_pile", tar_gz({"a.tex": text}))
    assert not reads("common_pile", gzip.compress(text))
    assert not reads("common_pile", tar_of({"a.tex": text}))


def test_every_document_at_the_top_of_the_tar_counts() -> None:
    files = {"a.tex": f"{BEGIN}The paper.{END}", "b.tex": f"{BEGIN}Its supplement.{END}"}
    files |= {"s/c.tex": f"{BEGIN}Not this.{END}", "d.ltx": f"{BEGIN}Nor this.{END}", "e.tex": "No document."}
    cleaned = clean_files("common_pile", files)
    assert isinstance(cleaned, str)
    assert cleaned.split() == ["The", "paper.", "Its", "supplement."]


def test_a_paper_without_document_is_dropped() -> None:
    dropped = clean_files("common_pile", {"a.tex": "No document.", "s/b.tex": f"{BEGIN}Below.{END}"})
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "no_document_body"


INPUTS = {
    "suffix is added": ({"p.tex": "the part"}, "\\input{p}", "See the part"),
    "suffix is replaced": ({"p.tex": "the part"}, "\\input{p.x}", "See the part"),
    "one level": ({"p.tex": "a \\input{q}", "q.tex": "deep part"}, "\\input{p}", "See a "),
    "in a folder": ({"s/p.tex": "the part"}, "\\input{s/p}", "See the part"),
    "no include": ({"p.tex": "the part"}, "now \\include{p}", "See now"),
    "missing": ({}, "now \\input{p}", "See now"),
}


@pytest.mark.parametrize(("more", "command", "cleaned"), INPUTS.values(), ids=INPUTS.keys())
def test_inputs(more: dict[str, str], command: str, cleaned: str) -> None:
    text = clean_files("common_pile", {"main.tex": f"{BEGIN}See {command}{END}", **more})
    assert isinstance(text, str), text
    assert text.strip() == cleaned.strip()


def test_an_input_in_a_comment_is_put_in_and_only_its_first_line_is_a_comment() -> None:
    files = {"main.tex": f"{BEGIN}Some text. %\\input{{old}}{END}", "old.tex": "old first\nold second line"}
    text = clean_files("common_pile", files)
    assert isinstance(text, str)
    assert text.strip().split("\n") == ["Some text.", "old second line"]


def test_a_document_that_was_included_before_is_no_document() -> None:
    part = f"{BEGIN}The part.{END}"
    first = clean_files(
        "common_pile", {"main.tex": f"{BEGIN}Main text. \\input{{part}}{END}", "part.tex": part}
    )
    last = clean_files(
        "common_pile", {"part.tex": part, "main.tex": f"{BEGIN}Main text. \\input{{part}}{END}"}
    )
    assert isinstance(first, str)
    assert isinstance(last, str)
    assert "The part." not in first  # the document ends at the second \begin{document}
    assert last.index("The part.") < last.index("Main text.")


TEXTS = {
    "mathematics stays as written": ("We see $x_1 \\le \\alpha$ here.", "We see $x_1 \\le \\alpha$ here."),
    "commands become text": ("An \\emph{old} caf\\'e.", "An old café."),
    "comments go": ("One two. % note", "One two."),
    "figures' files go": ("One two \\includegraphics{a.png} three.", "One two  three."),
    "lines of one word go": ("One two.\nword\nThree four.", "One two.\nThree four."),
    "a line that begins with a backslash stays": (
        "One two.\n\\[x\\]\nThree four.",
        "One two.\n\n\\[x\\]\n\nThree four.",
    ),
    "empty lines become one": ("One two.\n\n\n\nThree four.", "One two.\n\nThree four."),
    "macros of the authors vanish": ("One \\mymacro two.", "One two."),
}


@pytest.mark.parametrize(("body", "cleaned"), TEXTS.values(), ids=TEXTS.keys())
def test_plain_text(body: str, cleaned: str) -> None:
    assert clean(body) == cleaned


def test_text_that_pylatexenc_cannot_read_is_dropped() -> None:
    deep = "{" * 20_000 + "a b" + "}" * 20_000
    dropped = clean_one("common_pile", f"{BEGIN}{deep}{END}")
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "unparsable"


ADDRESSES = {
    "blanks around it vanish": ("Write to a.b@c.org for it.", "Write to<EMAIL_ADDRESS>for it."),
    "full stop behind it": ("Write to a@c.org. Then", "Write to<EMAIL_ADDRESS>Then"),
    "line end": ("Write to a@c.org\nThen", "Write to<EMAIL_ADDRESS>Then"),
    "bracket and comma stay": ("Write (a@c.org), then", "Write (a@c.org), then"),
    "end of the text stays": ("Write to a@c.org", "Write to a@c.org"),
    "no full stop in the domain": ("The map a@b is", "The map a@b is"),
}


@pytest.mark.parametrize(("text", "cleaned"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_addresses(text: str, cleaned: str) -> None:
    assert without_addresses(text) == cleaned


def test_long_words_take_no_quadratic_time() -> None:
    assert without_addresses("x" * 20_000 + "@" + "." * 20_000) != ""
