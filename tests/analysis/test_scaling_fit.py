"""Planted exponents are found again, with honest intervals; the script refuses what it cannot fit."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from analysis.power_law import (
    Law,
    best_law,
    compute_optimal,
    fit,
    interval,
    resampled,
)
from analysis.scaling_fit import main
from configs.script import UserError
from tests.support.analysis_logs import header, history, write

# Hoffmann et al. 2022, equation 10, at the sizes of the ladder at full scale.
FLOOR, A, ALPHA, B, BETA = 1.69, 406.4, 0.34, 410.7, 0.28
N0, D0 = 1.358e9, 52.18e9
MODELS = [N0 * factor for factor in (0.126, 0.238, 0.491, 2.06)]
DATA = [D0 / 2**power for power in range(4, -1, -1)]
LADDER = [*((n, D0) for n in MODELS), *((N0, d) for d in DATA)]
N_STUDIES, N_RESAMPLED = 200, 100
NOISE = 0.002  # of log L between seeds


def loss(parameters: float, tokens: float) -> float:
    return FLOOR + A / parameters**ALPHA + B / tokens**BETA


def studies(runs: list[tuple[float, float]]) -> Iterator[list[float]]:
    """Losses of the runs in each of the studies, which have different seeds."""
    random = np.random.default_rng(0)
    for _ in range(N_STUDIES):
        yield [loss(*run) * math.exp(NOISE * random.normal()) for run in runs]


def share_within(sizes: list[list[float]], runs: list[tuple[float, float]], planted: list[float]) -> float:
    """The share of planted exponents within the intervals of the studies."""
    hits = []
    for losses in studies(runs):
        law = best_law(sizes, losses)
        others = resampled(sizes, losses, law, N_RESAMPLED) if law else []
        for index, exponent in enumerate(planted):
            low, high = interval([other.exponents[index] for other in others]) if others else (0, 0)
            hits.append(low <= exponent <= high)
    return float(np.mean(hits))


@pytest.mark.slow
def test_the_exponent_over_data_is_within_its_interval_in_nine_of_ten_studies() -> None:
    runs = [(N0, d) for d in DATA for _ in range(2)]
    assert share_within([[d for _, d in runs]], runs, [BETA]) >= 0.9


@pytest.mark.slow
def test_both_exponents_are_within_their_intervals_in_nine_of_ten_studies() -> None:
    sizes = [list(values) for values in zip(*LADDER, strict=True)]
    assert share_within(sizes, LADDER, [ALPHA, BETA]) >= 0.9


def test_intervals_grow_with_the_noise_and_hold_the_estimate() -> None:
    sizes = [[d for d in DATA for _ in range(3)]]
    random = np.random.default_rng(1)
    widths = []
    for noise in (1e-4, 1e-3):
        losses = [loss(N0, d) * math.exp(noise * random.normal()) for d in sizes[0]]
        law = fit(sizes, losses)
        assert law is not None
        low, high = interval([other.exponents[0] for other in resampled(sizes, losses, law)])
        assert low <= law.exponents[0] <= high
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_both_exponents_are_found_again_without_noise() -> None:
    law = fit([list(v) for v in zip(*LADDER, strict=True)], [loss(*run) for run in LADDER])
    assert law is not None
    assert law.exponents == pytest.approx((ALPHA, BETA), rel=0.01)
    assert law.floor == pytest.approx(FLOOR, rel=0.01)
    assert law.coefficient(0) == pytest.approx(A, rel=0.2)


def test_no_other_division_of_the_compute_has_a_lower_loss() -> None:
    law = Law(FLOOR, (A, B), (ALPHA, BETA), (1.0, 1.0))
    flops = 6 * N0 * D0
    parameters, tokens = compute_optimal(law, flops)
    assert 6 * parameters * tokens == pytest.approx(flops)
    for factor in (0.8, 0.95, 1.05, 1.25):
        assert law(parameters * factor, tokens / factor) > law(parameters, tokens)


# ---------------------------------------------------------------- the script


def write_ladder(
    root: Path, tokenizer: str = "main", beta: float = BETA, bytes_per_token: float = 3.9
) -> Path:
    """Logs of a ladder whose final losses follow a law; a run has 25 steps for each sixteenth of the data."""
    rungs = {f"ladder_data_{i}": (N0, 25 * 2**i) for i in range(4)}
    rungs |= {"run20": (N0, 400)} | {f"ladder_model_{i}": (n, 400) for i, n in enumerate(MODELS)}
    for name, (parameters, steps) in rungs.items():
        rows = [header(params_total=int(parameters), tokenizer=tokenizer), *history(1, steps, every=steps)]
        nats = 1.2 + 0.6 * (parameters / N0) ** -ALPHA + 0.9 * (steps / 400) ** -beta
        for row in rows:
            if row["kind"] == "val":
                row |= {"loss_nats": nats, "n_bytes": bytes_per_token * row["n_tokens"]}
        write(root / "mini" / name / "seed0" / "log.0.jsonl", rows)
    return root


def run_script(*arguments: str) -> int:
    with mock.patch.object(sys, "argv", ["scaling_fit.py", *arguments]):
        return main()


def test_the_script_states_and_draws_both_laws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_ladder(tmp_path / "logs")
    assert run_script("--logs", str(root), "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert f"b = {BETA}" in said
    assert f"a = {ALPHA}" in said
    assert "Run 20 (1.36 B parameters x 1.64 M tokens): for its compute" in said
    assert "The paper's run (1.36 B parameters x 52.2 B tokens)" in said
    assert "-fold beyond the largest run" in said
    note = json.loads((tmp_path / "out/scaling_fit.json").read_text())["note"]
    assert "L(N, D) = E + A/N^a + B/D^b of 9 runs" in note
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"scaling_fit.{kind}" for kind in ("png", "pdf", "json")
    }


@pytest.mark.parametrize(("beta", "verdict"), [(BETA, "does not move measurably"), (0.5, "moves")])
def test_two_tokenizers_are_compared_in_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], beta: float, verdict: str
) -> None:
    one = write_ladder(tmp_path / "one")
    other = write_ladder(tmp_path / "other", tokenizer="run07", beta=beta, bytes_per_token=3.1)
    run_script("--logs", str(one), "--other", str(other), "--out", str(tmp_path / "out"))
    said = capsys.readouterr().out
    assert f"{beta} (" in said.split("with run07")[0]
    assert f"it {verdict}" in said
    assert (tmp_path / "out/scaling_fit_bytes.png").is_file()


def test_fewer_than_five_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_ladder(tmp_path / "logs")
    for name in ("ladder_model_0", "ladder_data_0"):
        (root / "mini" / name).rename(tmp_path / name)
        if name == "ladder_model_0":
            assert run_script("--logs", str(root), "--out", str(tmp_path / "out")) == 0
            assert "L(N, D) is not fitted: an exponent needs 5 sizes" in capsys.readouterr().out
        else:
            with pytest.raises(UserError, match="5 sizes, and there are logs of 4 of the data"):
                run_script("--logs", str(root), "--out", str(tmp_path / "out"))
