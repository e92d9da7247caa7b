"""Choosing papers by metadata: exact categories, withdrawals, doubled and damaged lines."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from preprocess.filter_metadata import Domains, is_withdrawn, license_group
from preprocess.pipeline.identifiers import from_member_stem, month_of
from preprocess.pipeline.shard import read_rows
from preprocess.pipeline.snapshot import MAX_LINE_BYTES, read_lines
from tests.conftest import run_script
from tests.support.corpus import ledger, run_stage


def _line(paper_id: str, **values: Any) -> str:
    line = {
        "id": paper_id,
        "submitter": "A. Nother",
        "authors": "A. Nother",
        "title": "On a\n  title",
        "comments": None,
        "journal-ref": None,
        "doi": None,
        "report-no": None,
        "categories": "math.AG",
        "license": None,
        "abstract": "  We show a\nthing.\n  And more.\n",
        "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],
        "update_date": "2008-11-26",
        "authors_parsed": [["Nother", "A.", ""]],
    }
    return json.dumps(line | values)


def _filter(
    folder: Path, lines: list[str], *overrides: str
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    snapshot = folder / "metadata.json"
    snapshot.write_text("\n".join(lines) + "\n")
    run_stage("filter_metadata", "--data", folder, "--metadata", snapshot, *overrides)
    kept = (folder / "corpus/main/filter_metadata").glob("*.parquet")
    return ledger(folder, "filter_metadata"), {row["id"]: row for path in kept for row in read_rows(path)}


@pytest.mark.parametrize(
    ("categories", "domain"),
    [
        ("math.AG cs.LG", "math"),
        ("cs.LG stat.ML", "cs"),
        ("stat.TH math.ST", "math"),
        ("stat.ML", "cs"),
        ("stat.ME", None),
        ("hep-th", "physics"),
        ("math-ph math.MP", "physics"),
        ("physics.soc-ph cs.SI", None),
        ("physics.comp-ph", None),
        ("astro-ph", None),
        ("math", None),
        ("mathematics.AG", None),
    ],
)
def test_paper_categories_are_matched_exactly(categories: str, domain: str | None) -> None:
    assert Domains.read("paper").of(categories.split()[:1]) == domain


@pytest.mark.parametrize(
    ("comments", "abstract", "withdrawn"),
    [
        ("This paper has been withdrawn by the author", "We show that", True),
        ("withdrawn", "We show that", True),
        ("This paper has been withdrawn by the author due to a crucial error in Lemma 4", "We show", True),
        ("12 pages; paper withdrawn due to a crucial error in equation 3", "We show that", True),
        (None, "This paper has been withdrawn by the author due to an error.", True),
        (None, "Withdrawn.", True),
        (None, "The manuscript was withdrawn because of an error", True),
        ("A previous version was withdrawn. 12 pages", "We show that", False),
        ("Theorem 3 of v1 has been withdrawn", "We show that", False),
        ("v2 withdrawn because of an error; 12 pages", "We show that", True),
        ("Version 2 was withdrawn", "We show that", True),
        ("v1 withdrawn and replaced by v2", "We show that", True),
        ("v1 withdrawn, this one has a new proof", "We show that", False),
        ("12 pages", "We study cash withdrawn from banks. This paper shows that it is withdrawn.", False),
        ("12 pages", "This paper has been written to study withdrawal symptoms", False),
        (None, "", False),
    ],
)
def test_withdrawn_papers_are_told_from_those_that_mention_it(
    comments: str | None, abstract: str, withdrawn: bool
) -> None:
    assert is_withdrawn(comments, abstract, n_versions=2) is withdrawn


def test_last_version_without_source_is_withdrawn(tmp_path: Path) -> None:
    created = "Mon, 2 Apr 2007 19:18:42 GMT"
    kinds = {"0704.0001": "DI", "0704.0002": "ID", "0704.0003": "D"}
    lines = [
        _line(paper_id, versions=[{"created": created, "source_type": kind} for kind in types])
        for paper_id, types in kinds.items()
    ]
    verdicts, _ = _filter(tmp_path, lines)
    assert verdicts == {"0704.0001": "withdrawn", "0704.0002": "kept", "0704.0003": "kept"}


@pytest.mark.parametrize(
    ("url", "group"),
    [
        ("http://creativecommons.org/licenses/by/4.0/", "attribution"),
        ("https://creativecommons.org/licenses/by-sa/4.0/", "attribution"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "public_domain"),
        ("http://creativecommons.org/licenses/publicdomain/", "public_domain"),
        ("http://creativecommons.org/licenses/by-nc-sa/3.0/", "restricted"),
        ("http://creativecommons.org/licenses/by-nd/4.0/", "restricted"),
        ("http://arxiv.org/licenses/nonexclusive-distrib/1.0/", "arxiv"),
        ("http://arxiv.org/licenses/assumed-1991-2003/", "arxiv"),
        ("http://example.org/by/4.0/", "other"),
        (None, "none"),
        ("", "none"),
    ],
)
def test_group_of_a_licence(url: str | None, group: str) -> None:
    assert license_group(url) == group


@pytest.mark.parametrize(
    ("paper_id", "month"),
    [("0704.0010", "0704"), ("1501.00001", "1501"), ("hep-th/9901001", "9901"), ("math.GT/0309136", "0309")],
)
def test_month_of_an_id(paper_id: str, month: str) -> None:
    assert month_of(paper_id) == month


@pytest.mark.parametrize("text", ["704.001", "0713.0001", "0704.000001", "hep-th/99", "../0704.0001", ""])
def test_malformed_ids_are_refused(text: str) -> None:
    assert month_of(text) is None


@pytest.mark.parametrize(
    ("stem", "paper_id"),
    [
        ("hep-th9901001", "hep-th/9901001"),
        ("0704.0010", "0704.0010"),
        ("cs0102007", "cs/0102007"),
        ("readme", None),
    ],
)
def test_id_of_a_bulk_member(stem: str, paper_id: str | None) -> None:
    assert from_member_stem(stem) == paper_id


def test_a_verdict_for_every_line(tmp_path: Path) -> None:
    lines = [
        _line("0704.0001"),
        _line("0704.0002", categories="physics.soc-ph"),
        _line("0704.0003", comments="withdrawn"),
        _line("hep-th/9901001", categories="hep-th"),
        _line("0704.0004", versions=[]),
        '{"id": "0704.0005", "title": 7}',
        "not json",
        "",
    ]
    verdicts, kept = _filter(tmp_path, lines)
    assert sorted(kept) == ["0704.0001", "hep-th/9901001"]
    assert verdicts["0704.0002"] == "category"
    assert verdicts["0704.0003"] == "withdrawn"
    assert sorted(verdicts.values()).count("malformed_line") == 2 + 1
    assert len(verdicts) == 7
    row = kept["0704.0001"]
    assert row["title"] == "On a title"
    assert row["abstract"] == "We show a thing.\n\nAnd more."
    assert (row["created"], row["domain"], row["license"]) == ("2007-04-02", "math", "")


def test_lines_beyond_the_limit_are_malformed_and_the_next_ones_are_read(tmp_path: Path) -> None:
    padding = MAX_LINE_BYTES - len(_line("0704.0001", padding="") + "\n")
    longest = _line("0704.0001", padding=padding * "x")
    too_long = [_line("0704.0002", padding=(padding + 1) * "x"), _line("0704.0003") + MAX_LINE_BYTES * " "]
    verdicts, kept = _filter(tmp_path, [longest, *too_long, 3 * MAX_LINE_BYTES * "y", _line("0704.0004")])
    assert sorted(kept) == ["0704.0001", "0704.0004"]
    assert sorted(verdicts.values()) == [*["kept"] * 2, *["malformed_line"] * 3]


def test_a_line_of_any_length_takes_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "one_line").open("w+b") as file:
        file.truncate(64 * MAX_LINE_BYTES + 1)
        tracemalloc.start()
        sizes = [(len(line), n_bytes) for line, n_bytes in read_lines(file)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sizes == [(0, 64 * MAX_LINE_BYTES + 1)]
    assert peak < 8 * MAX_LINE_BYTES


def test_ids_stay_strings(tmp_path: Path) -> None:
    _, kept = _filter(tmp_path, [_line("0704.0010")])
    assert list(kept) == ["0704.0010"]


def test_of_two_lines_for_one_id_the_newer_counts(tmp_path: Path) -> None:
    lines = [
        _line("0704.0001", title="newer", update_date="2010-01-01"),
        _line("0704.0001", title="older", update_date="2009-01-01"),
        _line("0704.0002", title="first"),
        _line("0704.0002", title="second"),
    ]
    verdicts, kept = _filter(tmp_path, lines)
    assert {row["title"] for row in kept.values()} == {"newer", "second"}
    assert sorted(verdicts.values()) == ["kept", "kept", "superseded_line", "superseded_line"]


@pytest.mark.parametrize(
    ("override", "kept_ids"),
    [
        ("last_year=2007", ["0704.0001"]),
        ("first_year=2008", ["0801.0002"]),
        ("licenses=open", ["0801.0002"]),
        ("match=any", ["0704.0001", "0704.0003", "0801.0002"]),
    ],
)
def test_each_option_keeps_what_it_names(tmp_path: Path, override: str, kept_ids: list[str]) -> None:
    lines = [
        _line("0704.0001", license="http://arxiv.org/licenses/nonexclusive-distrib/1.0/"),
        _line("0704.0003", categories="physics.soc-ph cs.SI"),
        _line(
            "0801.0002",
            license="http://creativecommons.org/licenses/by/4.0/",
            versions=[{"version": "v1", "created": "Tue, 1 Jan 2008 00:00:00 GMT"}],
        ),
    ]
    _, kept = _filter(tmp_path, lines, override)
    assert sorted(kept) == kept_ids


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("", "is empty"),
        ("a,b\n1,2\n", "its first line is not a JSON object ('a,b"),
        ('{"title": "x"}\n', "no line holds an arXiv id"),
        (f"[{_line('0704.0001')},\n{_line('0704.0002')}]\n", "is one JSON array; one JSON object per line"),
        (f"{_line('0704.0001')}\n{_line('0704.0002')[:50]}", "ends in the middle of a line"),
        ("PK\x03\x04", "is compressed; unzip it first"),
    ],
)
def test_unusable_snapshot_is_a_clear_error(tmp_path: Path, text: str | None, says: str) -> None:
    snapshot = tmp_path / "metadata.json"
    if text is not None:
        snapshot.write_text(text)
    failed = run_script(
        "preprocess/filter_metadata.py", "--data", tmp_path, "--metadata", snapshot, check=False
    )
    assert failed.returncode == 2
    assert str(snapshot) in failed.stderr
    assert says in failed.stderr
