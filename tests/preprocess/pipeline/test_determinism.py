"""All stages give the same bytes for any number of workers, any division into tasks, and after any kill."""

import shutil
from pathlib import Path

import pytest

from benchmarks.prove_preprocess import clear, differences, tree
from configs.stages import CORPUS_STAGES, TABLE
from tests.conftest import run_script
from tests.support.corpus import run_stage

pytestmark = pytest.mark.slow
ROUNDS = {"deduplicate": 0} | {stage.name: stage.rounds for stage in TABLE if stage.rounds}  # 0: one task


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("determinism") / "data"
    run_script("preprocess/sample_corpus.py", "--out", data / "raw", "--papers", 60)
    return data


@pytest.fixture(scope="module")
def expected(data: Path) -> dict[str, str]:
    """What one process makes of the sample, and of its perplexity filter, whose model needs all of it."""
    for stage in CORPUS_STAGES:
        run_stage(stage, "--data", data)
    run_stage("filter_quality", "--data", data, "--variant", "run22")
    found = tree(data)
    clear(data)
    return found


@pytest.mark.parametrize("workers", [2, 5])
def test_output_is_the_same_for_any_number_of_workers_and_in_one_process(
    data: Path, expected: dict[str, str], workers: int
) -> None:
    flags = ("--data", data, "--workers", workers)
    said = run_script("preprocess/all_stages.py", *flags, "--until", CORPUS_STAGES[-1]).stdout
    assert [line.partition(":")[0] for line in said.splitlines() if " documents in, " in line] == [
        *CORPUS_STAGES
    ]
    run_script("preprocess/filter_quality.py", *flags, "--variant", "run22")
    assert not differences(expected, tree(data))
    clear(data)


def test_a_key_of_one_stage_is_refused_for_all_of_them(data: Path) -> None:
    done = run_script("preprocess/all_stages.py", "--data", data, "min_words=3", check=False)
    assert (done.returncode, tree(data)) == (2, {})
    assert "min_words=3: a key belongs to one stage" in done.stderr


@pytest.mark.parametrize("order", [(0, 1), (2, 0, 3, 1)], ids=["two", "four-in-another-order"])
def test_output_is_the_same_for_any_division_into_tasks(
    data: Path, expected: dict[str, str], order: tuple[int, ...]
) -> None:
    for stage in CORPUS_STAGES:
        tasks = [f"{i}/{len(order)}" for i in order] * ROUNDS.get(stage, 1) or ["0/1"]
        for task in tasks:
            run_stage(stage, "--data", data, "--shard", task)
    for i in order:
        run_stage("filter_quality", "--data", data, "--variant", "run22", "--shard", f"{i}/{len(order)}")
    assert not differences(expected, tree(data))
    clear(data)


def test_output_does_not_depend_on_place_or_order_of_tars(
    data: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    """Half of the tars first, the others later; and everything lies elsewhere."""
    moved = tmp_path / "moved"
    shutil.copytree(data / "raw", moved / "raw")
    tars = sorted((moved / "raw/src").glob("*.tar"))
    (tmp_path / "later").mkdir()
    for tar in tars[::2]:
        tar.rename(tmp_path / "later" / tar.name)
    for stage in CORPUS_STAGES[:4]:
        run_stage(stage, "--data", moved)
    for tar in tars[::2]:
        (tmp_path / "later" / tar.name).rename(tar)
    for stage in CORPUS_STAGES:
        run_stage(stage, "--data", moved)
    run_stage("filter_quality", "--data", moved, "--variant", "run22")
    assert not differences(expected, tree(moved))


def test_output_is_the_same_after_a_kill_at_any_moment() -> None:
    """Part one of `make prove-resume`, with 5 kills instead of 50."""
    done = run_script(
        *("-m", "benchmarks.prove_preprocess", "--kills", 5, "--papers", 60, "--workers", 1, "--corpus-only")
    )
    assert done.stdout.splitlines()[-1].startswith("5 kills (")
