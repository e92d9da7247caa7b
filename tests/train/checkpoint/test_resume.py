"""From which checkpoint a run resumes, and when it refuses to."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from configs.loader import UserError
from tests.support.training import (
    KEEP_ALL,
    STEPS,
    VOCAB,
    pretrain_here,
    read_rows,
    values,
    write_corpus,
    write_shard,
    write_token_totals,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints of steps 5, 10, 15 and 20; tests work on a copy."""
    out = tmp_path_factory.mktemp("finished")
    assert pretrain_here(corpus, out, **KEEP_ALL) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def damage(run: Path, steps: Iterable[int]) -> list[Path]:
    """Truncate the weights of the checkpoints of some steps; return these files."""
    files = [run / "checkpoints" / f"step_{step:07d}" / "weights.safetensors" for step in steps]
    for path in files:
        path.write_bytes(path.read_bytes()[:1000])
    return files


def test_a_finished_run_is_not_trained_again(
    run: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain_here(corpus, run, **KEEP_ALL) == 0
    assert "finished already" in capsys.readouterr().out
    assert not (run / "log.1.jsonl").exists()


@pytest.mark.parametrize("done", [True, False], ids=["DONE", "not-done"])
def test_damaged_newest_checkpoints_are_reported_and_renamed_and_an_earlier_one_is_used(
    run: Path, finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str], done: bool
) -> None:
    damaged = damage(run, (15, 20))
    if not done:
        (run / "DONE").unlink()
    assert pretrain_here(corpus, run, keep_last=2) == 0
    shown = capsys.readouterr().out
    assert all(f"damaged_{path.parent.name}" in shown and str(path) in shown for path in damaged)
    resumed = read_rows(run, "event", restart=1)[0]
    assert (resumed["event"], resumed["step"]) == ("resume", 10)
    before = values(finished)
    assert values(run, restart=1) == {step: before[step] for step in range(11, STEPS + 1)}
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["damaged_step_0000015", "damaged_step_0000020", "step_0000015", "step_0000020"]
    assert (run / "DONE").is_file()


def test_a_resumed_run_is_not_marked_as_done(run: Path, corpus: Path) -> None:
    damage(run, [20])
    (run / "STOP").touch()
    assert pretrain_here(corpus, run, **KEEP_ALL) == 75
    assert not (run / "DONE").exists()


@pytest.mark.parametrize("done", [True, False], ids=["DONE", "not-done"])
def test_a_run_without_an_intact_checkpoint_does_not_silently_start_again(
    run: Path, corpus: Path, done: bool
) -> None:
    damaged = damage(run, (5, 10, 15, 20))
    if not done:
        (run / "DONE").unlink()
    for _ in range(2):  # also when it is started a second time
        with pytest.raises(UserError, match=r"no checkpoint is intact.*remove .* to begin anew") as error:
            pretrain_here(corpus, run, **KEEP_ALL)
    assert all(str(path) in str(error.value) for path in damaged)
    assert not (run / "log.1.jsonl").exists()


def test_a_finished_run_that_lost_its_checkpoints_does_not_silently_start_again(
    run: Path, corpus: Path
) -> None:
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"DONE says that the run is finished, but .* holds no checkpoint"):
        pretrain_here(corpus, run, **KEEP_ALL)
    assert not (run / "log.1.jsonl").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_again(run: Path, corpus: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "DONE").unlink()
    assert pretrain_here(corpus, run, **KEEP_ALL) == 0
    assert list(values(run, restart=1)) == list(range(1, STEPS + 1))


def test_a_changed_recipe_does_not_resume_from_an_old_checkpoint(finished: Path, corpus: Path) -> None:
    with pytest.raises(UserError, match=r"another configuration \(lr 0.\d+, now 0.0001\)"):
        pretrain_here(corpus, finished, lr=1e-4)


def test_a_changed_recipe_resumes_with_force(
    finished: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished / "checkpoints" / "step_0000015", tmp_path / "checkpoints" / "step_0000015")
    assert pretrain_here(corpus, tmp_path, "--force", **(KEEP_ALL | {"lr": 1e-4})) == 0
    assert "trained until now with another configuration" in capsys.readouterr().out
    assert [row["step"] for row in read_rows(tmp_path, "train")] == list(range(16, STEPS + 1))


def test_changed_data_does_not_resume_from_an_old_checkpoint(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another data"):
        pretrain_here(write_corpus(tmp_path, seed=1), finished)


def test_a_run_goes_on_over_data_that_grew_and_says_what_was_added(
    run: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grown = shutil.copytree(corpus, tmp_path / "grown")
    root = grown / "tokens" / "main-main"
    documents = {f"new.{i}": 610 + np.arange(100) for i in range(10)}
    write_shard(root / "train" / "math", "tar_2", documents, VOCAB, "0" * 64)
    write_token_totals(root)
    added = "1 added: train/math/tar_2; 6 shards as before"
    shutil.rmtree(run / "checkpoints" / "step_0000020")
    with pytest.raises(UserError, match=rf"trained with another data \(.*: {added}\)"):
        pretrain_here(grown, run, **KEEP_ALL)
    assert pretrain_here(grown, run, "--force", **KEEP_ALL) == 0
    assert f"{added})" in capsys.readouterr().out
    assert list(values(run, restart=1)) == list(range(16, STEPS + 1))


def test_changed_validation_data_does_not_resume_from_an_old_checkpoint(
    finished: Path, corpus: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(corpus, tmp_path / "other")
    facts = next(other.glob("tokens/main-main/val/*/*.json"))
    facts.write_text(facts.read_text().replace('"data_sha256": "', '"data_sha256": "0'))
    with pytest.raises(UserError, match=r"trained with another validation data \("):
        pretrain_here(other, finished, **KEEP_ALL)


def test_a_new_run_in_a_used_folder_is_refused(finished: Path, corpus: Path) -> None:
    with pytest.raises(UserError, match="holds a run"):
        pretrain_here(corpus, finished, "--resume", "none")
