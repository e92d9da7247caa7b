"""Clean text of real papers contains what other readers find in them: words, formulas, included files.

Also measured: braces and environments stay balanced, and few macros remain unexpanded.
"""

import posixpath
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from preprocess.extract_latex import Extracted
from preprocess.latex.extraction.archive import Unpacked, kind_of, unpack
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from tests.support import oracles
from tests.support.comments import without_comments
from tests.support.latex_cases import real_items, try_extract

pytestmark = [pytest.mark.real, pytest.mark.slow]
N_PAPERS, MAX_BYTES, MIN_WORDS = 60, 40_000, 200  # read by pandoc: 0.3 MB/s
SEED = 0


@dataclass(frozen=True)
class Paper:
    """A real paper: its archive, its flattened text, its clean text."""

    name: str
    item: bytes
    extracted: Extracted
    clean: Normalized


@pytest.fixture(scope="module")
def papers(arxiv_real: Path) -> list[Paper]:
    # As in pandoc's output, the bibliography is kept, and title and abstract are not part of the text.
    config = NormalizeTextConfig(bibliography="keep")
    found = []
    for name, item in real_items(arxiv_real):
        extracted = try_extract(item)
        if isinstance(extracted, Extracted):
            clean = normalize_document(extracted.text, "", "", config)
            if isinstance(clean, Normalized):
                found.append(Paper(name, item, extracted, clean))
    assert len(found) > 590
    return found


# ---------------------------------------------------------------- pandoc


@pytest.fixture(scope="module")
def bodies(papers: list[Paper]) -> list[tuple[Paper, oracles.PandocBody]]:
    """A seeded choice of papers that pandoc can read, with what it reads in them."""
    command = oracles.bring("pandoc")
    possible = [paper for paper in papers if len(paper.extracted.text) <= MAX_BYTES]
    random.Random(SEED).shuffle(possible)
    chosen: list[tuple[Paper, oracles.PandocBody]] = []
    with ThreadPoolExecutor(2) as pool:
        while possible and len(chosen) < N_PAPERS:
            batch, possible = possible[:20], possible[20:]
            texts = [paper.extracted.text for paper in batch]
            read = pool.map(lambda text: oracles.read_with_pandoc(command, text), texts)
            pairs = zip(batch, read, strict=True)
            chosen += [(paper, body) for paper, body in pairs if body and len(body.words) >= MIN_WORDS]
    assert len(chosen) >= N_PAPERS
    return chosen[:N_PAPERS]


@pytest.mark.pandoc
def test_words_that_pandoc_reads_are_in_the_text(bodies: list[tuple[Paper, oracles.PandocBody]]) -> None:
    n_words, missing, worst = 0, Counter[str](), Counter[str]()
    for paper, body in bodies:
        words = Counter(map(oracles.word_key, body.words))
        lost = words - Counter(map(oracles.word_key, oracles.words_of(paper.clean.text)))
        n_words += words.total()
        missing += lost
        worst[paper.name] = lost.total()
    print(f"{missing.total()} of {n_words} words missing: {missing.most_common(20)}; {worst.most_common(5)}")
    assert missing.total() <= 0.02 * n_words


@pytest.mark.pandoc
def test_display_formulas_that_pandoc_reads_are_in_the_text(
    bodies: list[tuple[Paper, oracles.PandocBody]],
) -> None:
    causes: dict[str, list[tuple[str, str]]] = {}
    n_formulas = 0
    for paper, body in bodies:
        ours = oracles.formula_key(paper.clean.text)
        displays = oracles.display_tokens(paper.clean.text)
        n_formulas += len(body.displays)
        for formula in body.displays:
            if oracles.formula_key(formula) not in ours:
                causes.setdefault(_cause(formula, displays), []).append((paper.name, formula[:100]))
    listed = {cause: (len(formulas), formulas[:5]) for cause, formulas in causes.items()}
    print(f"of {n_formulas} display formulas missing: {listed}")
    # less_in_pandoc: pandoc dropped the text of a macro, and the rest of its formula is in the clean text.
    lost = sum(len(formulas) for cause, formulas in causes.items() if cause != "less_in_pandoc")
    assert lost <= 0.01 * n_formulas


def _cause(formula: str, displays: list[list[str]]) -> str:
    """Why a formula that pandoc reads is not in the clean text."""
    if re.search(r"\\begin\{(tikzpicture|picture)\}", formula):
        return "drawing"  # removed on purpose
    return "less_in_pandoc" if oracles.is_within(formula, displays) else "other"


# ---------------------------------------------------------------- latexpand


@pytest.mark.latexpand
def test_what_latexpand_includes_is_included(papers: list[Paper], tmp_path: Path) -> None:
    command = oracles.bring("latexpand")
    checked, lost = 0, {}
    for paper in papers:
        files, used = _files(paper), set(paper.extracted.record["files"])
        # Only an unused file whose name occurs in the text can have been overlooked.
        stems = {posixpath.splitext(posixpath.basename(path))[0] for path in _unused_tex(files, used)}
        if any(stem.encode() in paper.extracted.text for stem in stems):
            folder = tmp_path / paper.name
            main = paper.extracted.main_file
            if more := oracles.files_of_latexpand(command, files, main, folder) - used:
                lost[paper.name] = more
            checked += 1
    assert checked >= 5
    assert not lost


_FILE_NAME = re.compile(r"(?:\{\s*|\s)\"?(?:\\[A-Za-z]+/)?([^{}\\\"]*?)\"?\s*\}?$")


def test_no_file_of_the_archive_is_missed(papers: list[Paper]) -> None:
    missed = {}
    for paper in papers:
        texts = {path for path, content in _files(paper).items() if kind_of(content) == "text"}
        for command in paper.extracted.record["unresolved"]:
            match = _FILE_NAME.search(command)
            name = posixpath.normpath(match[1]) if match and match[1] else "?"
            if there := {path for path in texts if f"/{path}".endswith((f"/{name}", f"/{name}.tex"))}:
                missed[paper.name] = (command, there)
    assert not missed


def _files(paper: Paper) -> dict[str, memoryview]:
    unpacked = unpack(paper.item, f"{paper.name}.tex")
    assert isinstance(unpacked, Unpacked)
    return unpacked.files


def _unused_tex(files: dict[str, memoryview], used: set[str]) -> Iterator[str]:
    for path, content in files.items():
        if (
            path not in used
            and path.endswith((".tex", ".ltx", ".txt", ".tikz"))
            and kind_of(content) == "text"
        ):
            yield path


# ---------------------------------------------------------------- balance, macros

_PAIRED = re.compile(rb"\\(?:(left|right)(?![A-Za-z@])|(begin|end)\s*\{([^{}]*)\}|.)|([{}])", re.DOTALL)


def unbalanced(text: bytes) -> set[str]:
    """Which of braces, delimiters and environments do not close in a text without comments."""
    depth = dict.fromkeys(("braces", "delimiters"), 0)
    faults, environments = set(), []
    for match in _PAIRED.finditer(text):
        delimiter, edge, environment, brace = match.groups()
        if brace or delimiter:
            kind = "braces" if brace else "delimiters"
            depth[kind] += 1 if brace == b"{" or delimiter == b"left" else -1
            if depth[kind] < 0:
                faults.add(kind)
        elif edge == b"begin":
            environments.append(environment)
        elif edge and (not environments or environments.pop() != environment):
            faults.add("environments")
    return faults | {kind for kind, n in depth.items() if n} | ({"environments"} if environments else set())


def test_unbalanced_finds_what_does_not_close() -> None:
    assert not unbalanced(rb"\{ {\left( \begin{a}\begin{b}\end{b}\end{a} \right.} \leftarrow")
    assert unbalanced(rb"{ \left( \begin{a}\begin{b}\end{a}\end{b}") == {
        "braces",
        "delimiters",
        "environments",
    }
    assert unbalanced(rb"}{") == {"braces"}


def test_balanced_papers_stay_balanced(papers: list[Paper]) -> None:
    balanced = Counter[str]()
    lost: dict[str, list[str]] = {}
    for paper in papers:
        # Braces in comments and verbatim text need not be balanced.
        body = without_comments(paper.extracted.text).partition(b"\\begin{document}")
        source = unbalanced((body[2] or body[0]).partition(b"\\end{document}")[0])
        result = unbalanced(without_comments(paper.clean.text.encode()))
        balanced.update({"braces", "delimiters", "environments"} - source)
        for kind in result - source:
            lost.setdefault(kind, []).append(paper.name)
    print(f"balanced in the source of {len(papers)}: {balanced}; not in the text: {lost}")
    for kind, n_balanced in balanced.items():
        assert n_balanced > 500
        assert len(lost.get(kind, ())) <= 0.01 * n_balanced


def test_macros_of_the_authors_are_expanded(papers: list[Paper]) -> None:
    uses = sum(paper.clean.facts["macro_uses"] for paper in papers)
    left = sum(paper.clean.facts["macros_left"] for paper in papers)
    most = Counter({paper.name: paper.clean.facts["macros_left"] for paper in papers}).most_common(5)
    print(f"{left} of {uses} uses of macros left, most in {most}")
    assert uses > 100_000
    assert left <= 0.05 * uses
