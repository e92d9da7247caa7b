"""Decontamination: questions are found however they are set, phrases are not, bad files are named."""

import json
import random
from pathlib import Path

import pytest

from configs.loader import UserError
from preprocess.dedup.decontamination import Benchmarks, Hit
from preprocess.pipeline.shard import read_rows
from tests.conftest import run_script
from tests.support.corpus import document, write_parts
from tests.support.duplicates import write_words

QUESTION = (
    "A particle of mass $m$ slides without friction down a wedge of angle $\\theta$, itself free to move "
    "on a horizontal table. Find the acceleration of the wedge in terms of the masses and of the angle."
)


def write_jsonl(path: Path, *items: object) -> Path:
    """A benchmark; strings stand for whole lines."""
    path.write_text(
        "".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items), encoding="utf-8"
    )
    return path


def around(text: str, seed: int = 0) -> str:
    """A paper with `text` in the middle of it."""
    rng = random.Random(seed)
    return " ".join([*write_words(rng, 500), text, *write_words(rng, 500)])


@pytest.fixture
def benchmarks(tmp_path: Path) -> Benchmarks:
    rng = random.Random(8)
    passage = " ".join(write_words(rng, 120))
    items = [
        {"question": QUESTION, "answer": "$a = g$"},
        {"id": 7, "context": passage, "choices": {"text": ["no", " ".join(write_words(rng, 20))]}},
        {"text": "Too short to be looked for."},
    ]
    return Benchmarks([write_jsonl(tmp_path / "a.jsonl", *items)], 13)


@pytest.mark.parametrize(
    "text",
    [QUESTION, QUESTION.upper(), QUESTION.replace(" ", "\n  "), QUESTION.replace("$", ""), QUESTION[:160]],
    ids=["verbatim", "capitals", "lines", "without-dollars", "cut"],
)
def test_a_question_is_found_in_any_typesetting(benchmarks: Benchmarks, text: str) -> None:
    (hit,) = benchmarks.find(around(text))
    assert hit[:2] == (0, 1)
    assert hit.share >= 0.5


@pytest.mark.parametrize(
    "text",
    ["", QUESTION[:90], " ".join(QUESTION.split()[::-1]), "Too short to be looked for."],
    ids=["nothing", "a-part", "reversed", "short-item"],
)
def test_other_text_is_not_taken_for_a_question(benchmarks: Benchmarks, text: str) -> None:
    assert benchmarks.find(around(text)) == []


def test_passages_in_nested_fields_count_one_by_one(tmp_path: Path) -> None:
    rng = random.Random(8)
    long, short = (" ".join(write_words(rng, n)) for n in (300, 20))
    found = Benchmarks([write_jsonl(tmp_path / "a.jsonl", {"a": long, "b": [{"c": short}]})], 13)
    assert found.find(around(short)) == [Hit(0, 1, 1.0)]


def test_report_names_files_items_and_papers(tmp_path: Path) -> None:
    files = [
        write_jsonl(
            tmp_path / "a.jsonl", {"q": QUESTION}, {"q": QUESTION + " Why?"}, {"q": "short"}, "", "{"
        ),
        write_jsonl(tmp_path / "b.jsonl", {"q": " ".join(write_words(random.Random(99), 40))}),
    ]
    benchmarks = Benchmarks(files, 13)
    hits = [(name, benchmarks.find(around(QUESTION, seed))) for seed, name in enumerate(("p2", "p1"))]
    one, two = benchmarks.report(hits)
    assert one == {
        "file": str(files[0]),
        "items": 3,
        "items_found": 2,
        "items_too_short_to_look_for": 1,
        "malformed_lines": [5],
        "papers": {"p1": [1, 2], "p2": [1, 2]},
    }
    assert (two["items"], two["items_found"], two["papers"]) == (1, 0, {})


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'["a list"]',
        b'"text"',
        b"\xff\xfe",
        b'{"q": "\xff"}',
        b'{"q":' * 5000 + b"1" + b"}" * 5000,
        b"\0",
    ],
    ids=["open", "list", "string", "utf-16", "latin-1", "deep", "zero"],
)
def test_malformed_lines_are_noted_and_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"q": QUESTION}).encode()
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n" + line + b"\n\n" + good)
    benchmarks = Benchmarks([path], 13)
    assert benchmarks.files[0].malformed_lines == [2]
    assert [hit.line for hit in benchmarks.find(around(QUESTION))] == [1, 4]


@pytest.mark.parametrize("content", ["", "{}\n", "no json\n", '{"q": "too short"}\n'])
def test_file_without_anything_to_look_for_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mmlu.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"mmlu\.jsonl"):
        Benchmarks([path], 13)


def test_stage_drops_contaminated_papers_and_reports_them(tmp_path: Path) -> None:
    """A contaminated paper is dropped before duplicates are sought: it stands for none."""
    copy = around(QUESTION, 1).split()
    rows = [
        document("0704.0001", around(QUESTION, 1)),
        document("0704.0002", " ".join(word for word in copy if word not in QUESTION)),
        document("0704.0003", around("", 2)),
    ]
    write_parts(tmp_path, "t", rows)
    path = write_jsonl(tmp_path / "physics.jsonl", {"problem": QUESTION}, "{")
    command = ("preprocess/deduplicate.py", "--data", tmp_path, "--workers", 1)
    run_script(*command, f"benchmarks=[{path}]")
    ledger = {row["id"]: row for row in read_rows(tmp_path / "ledger/main/deduplicate/t.parquet")}
    assert {i: row["reason"] for i, row in ledger.items()} == {
        "0704.0001": "contaminated",
        "0704.0002": "",
        "0704.0003": "",
    }
    assert ledger["0704.0001"]["detail"] == "physics.jsonl line 1: 1.000 of a passage; 1 items in all"
    report = tmp_path / "corpus/main/deduplicate/contamination.json"
    assert json.loads(report.read_text())[0]["papers"] == {"0704.0001": [1]}

    # Another content of the file is another result; without benchmarks there is no report.
    write_jsonl(path, {"problem": " ".join(write_words(random.Random(3), 30))})
    run_script(*command, f"benchmarks=[{path}]")
    assert json.loads(report.read_text())[0]["papers"] == {}
    failed = run_script(*command, "benchmarks=[nowhere.jsonl]", check=False)
    assert failed.returncode == 2
    assert "nowhere.jsonl" in failed.stderr
    run_script(*command)
    assert not report.exists()
