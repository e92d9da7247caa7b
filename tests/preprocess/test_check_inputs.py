"""Wrong inputs are named before the first stage; a stage that drops all papers ends the chain."""

import subprocess
from pathlib import Path

import pytest

from configs.loader import UserError
from tests.conftest import ROOT, run_script
from tests.support.corpus import run_stage


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    run_script("preprocess/sample_corpus.py", "--out", folder / "raw", "--papers", 0)
    return folder / "raw"


def _check(data: Path, raw: Path, *flags: object) -> str:
    places = ("--data", data, "--src", raw / "src", "--metadata", raw / "metadata.json")
    return run_stage("check_inputs", *places, *flags)


def test_good_inputs_pass(raw: Path, tmp_path: Path) -> None:
    assert "6 tars (6 in the manifest), metadata of" in _check(tmp_path, raw)


@pytest.mark.parametrize(
    ("src", "says"),
    [
        ("nowhere", r"nowhere: no such folder; set SRC= to the folder of arXiv's bulk archives"),
        ("empty", r"empty: holds no \.tar; set SRC= to the folder"),
        (
            "no_manifest",
            r"no_manifest/arXiv_src_manifest\.xml: no manifest; fetch src/arXiv_src_manifest\.xml",
        ),
    ],
)
def test_wrong_archives_are_named(raw: Path, tmp_path: Path, src: str, says: str) -> None:
    for folder in ("empty", "no_manifest"):
        (tmp_path / folder).mkdir()
    (tmp_path / "no_manifest/a.tar").touch()
    with pytest.raises(UserError, match=says):
        _check(tmp_path, raw, "--src", tmp_path / src)


def test_a_variant_is_refused_before_its_base(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"corpus 'broad' takes over .* run make preprocess VARIANT=main first"
    ):
        _check(tmp_path, raw, "--variant", "broad")


def test_make_stops_at_the_check(raw: Path, tmp_path: Path) -> None:
    """A JSON array instead of lines ran through seven stages before."""
    array = tmp_path / "array.json"
    array.write_text("[" + ",".join((raw / "metadata.json").read_text().splitlines()[:3]) + "]\n")
    values = {"SRC": raw / "src", "METADATA": array, "DATA": tmp_path / "data", "WORKERS": 1}
    # The environment stands already: `-o` keeps make from installing it again.
    command = ["make", "-o", "setup", "preprocess", *(f"{key}={value}" for key, value in values.items())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: {array}: is one JSON array; one JSON object per line is expected" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_stage_that_loses_all_papers_stops(raw: Path, tmp_path: Path) -> None:
    data = ("--data", tmp_path, "--metadata", raw / "metadata.json")
    with pytest.raises(
        UserError, match=r"filter_metadata kept none of \d+ documents \(.*year \d+.*--help lists"
    ):
        run_stage("filter_metadata", *data, "last_year=1991")
    run_stage("validate_archives", "--data", tmp_path, "--src", raw / "src")
    # A task of an array cannot tell whether the others kept something; the next stage can.
    for i in range(2):
        run_stage("extract_latex", "--data", tmp_path, "--src", raw / "src", "--shard", f"{i}/2")
    with pytest.raises(UserError, match=r"extract_latex: holds no documents"):
        run_stage("normalize_text", "--data", tmp_path)
