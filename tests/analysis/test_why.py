"""One paper's path: where it ended, what was chosen and removed, and a sentence for an id nobody has seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.why import Page, render, trace
from configs.loader import UserError
from preprocess.pipeline import schema
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.shard import ParquetShard
from tests.conftest import run_script
from tests.support.corpus import document

TAR = "arXiv_src_0704_001"
RECORD = {
    "reason": "best_score",
    "dialect": "latex",
    "candidates": [["ms.tex", 9, "abstract+4 title+2"], ["reply.tex", -6, "bad_name-6"]],
    "files": ["ms.tex", "a.tex"],
    "n_files": 5,
    "unresolved": ["\\input{lost}"],
    "codecs": {"a.tex": "cp1252"},
    "flags": ["truncated_archive"],
    "macro_uses": 40,
    "macros_left": 2,
    "left_most": ["\\foo"],
}
KEPT, SHORT, SAME, LIKE, ABSENT = "0704.0001", "0704.0002", "0704.0003", "0704.00011", "0704.0004"
COLUMNS = {
    "filter_metadata": schema.PAPERS,
    "validate_archives": schema.ITEMS,
    "extract_latex": schema.DOCUMENTS,
    "normalize_text": schema.DOCUMENTS,
    "filter_quality": schema.MEASURED,
    "deduplicate": schema.DEDUPLICATED,
    "split_corpus": schema.SPLIT,
}


def _row(paper_id: str) -> dict[str, Any]:
    row = document(paper_id, "A title\n\nThe body begins.\n", record=json.dumps(RECORD), main_file="ms.tex")
    row |= {"text_bytes": 27, "text_key": bytes(16), "sketch": [1, 2]}
    return row | {"member": f"0704/{paper_id}.gz", "kind": "tar.gz", "offset": 512, "n_bytes": 700}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of five papers: one kept, one too short, two duplicates of others, one without an archive."""
    data = tmp_path_factory.mktemp("data")
    there = [KEPT, SHORT, SAME, LIKE]
    for stage, columns in COLUMNS.items():
        name = "0704" if stage == "filter_metadata" else TAR
        with (
            ParquetShard(data / f"corpus/main/{stage}/{name}.parquet", columns, "hash") as kept,
            ParquetShard(data / f"ledger/main/{stage}/{name}.parquet", schema.LEDGER, "hash") as ledger,
        ):
            documents = Documents(kept, ledger, name)
            for paper_id in [*there, ABSENT] if stage == "filter_metadata" else list(there):
                if (stage, paper_id) == ("filter_quality", SHORT):
                    documents.drop(paper_id, "too_short", 27, "6 words of prose")
                elif stage == "deduplicate" and paper_id in (SAME, LIKE):
                    documents.drop(
                        paper_id, "exact_duplicate", 27, {SAME: KEPT, LIKE: "0704.00012"}[paper_id]
                    )
                else:
                    row = {key: value for key, value in _row(paper_id).items() if key in columns.names}
                    removed = (
                        {"comments": 73, "title_and_abstract": -100} if stage == "normalize_text" else {}
                    )
                    documents.keep(row, 27 + sum(removed.values()), 27, removed)
                    continue
                there.remove(paper_id)
    index = data / f"tokens/main-main/train/math/{TAR}.idx.parquet"
    with ParquetShard(index, schema.TOKEN_INDEX, "hash") as tokens:
        numbers = {"offset": 1000, "n_tokens": 9, "n_bytes": 27, "math_share": 0.1}
        tokens.append({"id": KEPT, "license": "", **numbers})
    return data


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param("KEPT up to split_corpus, in train", id="verdict"),
        pytest.param("arXiv_src_0704_001.tar: 0704/0704.0001.gz, tar.gz", id="item"),
        pytest.param("ms.tex (best score, latex)", id="main_file"),
        pytest.param("→   9  ms.tex  abstract+4 title+2", id="chosen_candidate"),
        pytest.param("   -6  reply.tex  bad_name-6", id="other_candidate"),
        pytest.param("used 2 of 5         ms.tex, a.tex", id="files"),
        pytest.param("a.tex: cp1252", id="encodings"),
        pytest.param("truncated_archive", id="flags"),
        pytest.param("title and abstract               −100", id="bytes_added"),
        pytest.param("comments                           73", id="bytes_removed"),
        pytest.param("\\input{lost}", id="unresolved_inputs"),
        pytest.param("2 of 40 uses, most often \\foo", id="macros_left"),
        pytest.param("stands for          0704.0003 (exact_duplicate)", id="duplicates"),
        pytest.param("9 tokens            main-main/train/math, 3.00 bytes a token", id="tokens"),
        pytest.param("The body begins.", id="text"),
    ],
)
def test_a_kept_paper(data: Path, shown: str) -> None:
    assert shown in render(trace(data, "main", KEPT), Page())


def test_a_longer_id_is_another_paper(data: Path) -> None:
    found = trace(data, "main", KEPT)
    assert list(found.duplicates) == [SAME]


@pytest.mark.parametrize(
    ("paper_id", "verdict", "stage"),
    [
        (SHORT, "DROPPED by filter_quality, too_short: 6 words of prose", "filter_quality"),
        (SAME, "DROPPED by deduplicate, exact_duplicate: 0704.0001", "deduplicate"),
        (ABSENT, "SELECTED by its metadata, in none of the archives", "filter_metadata"),
    ],
    ids=["filtered", "duplicate", "no_archive"],
)
def test_a_paper_that_ends_early(data: Path, paper_id: str, verdict: str, stage: str) -> None:
    found = trace(data, "main", paper_id)
    assert verdict in render(found, Page())
    assert list(found.verdicts)[-1] == stage


def test_colours_are_all_that_a_terminal_adds(data: Path) -> None:
    found = trace(data, "main", KEPT)
    coloured = render(found, Page(colour=True))
    assert "\033[32mKEPT" in coloured
    for code in ("0", "1", "31", "32", "90"):
        coloured = coloured.replace(f"\033[{code}m", "")
    assert [line.rstrip() for line in coloured.split("\n")] == render(found, Page()).split("\n")


def test_an_unknown_id_is_a_sentence(data: Path) -> None:
    with pytest.raises(UserError, match=r"'0704.0009' is not among the 5 papers .* similar ids: 0704\.000"):
        trace(data, "main", "0704.0009")


def test_a_corpus_that_is_not_there_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make preprocess"):
        trace(tmp_path, "main", KEPT)


@pytest.mark.parametrize(
    ("written", "code", "said"),
    [
        ("arXiv:0704.0001v2", 0, "KEPT"),
        ("0704.0002", 0, "too_short"),
        ("9999.99999", 2, "error: "),
        ("", 2, "make why ID="),
    ],
    ids=["with_prefix_and_version", "dropped", "unknown", "none_given"],
)
def test_as_a_user_runs_it(data: Path, written: str, code: int, said: str) -> None:
    done = run_script("analysis/why.py", written, "--data", data, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True)
    assert "Traceback" not in done.stderr
