"""What preprocessing will need, from samples of the tars."""

import re
import sys
from pathlib import Path
from unittest import mock

import pytest

from configs.loader import UserError
from configs.stages import TABLE
from preprocess import budget
from preprocess.budget import Cost, Sample, extrapolate, predict, spread
from preprocess.pipeline.manifest import ManifestEntry
from preprocess.sample_corpus import write_sample


@pytest.mark.parametrize(
    ("small", "large", "to_bytes", "expected"),
    [
        pytest.param(15.0, 25.0, 1000, 1005.0, id="a_fixed_part_and_a_slope"),
        pytest.param(15.0, 25.0, 20, 25.0, id="at_the_larger_sample"),
        pytest.param(5.0, 20.0, 200, 200.0, id="no_negative_fixed_part"),
        pytest.param(7.0, 6.0, 200, 60.0, id="noise_counts_as_growth"),
        pytest.param(7.0, 7.0, 200, 7.0, id="what_does_not_grow"),
    ],
)
def test_extrapolate(small: float, large: float, to_bytes: float, expected: float) -> None:
    assert extrapolate(small, large, (10, 20), to_bytes) == pytest.approx(expected)


def test_each_stage_grows_with_what_it_reads() -> None:
    def sample(n: int) -> Sample:
        costs = {stage.name: Cost(float(n), n, n) for stage in TABLE}
        return Sample(n, 1000 * n, 10 * n, costs)

    cost = predict((sample(1), sample(2)), 40, 1_000_000, 50)
    assert cost["filter_metadata"].cpu_s == pytest.approx(5)  # with the snapshot
    assert cost["extract_latex"].cpu_s == pytest.approx(1000)  # with the tars
    assert cost["extract_latex"].n_files == pytest.approx(40)  # with their number
    assert cost["train_tokenizer"].cpu_s == pytest.approx(2)  # as on the larger sample


def test_spread_is_even_and_has_no_tar_twice() -> None:
    entries = [ManifestEntry(f"{n}", "", 1, 1) for n in range(10)]
    assert [entry.name for entry in spread(entries, 2)] == ["2", "7"]
    assert spread(entries, 10) == entries == spread(entries, 99)


@pytest.mark.slow
def test_the_table_says_what_all_stages_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(tmp_path / "raw", 0, 96)
    src, metadata = tmp_path / "raw/src", tmp_path / "raw/metadata.json"
    argv = ["preprocess/budget.py", "--src", str(src), "--metadata", str(metadata), "--sample", "12"]
    before = sorted(tmp_path.rglob("*"))
    with mock.patch.object(sys, "argv", [*argv, "--scale", "demo", "--months", "0704-2105", "--cores", "2"]):
        budget.main()
    said = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    rows = dict(re.findall(r"^(\w+) +([\d.]+) ", said, re.MULTILINE))
    assert list(rows) == [*(stage.name for stage in TABLE), "all"]
    assert float(rows["all"]) > 0
    n_tars = len([path for path in src.glob("*.tar") if path.name[10:14] in ("0704", "1207", "1501", "2105")])
    assert f"{n_tars} tars" in said
    (n_files,) = re.findall(r"^extract_latex .* (\d+) +[\d.]+$", said, re.MULTILINE)
    assert int(n_files) == 2 * n_tars  # documents and ledger


def test_two_tars_are_no_sample(tmp_path: Path) -> None:
    write_sample(tmp_path / "raw", 0, 0)
    src = tmp_path / "raw/src"
    for path in sorted(src.glob("*.tar"))[2:]:
        path.unlink()
    argv = ["preprocess/budget.py", "--src", str(src), "--metadata", str(tmp_path / "raw/metadata.json")]
    with mock.patch.object(sys, "argv", argv), pytest.raises(UserError, match="fewer than three tars"):
        budget.main()
