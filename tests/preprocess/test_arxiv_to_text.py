"""The cleaner of its own: the pipeline's text for all forms of input and output; an install without torch."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from configs.loader import UserError
from preprocess import arxiv_to_text
from preprocess.arxiv_to_text import clean
from preprocess.pipeline.shard import read_rows
from preprocess.sample_corpus import write_sample
from preprocess.validate_archives import items
from tests.conftest import ROOT
from tests.support.corpus import ledger, run_stage
from tests.support.latex_cases import tar_of

BODY = rb"\documentclass{article}\begin{document}Hello.\end{document}"
FOLDER = {
    "main.tex": rb"\documentclass{article}\begin{document}\input{part}\end{document}",
    "part.tex": b"Hello.",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the sample in raw/ and its corpus up to normalize_text."""
    data = tmp_path_factory.mktemp("sample")
    write_sample(data / "raw", 0, 18)
    for stage in ("filter_metadata", "validate_archives", "extract_latex", "normalize_text"):
        run_stage(stage, "--data", data)
    return data


@pytest.fixture(scope="module")
def month(sample: Path) -> Path:
    """A tar of the sample, with a paper that is a PDF."""
    return max((sample / "raw" / "src").glob("arXiv_src_0704_*.tar"), key=lambda path: path.stat().st_size)


def test_texts_and_verdicts_are_those_of_the_pipeline(sample: Path) -> None:
    kept = {
        row["id"]: row
        for path in (sample / "corpus/main/normalize_text").glob("*.parquet")
        for row in read_rows(path)
    }
    verdicts = {
        stage: ledger(sample, stage) for stage in ("validate_archives", "extract_latex", "normalize_text")
    }
    n_kept, reasons = 0, set()
    for tar in sorted((sample / "raw/src").glob("*.tar")):
        for item in arxiv_to_text.find_items(tar, tar.name):
            data = tar.read_bytes()[item.offset : item.offset + item.n_bytes]
            if row := kept.get(item.id):
                text, record = clean(data, f"{item.name}.tex", row["title"], row["abstract"])
                assert text == row["text"], item.id
                assert record["main_file"] == row["main_file"]
                n_kept += 1
                continue
            said = next(v[item.id] for v in verdicts.values() if v.get(item.id, "kept") != "kept")
            if said not in ("not_selected", "repeated_item", "damaged_tar"):  # of other rules than cleaning
                assert clean(data, f"{item.name}.tex").record["dropped"] == said
                reasons.add(said)
    assert n_kept == len(kept) > 18
    assert len(reasons) > 3


@pytest.mark.parametrize(
    ("archive", "text"),
    [
        pytest.param(gzip.compress(BODY), "Hello.\n", id="gz_of_a_file"),
        pytest.param(gzip.compress(tar_of(FOLDER)), "Hello.\n", id="gz_of_a_tar"),
        pytest.param(tar_of(FOLDER), "Hello.\n", id="tar"),
        pytest.param(BODY, "Hello.\n", id="plain"),
        pytest.param(b"%PDF-1.4 \n", "", id="pdf"),
        pytest.param(gzip.compress(BODY)[:-9], "", id="cut_off"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_forms_of_a_paper(archive: bytes, text: str) -> None:
    cleaned = clean(archive)
    assert cleaned.text == text
    assert ("dropped" in cleaned.record) == (not text)


def test_title_and_abstract_come_first() -> None:
    assert clean(BODY, title="On words", abstract="We greet.").text == "On words\n\nWe greet.\n\nHello.\n"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["plain", "gz", "tar", "tex", "cut"]))
def test_no_bytes_make_it_fail(data: bytes, wrapping: str) -> None:
    wrapped = {
        "plain": data,
        "gz": gzip.compress(data),
        "tar": gzip.compress(tar_of({"a.tex": data})),
        "tex": BODY.replace(b"Hello.", data),
        "cut": gzip.compress(tar_of(FOLDER))[: len(data)],
    }[wrapping]
    text, record = clean(wrapped)
    assert bool(text) != ("dropped" in record)


# ---------------------------------------------------------------- the command


def run(*args: object, stdin: bytes = b"") -> None:
    argv = ["arxiv-to-text", "--workers", "1", *map(str, args)]
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
    ):
        arxiv_to_text.main()


def test_all_formats_hold_the_same_texts(
    month: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(month, "--to", tmp_path / "text")
    said = capsys.readouterr().err
    run(month, "--format", "jsonl", "--to", tmp_path / "all.jsonl", "--workers", 2)
    run(month, "--format", "parquet", "--to", tmp_path / "all.parquet")
    texts = {path.stem: path.read_text() for path in (tmp_path / "text").iterdir()}
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    rows = pq.read_table(tmp_path / "all.parquet").to_pylist()
    in_the_tar = [member.name for member, _ in items(month, 0)]
    assert [f"0704/{line['id']}.gz" for line in lines] == [name for name in in_the_tar if name[5:-3] in texts]
    assert {line["id"]: line["text"] for line in lines} == texts == {row["id"]: row["text"] for row in rows}
    assert [line["record"] for line in lines] == [json.loads(row["record"]) for row in rows]
    assert len(texts) + said.count(f"{month}: ") == len(in_the_tar)
    assert {path.name for path in tmp_path.iterdir()} == {"text", "all.jsonl", "all.parquet"}


def test_a_tar_on_standard_input(month: Path, tmp_path: Path) -> None:
    run("-", "--format", "jsonl", "--to", tmp_path / "stdin.jsonl", stdin=month.read_bytes())
    run(month, "--format", "jsonl", "--to", tmp_path / "file.jsonl")
    from_stdin = (tmp_path / "stdin.jsonl").read_text()
    assert (
        from_stdin.replace('"source": "stdin"', f'"source": "{month}"')
        == (tmp_path / "file.jsonl").read_text()
    )


def test_one_paper_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("-", stdin=gzip.compress(BODY))
    (tmp_path / "paper.tar").write_bytes(tar_of(FOLDER))
    run(tmp_path / "paper.tar")
    assert capsys.readouterr().out == "Hello.\nHello.\n"


def test_a_folder_keeps_its_places(tmp_path: Path) -> None:
    for name in ("a/paper.gz", "b/paper.tgz", "0704.0001.gz", "notes.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(BODY))
    run(tmp_path / "in", "--to", tmp_path / "out")
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.txt")}
    assert written == {"a/paper.txt", "b/paper.txt", "0704.0001.txt"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(("absent.gz",), "no such file", id="absent"),
        pytest.param(("empty",), "holds no archive", id="empty_folder"),
        pytest.param(("a.gz", "x/a.gz"), "give a folder with --to", id="two_papers_on_one_stream"),
        pytest.param(("a.gz", "x/a.gz", "--to", "out"), "2 papers would be written to it", id="one_name"),
        pytest.param(("a.gz", "--format", "parquet"), "give the file with --to", id="parquet_to_nowhere"),
        pytest.param(("paper.pdf",), "none of 1 papers leaves a text", id="no_text"),
        pytest.param(("a.gz", "--workers", "0"), "at least 1", id="no_workers"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "x"):
        (tmp_path / folder).mkdir()
    for name in ("a.gz", "x/a.gz"):
        (tmp_path / name).write_bytes(gzip.compress(BODY))
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.4 \n")
    with pytest.raises(UserError, match=says):
        run(*args)


# ---------------------------------------------------------------- installed by itself


def needed() -> set[str]:
    """The packages that `pip install .` brings, by what pyproject.toml names and what that requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, found = list(project["dependencies"]), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name not in found and (
            not requirement.marker or requirement.marker.evaluate({"extra": ""})
        ):
            found.add(requirement.name)
            waiting += distribution(requirement.name).requires or []
    return found


@pytest.fixture(scope="module")
def light_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin/ of an environment with the project, installed from a copy, and what it needs; nothing else."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    purelib = Path(sysconfig.get_path("purelib"))
    for name in needed():
        for top in {file.parts[0] for file in distribution(name).files or [] if file.parts[0] != ".."}:
            (site / top).symlink_to(purelib / top)
    for name in ("configs", "preprocess", "train", "analysis"):
        shutil.copytree(
            ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__", "out")
        )
    shutil.copy(ROOT / "pyproject.toml", folder / "copy")
    python = folder / "venv/bin/python"
    builder = folder / "builder.pth"  # setuptools builds the wheel, and is not in the environment afterwards
    builder.write_text(str(purelib))
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*wheel, "-w", folder, folder / "copy"], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        built,
    ]
    subprocess.run(install, check=True, capture_output=True)
    return python.parent


def test_it_runs_with_the_few_packages_that_it_names(light_bin: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in ("torch", "transformers", "matplotlib", "pandas", "sentencepiece"):
        absent = subprocess.run(
            [light_bin / "python", "-c", f"import {name}"], env=environment, capture_output=True
        )
        assert absent.returncode, name
    (tmp_path / "paper.gz").write_bytes(gzip.compress(BODY))
    call = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([light_bin / "arxiv-to-text", "paper.gz"], **call)  # type: ignore[call-overload]
    assert (done.stdout, done.stderr) == ("Hello.\n", "")
    code = (
        "from preprocess.arxiv_to_text import clean; print(clean(open('paper.gz', 'rb').read()).text, end='')"
    )
    done = subprocess.run([light_bin / "python", "-c", code], **call)  # type: ignore[call-overload]
    assert (done.stdout, done.stderr) == ("Hello.\n", "")
