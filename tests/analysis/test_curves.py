"""Curves: seeds joined, smoothing by a half-life, long logs in few points, validation over all domains."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.figures import one_run
from analysis.figures.curves import (
    MOST_POINTS,
    Smoothing,
    clip_threshold,
    envelope,
    over_seeds,
    overall_validation,
)
from analysis.readers.run_logs import Run, read_run
from tests.support.analysis_logs import header, history, write


def test_several_seeds_give_their_mean_and_extremes() -> None:
    frames = [
        pd.DataFrame({"step": steps, "tokens_seen": np.array(steps) * 10, "x": values})
        for steps, values in (([1, 2, 3], [1.0, 2.0, 3.0]), ([2, 3, 4], [4.0, 3.0, 9.0]))
    ]
    curve = over_seeds(frames, "x", None)
    assert curve.to_dict("list") == {
        "tokens": [20, 30],
        "mean": [3.0, 3.0],
        "low": [2.0, 3.0],
        "high": [4.0, 3.0],
    }


def frame(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> pd.DataFrame:
    """A training log of these values, 10 tokens a step."""
    steps = np.arange(1, len(values) + 1)
    return pd.DataFrame({"step": steps, "tokens_seen": steps * 10, "x": values, "skipped": False})


@pytest.mark.parametrize("geometric", [False, True])
def test_smoothing_keeps_a_constant_and_ignores_what_is_not_finite(geometric: bool) -> None:
    values = np.array([2.0] * 40 + [np.inf, np.nan] + [2.0] * 40)
    curve = over_seeds([frame(values)], "x", Smoothing(30.0, geometric))
    assert curve["mean"].to_numpy() == pytest.approx(2.0)
    assert len(curve) == 82


def test_a_half_life_is_the_distance_at_which_a_weight_halves() -> None:
    impulse = np.zeros(2001)
    impulse[1000] = 1.0
    smoothed = over_seeds([frame(impulse)], "x", Smoothing(200.0))["mean"].to_numpy()
    assert smoothed[1020] / smoothed[1000] == pytest.approx(0.5, rel=1e-6)
    assert smoothed[980] == pytest.approx(smoothed[1020])  # to both sides: a step stays where it was
    assert smoothed.sum() == pytest.approx(1.0, rel=1e-3)


def test_a_long_log_gives_the_same_curve_in_fewer_points_and_keeps_each_spike() -> None:
    steps = np.arange(1, 300_001)
    values = 2 + np.exp(-steps / 5e4) + 0.1 * np.sin(steps)
    values[123_456] = 50.0
    long = frame(values)
    curve = over_seeds([long, long], "x", Smoothing(1e4))
    assert len(curve) == MOST_POINTS
    assert curve["tokens"].iloc[-1] == pytest.approx(3e6, rel=1e-3)
    expected = 2 + np.exp(-curve["tokens"] / 5e5)
    away = (curve["tokens"] > 2e5) & (curve["tokens"] < 2.8e6) & ((curve["tokens"] - 1234567).abs() > 3e5)
    assert (curve["mean"] - expected).abs()[away].max() < 2e-3
    tokens, raw = envelope(long, "x")
    assert len(raw) <= 3000
    assert raw.max() == 50.0
    assert tokens[raw.argmax()] == pytest.approx(1_234_570, abs=2000)


def test_overall_validation_weighs_domains_by_their_tokens() -> None:
    val = pd.DataFrame(
        {
            "step": [5, 5],
            "tokens_seen": [50, 50],
            "domain": ["math", "cs"],
            "loss_nats": [1.0, 4.0],
            "n_tokens": [200, 100],
        }
    )
    assert overall_validation(val)["loss_nats"].tolist() == [2.0]
    said = pd.concat([val, val.iloc[:1].assign(domain="all", loss_nats=7.0)])
    assert overall_validation(said)["loss_nats"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("head", "norms", "threshold"),
    [
        ({"clip_grad_norm": 0.5}, {0.7: True}, 0.5),
        ({"clip_grad_norm": None}, {0.7: False}, None),
        ({}, {0.2: False, 0.98: False, 1.03: True, 4.0: True}, 1.0),
        ({}, {0.2: False, 4.0: True}, None),
        ({}, {0.2: False}, None),
    ],
    ids=["header", "header without clipping", "old log", "old log, too coarse", "nothing clipped"],
)
def test_the_clip_is_drawn_where_the_log_tells_it(
    tmp_path: Path, head: dict[str, float | None], norms: dict[float, bool], threshold: float | None
) -> None:
    rows = history(1, len(norms))
    train = (row for row in rows if row["kind"] == "train")
    for row, (norm, clipped) in zip(train, norms.items(), strict=True):
        row |= {"grad_norm": norm, "clipped": clipped}
    log = read_run(Run("demo", "run20", 0), [write(tmp_path / "log.0.jsonl", [header(**head), *rows])])
    assert clip_threshold([log]) == threshold
    legend = one_run.gradient_norm([log]).axes[0].get_legend_handles_labels()[1]
    assert [label for label in legend if "clipped" in label] == (
        [] if threshold is None else [f"clipped above {threshold:g}"]
    )
