"""The planned disk space is that of a run's own files."""

from pathlib import Path

import pytest

from tests.support.training import SMALL, pretrain_here, write_corpus
from train.config import load_run
from train.planning.disk import checkpoint_bytes, disk_bytes


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_checkpoints_and_tokens_take_what_the_plan_says(tmp_path: Path, optimizer: str) -> None:
    data = write_corpus(tmp_path / "data")
    tokens = sum(f.stat().st_size for f in (data / "tokens/main-main/train").rglob("*.bin"))
    keep = {"keep_last": 1, "keep_every": 2, "unique_tokens": tokens // 4, "optimizer": optimizer}
    assert pretrain_here(data, tmp_path / "run", **keep) == 0
    run = load_run(Path("configs/runs/run20.yaml"), "demo", overrides=SMALL | keep)
    # Steps 10 and 20 are kept for good and are left; the plan adds the newest and one that is being written.
    left = folder_bytes(tmp_path / "run/checkpoints")
    assert left * 4 / 2 == pytest.approx(checkpoint_bytes(run), rel=0.01)
    assert disk_bytes(run)["tokens"] == pytest.approx(tokens, rel=1e-3)


def test_run_20_projects_the_papers_200_gb() -> None:
    parts = disk_bytes(load_run(Path("configs/runs/run20.yaml")))
    assert parts["tokens"] == pytest.approx(209e9, rel=0.01)
    assert 0.2 < parts["corpus"] / 200e9 < 0.3
    assert parts["raw archives"] > parts["intermediate stages"] > parts["corpus"]
