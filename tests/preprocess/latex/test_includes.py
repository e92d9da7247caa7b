"""Include commands: names, folders, parts with a class of their own, cycles, the bibliography."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.latex.extraction.flatten import Flattened, Flattener
from preprocess.latex.extraction.includes import own_commands
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import clean, extract, normalize, paper, tar_gz, try_extract

SUBFILE = "\\documentclass[../main]{subfiles}\n\\begin{document}\nPART\n\\end{document}\n"


@pytest.mark.parametrize(
    ("body", "files"),
    [
        pytest.param("\\input a", {"a.tex": "PART"}, id="bare_name"),
        pytest.param("\\input a.tex X", {"a.tex": "PART"}, id="bare_name_with_suffix"),
        pytest.param("\\input{ a }", {"a.tex": "PART"}, id="blanks_in_braces"),
        pytest.param('\\input{"a b"}', {"a b.tex": "PART"}, id="quoted_in_braces"),
        pytest.param('\\input "a b.tex"', {"a b.tex": "PART"}, id="quoted_bare"),
        pytest.param("\\input{a}", {"a.tex": "PART", "a": "WRONG"}, id="tex_first"),
        pytest.param("\\input{a.txt}", {"a.txt": "PART"}, id="then_the_exact_name"),
        pytest.param(
            "\\input{sub/a}",
            {"sub/a.tex": "\\input{b}", "b.tex": "PART", "sub/b.tex": "WRONG"},
            id="relative_to_root",
        ),
        pytest.param(
            "\\input{sub/a}", {"sub/a.tex": "\\input{b}", "sub/b.tex": "PART"}, id="else_the_files_own_folder"
        ),
        pytest.param("\\input{./a}", {"a.tex": "PART"}, id="dot_folder"),
        pytest.param("\\input{A}", {"a.tex": "PART"}, id="case_as_a_last_resort"),
        pytest.param("\\include{a}", {"a.tex": "PART"}, id="include"),
        pytest.param("\\includeonly{b}\\include{a}", {"a.tex": "PART"}, id="includeonly_includes_all"),
        pytest.param("\\subfile{s/a}", {"s/a.tex": SUBFILE}, id="subfile"),
        pytest.param("\\input{s/a}", {"s/a.tex": SUBFILE}, id="input_of_a_standalone_part"),
        pytest.param(
            "\\import{dir/}{f}",
            {"dir/f.tex": "\\input{g}", "dir/g.tex": "PART", "g.tex": "WRONG"},
            id="import_changes_the_base",
        ),
        pytest.param(
            "\\import{dir/}{f}",
            {"dir/f.tex": "\\subimport{in/}{g}", "dir/in/g.tex": "PART"},
            id="subimport_is_relative",
        ),
        pytest.param("\\InputIfFileExists{a}{YES}{WRONG}", {"a.tex": "PART"}, id="input_if_file_exists"),
        pytest.param(
            "\\InputIfFileExists{a}{\\input{b}}{\\input{b}}",
            {"a.tex": "PART", "b.tex": "WRONG"},
            id="commands_in_branches_of_input_if_file_exists",
        ),
        pytest.param("\\myinput[s]{a}", {"s/a.tex": "PART"}, id="command_of_the_author"),
        pytest.param("\\input{\\here/s/a}", {"s/a.tex": "PART"}, id="folder_in_a_macro"),
    ],
)
def test_include_command_is_followed(body: str, files: Mapping[str, str]) -> None:
    result = extract({"main.tex": paper(f"A\n{body}\nB"), **files})
    assert result.main_file == "main.tex"
    text = normalize(result.text).text
    assert "PART" in text
    assert "WRONG" not in text
    assert "\\end{document}" in result.text.decode()
    assert text.index("A") < text.index("PART") < text.index("B")
    assert result.record["unresolved"] == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "/etc/hostname", "~/x", "sub/../../../etc/hosts"]
)
def test_nothing_outside_the_archive_is_read(name: str) -> None:
    result = extract({"main.tex": paper(f"A \\input{{{name}}} B")})
    assert f"\\input{{{name}}}".encode() in result.text
    assert result.record["unresolved"] == [f"\\input{{{name}}}"]
    assert result.record["files"] == ["main.tex"]


def test_include_cycle_leaves_the_command() -> None:
    result = extract({"main.tex": paper("\\input{a}"), "a.tex": "one \\input{b}", "b.tex": "two \\input{a}"})
    assert b"one two \\input{a}" in result.text
    assert result.record["flags"] == ["include_cycle"]


def test_depth_and_copies_are_limited() -> None:
    chain = {f"c{i}.tex": f"\\input{{c{i + 1}}}" for i in range(100)}
    assert "include_depth" in extract({"main.tex": paper("\\input{c0}"), **chain}).record["flags"]
    copies = {f"c{i}.tex": f"\\input{{c{i + 1}}}\\input{{c{i + 1}}}" for i in range(30)}
    bomb = extract({"main.tex": paper("\\input{c0}"), **copies, "c30.tex": "x" * 10_000})
    assert "include_budget" in bomb.record["flags"]
    assert len(bomb.text) < 40 << 20


def test_missing_file_is_recorded_and_its_command_stays() -> None:
    result = extract({"main.tex": paper("A \\input{nowhere} B")})
    assert b"\\input{nowhere}" in result.text
    assert result.record["unresolved"] == ["\\input{nowhere}"]


def test_second_copy_of_a_file_counts_as_added() -> None:
    result = extract({"main.tex": paper("\\input{a}\n\\input{a}"), "a.tex": "twice\n"})
    assert result.removed["included_again"] == -len("twice\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"main.bbl": "ITEM", "other.bbl": "WRONG"}, b"ITEM"),
        ({"refs.bbl": "ITEM"}, b"ITEM"),
        ({"x.bbl": "WRONG", "y.bbl": "WRONG"}, b"\\bibliography{x}"),
        ({}, b"\\bibliography{x}"),
    ],
    ids=["own_bbl", "only_bbl", "several_bbl", "no_bbl"],
)
def test_bibliography_is_inserted_where_it_is_certain(files: Mapping[str, str], expected: bytes) -> None:
    result = extract({"main.tex": paper("A\n\\bibliography{x}"), **files})
    assert expected in result.text
    assert b"WRONG" not in result.text


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"mine.sty": "MACRO"}, id="own_package"),
        pytest.param({"mine.sty": "\\RequirePackage{more}", "more.sty": "MACRO"}, id="package_of_a_package"),
        pytest.param(
            {"mine.sty": "\\input{a}", "a.tex": "\\usepackage{b}", "b.sty": "MACRO"}, id="package_of_a_file"
        ),
        pytest.param({"mine.sty": "\\usepackage{mine}MACRO"}, id="package_of_itself"),
    ],
)
def test_macros_of_the_authors_own_packages_are_expanded(files: Mapping[str, str]) -> None:
    macro = "\\newcommand{\\R}{\\mathbb{R}}\n"
    there = {name: text.replace("MACRO", macro) for name, text in files.items()}
    result = extract({"main.tex": paper("$\\R$", "\\usepackage{amsmath,mine}"), **there})
    assert normalize(result.text).text == "$\\mathbb{R}$\n"


def test_a_package_that_only_a_part_of_the_body_loads_is_not_read() -> None:
    part = "\\documentclass{standalone}\n\\usepackage{mine}\n\\begin{document}\nB\n\\end{document}\n"
    files = {"main.tex": paper("A \\input{a}"), "a.tex": part, "mine.sty": "\\def\\R{r}\n"}
    assert extract(files).record["files"] == ["main.tex", "a.tex"]


def test_long_chain_of_packages_is_cut() -> None:
    chain = {f"p{i}.sty": f"\\RequirePackage{{p{i + 1}}}\n" for i in range(2000)}
    result = extract({"main.tex": paper("Text.", "\\usepackage{p0}"), **chain})
    assert result.record["flags"] == ["include_depth"]
    assert normalize(result.text).text == "Text.\n"


def test_preamble_of_a_subfiles_parent_is_read() -> None:
    files = {
        "inc/parent.tex": paper("Only a template.", "\\newcommand{\\R}{\\mathbb{R}}"),
        "part/main.tex": SUBFILE.replace("../main", "../inc/parent").replace("PART", "$\\R$ in a paper"),
    }
    result = extract(files)
    assert result.main_file == "part/main.tex"
    assert normalize(result.text).text == "$\\mathbb{R}$ in a paper\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("\\def\\arxiv{1}\n", "\n", id="settings"),
        pytest.param("% \\documentclass is in main.tex\n\\input{options}\n", "", id="options_first"),
        pytest.param("", "\nNot part of the paper. \\input{options}\n", id="text_behind_the_end"),
    ],
)
def test_a_file_without_a_class_may_only_include_the_paper(before: str, after: str) -> None:
    part = "\\documentclass{standalone}\n\\def\\R{wrong}\n\\begin{document}\nFigure.\n\\end{document}\n"
    files = {
        "ms.tex": f"{before}\\input{{paper}}{after}",
        "options.tex": "% \\documentclass{article}\n\\newcommand{\\N}{\\mathbb{N}}\n",
        "paper.tex": paper(
            "$\\R \\Q$ \\input{figure}\n\\section{A}", "\\newcommand{\\R}{\\mathbb{R}}\\usepackage{own}"
        ),
        "own.sty": "\\newcommand{\\Q}{\\mathbb{Q}}",
        "figure.tex": part,
    }
    result = extract(files)
    assert result.main_file == "ms.tex"
    assert normalize(result.text).text == "$\\mathbb{R} \\mathbb{Q}$\nFigure.\n\\section{A}\n"
    assert result.removed["preamble_of_part"] == part.index("\nFigure")


def test_the_encoding_that_an_included_paper_declares_counts_for_its_parts() -> None:
    files = {
        "ms.tex": b"\\def\\arxiv{1}\n\\input{paper}\n",
        "paper.tex": paper("A \\input{a}", "\\usepackage[latin2]{inputenc}").encode(),
        "a.tex": "Erdős Pál".encode("latin2"),
    }
    assert "Erdős Pál" in extract(files).text.decode()


def test_splitting_a_paper_into_files_changes_nothing() -> None:
    parts = ["One.\n\nTwo % c\nthree.\n", "\\section{S}\nFour\n", "five.\n\n\\R{} six. % end"]
    whole = paper("\n".join(part.rstrip("\n") for part in parts), "\\def\\R{r}")
    inputs = "\n".join(f"\\input{{p{i}}}" for i in range(len(parts)))
    files = {f"p{i}.tex": part for i, part in enumerate(parts)}
    assert (
        normalize(extract({"main.tex": paper(inputs, "\\def\\R{r}"), **files}).text).text
        == normalize(whole).text
    )


def test_last_comment_of_a_file_does_not_swallow_what_follows() -> None:
    files = {"main.tex": paper("\\input{a}B"), "a.tex": "A % comment"}
    assert normalize(extract(files).text).text == "A B\n"
    assert clean("A B") == "A B"


def test_word_in_an_argument_makes_no_include_command() -> None:
    assert own_commands(b"\\ref{sec:input} \\olimport{a}", {"a.tex"}) == {b"olimport"}
    files = {"main.tex": paper("\\tt{x-import} \\tt{a} \\input{a}"), "a.tex": "PART"}
    assert extract(files).text.count(b"PART") == 1


@pytest.mark.parametrize(
    ("command", "followed"),
    [
        ("\\olimport{a}", True),
        ("\\olimport{A.TEX}", True),
        ("\\olimport[x/]{y/a}", True),
        ("\\olimport{b}", False),
        ("\\olimport{}", False),
        ("\\olimport{x/}", False),
    ],
)
def test_own_include_command_counts_only_if_it_names_a_file(command: str, followed: bool) -> None:
    assert own_commands(command.encode(), {"main.tex", "a.tex"}) == ({b"olimport"} if followed else set())


@pytest.mark.parametrize(
    ("main", "parts", "expected"),
    [
        ("\\olimport{a}", {"a.tex": "ONE \\olimport{b}", "b.tex": "TWO"}, "ONE TWO"),
        ("\\input{a} \\olimport{b}", {"a.tex": "ONE", "b.tex": "TWO"}, "ONE TWO"),
        ("\\input{a}", {"a.tex": "ONE \\olimport{b}", "b.tex": "TWO"}, "ONE TWO"),
    ],
    ids=["one_in_another", "beside_a_standard_one", "in_a_part"],
)
def test_own_include_commands_are_followed_while_files_are_unread(
    main: str, parts: dict[str, str], expected: str
) -> None:
    text = extract({"main.tex": paper(main), **parts}).text
    assert expected in " ".join(text.decode().split())
    assert b"olimport" not in text


@pytest.mark.parametrize("repeats", [1, 3])
def test_limit_of_commands_is_exact_over_several_files(repeats: int) -> None:
    texts = {"main.tex": "\\input{a}\n" * repeats + "words " * 50, "a.tex": "% \\x\n" + "words " * 50}
    members = {path: memoryview(text.encode()) for path, text in texts.items()}
    n_commands = repeats + 2 * repeats
    assert isinstance(Flattener(members, "main.tex", 1 << 20, n_commands).run(), Flattened)
    assert isinstance(Flattener(members, "main.tex", 1 << 20, n_commands - 1).run(), Dropped)


PIECES = (
    "\\input{a}", "\\input a ", "\\include{b}", "\\InputIfFileExists{a}", "\\InputIfFileExists{c}{",
    "\\import{d/}{e}", "\\subimport{d/}{e}", "\\myinput[d]{e}", "\\input{\\z/a}", "\\bibliography{x}",
    "\\begin{document}", "\\end{document}", "\\documentclass{article}", "\\documentclass[main]{subfiles}",
    "\\usepackage{m}", "\\usepackage[\\input{b}]{m}", "\\endinput", "\\else", "\\verb|", "|", "{", "}", "%",
    "\n", "\n\n", "\r\n", "\r", " ", "x", "\u00e9", "\\begin{verbatim}", "\\end{verbatim}",
)  # fmt: skip
FILES = ("main.tex", "a.tex", "b.tex", "c.tex", "d/e.tex", "m.sty", "main.bbl")


@given(
    st.dictionaries(st.sampled_from(FILES), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)),
    st.sampled_from(["utf-8", "latin-1"]),
)
def test_bytes_balance_whatever_is_included_where(files: Mapping[str, str], encoding: str) -> None:
    main = paper(files.get("main.tex", ""))
    try_extract(tar_gz({name: text.encode(encoding) for name, text in {**files, "main.tex": main}.items()}))
