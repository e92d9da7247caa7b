"""compare: effects between runs, their intervals, and tokens to equal loss."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.effects import effect, t_quantile, tokens_to_reach
from analysis.readers.run_logs import Run, RunLog
from tests.conftest import run_script
from tests.support.analysis_logs import header, history, judged, write

NONE = pd.DataFrame()


def documents_of(bits: np.ndarray, n_bytes: np.ndarray) -> pd.DataFrame:
    """Rows val_document with these bits a byte."""
    n_tokens = np.maximum(n_bytes // 3, 1)
    return pd.DataFrame(
        {
            "domain": np.where(np.arange(len(bits)) % 2, "math", "cs"),
            "document": [f"{i:016x}" for i in range(len(bits))],
            "loss_nats": bits * n_bytes * math.log(2) / n_tokens,
            "n_tokens": n_tokens,
            "n_bytes": n_bytes,
        }
    )


def log_of(documents: pd.DataFrame, seed: int = 0) -> RunLog:
    """A log that holds nothing but what a comparison needs."""
    return RunLog(Run("demo", "a", seed), [], [], NONE, NONE, NONE, NONE, documents, NONE, NONE)


def a_study(
    rng: np.random.Generator, planted: float, n_seeds: int
) -> tuple[dict[int, RunLog], dict[int, RunLog]]:
    """Two runs whose documents differ much from each other, less in B's effect on them, and by seed."""
    n_bytes = rng.integers(20_000, 60_000, 24)
    difficulty = rng.normal(1.6, 0.3, 24)
    effect_of_document = planted + rng.normal(0, 0.02, 24)
    a, b = {}, {}
    for seed in range(n_seeds):
        a[seed] = log_of(documents_of(difficulty + rng.normal(0, 0.01), n_bytes), seed)
        b[seed] = log_of(documents_of(difficulty + effect_of_document + rng.normal(0, 0.01), n_bytes), seed)
    return a, b


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_a_planted_effect_lies_in_the_interval(n_seeds: int) -> None:
    rng = np.random.default_rng(n_seeds)
    found = [effect(*a_study(rng, -0.05, n_seeds)) for _ in range(100)]
    assert sum(one.low <= -0.05 <= one.high for one in found) >= 90
    assert np.mean([one.mean for one in found]) == pytest.approx(-0.05, abs=0.005)


def test_one_seed_says_what_its_interval_leaves_out() -> None:
    found = effect(*a_study(np.random.default_rng(0), -0.05, 1))
    assert found.low < found.mean < found.high
    assert "not the spread between seeds" in found.note


def test_a_run_against_itself_changes_nothing() -> None:
    a, _ = a_study(np.random.default_rng(0), 0.0, 3)
    found = effect(a, a)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_documents_of_one_run_alone_are_left_out() -> None:
    bits, n_bytes = np.full(6, 1.5), np.full(6, 3000)
    whole, part = documents_of(bits, n_bytes), documents_of(bits + 0.1, n_bytes).iloc[:4]
    found = effect({0: log_of(whole)}, {0: log_of(part)})
    assert (found.n_documents, found.n_left_out) == (4, 2)
    assert found.mean == pytest.approx(0.1)


def test_the_order_of_documents_does_not_matter() -> None:
    a, b = a_study(np.random.default_rng(1), 0.03, 2)
    shuffled = {seed: log_of(log.val_document.sample(frac=1, random_state=seed)) for seed, log in b.items()}
    assert effect(a, shuffled) == effect(a, b)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.706), (2, 4.303), (4, 2.776), (30, 2.042), (math.inf, 1.960)]
)
def test_quantiles_of_students_t_are_those_of_the_tables(degrees: float, expected: float) -> None:
    assert t_quantile(degrees) == pytest.approx(expected, abs=6e-4)


def test_tokens_to_equal_loss() -> None:
    curve = pd.DataFrame({"tokens_seen": [100, 200, 300], "bits_per_byte": [3.0, 2.0, 1.5]})
    assert tokens_to_reach(curve, 2.5) == 150
    assert tokens_to_reach(curve, 4.0) == 100
    assert tokens_to_reach(curve, 1.0) is None


def test_command(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / f"logs/demo/run20/seed{seed}/log.0.jsonl", judged("run20", seed))
        write(tmp_path / f"logs/demo/run08/seed{seed}/log.0.jsonl", judged("run08", seed, better_by=0.1))
    places = ("--logs", tmp_path / "logs", "--out", tmp_path / "out")
    said = run_script("analysis/compare.py", "run20", "run08", *places).stdout
    written = json.loads((tmp_path / "out/compare_run20_run08.json").read_text())
    assert written["mean"] == pytest.approx(-0.1, abs=0.01)
    assert written["low"] < written["mean"] < written["high"]
    assert written["n_documents"] == 24
    assert f"run08 against run20: {written['mean']:+.4f} bits per byte" in said
    assert "run20 is not there within its 409,600 tokens" in said
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".png", ".pdf", ".json"}

    reverse = run_script("analysis/compare.py", "run08", "run20", *places).stdout
    assert f"run20 against run08: {-written['mean']:+.4f} bits per byte" in reverse


def test_runs_of_other_lengths_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "demo/run20/seed0/log.0.jsonl", judged("run20", 0))
    write(tmp_path / "demo/run08/seed0/log.0.jsonl", [header(), *history(1, 50)])
    done = run_script("analysis/compare.py", "run20", "run08", "--logs", tmp_path, check=False)
    assert done.returncode == 2
    assert "demo/run08/seed0 has 204,800" in done.stderr
