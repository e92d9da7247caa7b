"""Values and figures of instruments: pooled ratios, cosines without noise, energy, refusals."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from analysis import instrument_values as values
from analysis.figures.curves import Smoothing
from analysis.readers.run_logs import RunLog, read_runs
from tests.conftest import run_script
from tests.support.analysis_logs import TOKENS_A_STEP, Row, event, header, history, write

STEPS = (10, 20, 30, 40)
NOISE, SIGNAL = 6000.0, 0.25  # trace and square
DOTS = {("cs", "cs"): 4.0, ("cs", "math"): 1.5, ("math", "math"): 1.0}  # so the cosine without noise is 0.75


def instrument(step: int, measure: str, **more: Any) -> Row:
    """A row of an instrument."""
    return {**event(step, "-"), "kind": "instrument", "measure": measure, **more}


def measured(step: int) -> list[Row]:
    """Rows of all instruments after a step; estimates of the signal are wrong by opposite amounts in turn."""
    wrong = 0.4 if step % 20 else -0.4
    rows = [
        instrument(
            *(step, "noise_scale"), part=part, big_tokens=TOKENS_A_STEP, small_tokens=512,
            signal_square=SIGNAL + wrong, noise_trace=NOISE,
        )
        for part in values.PARTS
    ]  # fmt: skip
    for part in values.PARTS:
        for (a, b), dot in DOTS.items():
            cosine = dot / 10
            pair = {"by": "domain", "part": part, "group": a, "other": b, "n_sequences": 4}
            rows.append(instrument(step, "cosine", **pair, dot=dot, cosine=cosine))
    divisions = {"text": ("prose", "formula"), "frequency_decile": ("1", "10"), "position": ("1", "2-3")}
    for by, names in divisions.items():
        for domain, tokens in (("cs", 10), ("math", 30)):
            for number, name in enumerate(names):
                loss = {"domain": domain, "loss_nats": 2.0 + number + (domain == "cs"), "n_tokens": tokens}
                rows.append(instrument(step, "loss", by=by, group=name, **loss))
    for layer in (None, 0, 1):
        place = {} if layer is None else {"layer": layer}
        for part in ("embedding",) if layer is None else ("attention", "mlp", "layer"):
            if part != "layer":
                norm = 10.0 + (layer or 0)
                rows.append(
                    instrument(step, "norm", part=part, **place, weight_norm=norm, update_norm=norm / 100)
                )
            rows.append(instrument(step, "norm", part=part, **place, activation_rms=1.0))
    return rows


def log_with(folder: Path, more: list[Row], **of_perf: Any) -> RunLog:
    """A run of 40 steps with more rows, and more values in its rows of throughput."""
    rows = [row | (of_perf if row["kind"] == "perf" else {}) for row in history(1, 40, total=40)]
    write(folder / "demo/run20/seed0/log.0.jsonl", [header(), *rows, *more])
    return read_runs([folder], None, None)[0]


def test_the_noise_scale_is_a_ratio_of_means(tmp_path: Path) -> None:
    log = log_with(tmp_path, [row for step in STEPS for row in measured(step)])
    rows = values.rows_of(log, "noise_scale")
    rows = rows[rows["part"] == "all"]
    assert values.mean_noise_scale(rows) == pytest.approx(NOISE / SIGNAL)
    curve = values.noise_scale(rows, Smoothing(1e9))  # all rows weigh the same
    assert curve["noise_tokens"].tolist() == pytest.approx([NOISE / SIGNAL] * 4, rel=1e-3)
    unsmoothed = values.noise_scale(rows, Smoothing(1.0))["noise_tokens"]
    assert unsmoothed.isna().tolist() == [False, True, False, True]  # no signal in every other step


@pytest.mark.parametrize(("noise", "saved"), [(1e-6, 4.0), (1e12, 1.0), (1024.0, 2.5)])
def test_tokens_saved_by_a_quarter_of_the_batch(noise: float, saved: float) -> None:
    assert values.tokens_saved(4096, 1024, noise) == pytest.approx(saved)


def test_cosines_without_noise(tmp_path: Path) -> None:
    log = log_with(tmp_path, measured(20))
    rows = values.rows_of(log, "cosine")
    of_part = rows[rows["part"] == "mlp"]
    assert values.cosine_pairs(of_part) == [("cs", "math")]
    assert values.mean_cosines(of_part, ("cs", "math")) == pytest.approx((0.15, math.sqrt(0.04), 0.75))
    assert values.ceiling(of_part)["cosine"].tolist() == pytest.approx([0.25])


def test_losses_are_means_over_tokens(tmp_path: Path) -> None:
    log = log_with(tmp_path, measured(20))
    found = values.loss_by(values.rows_of(log, "loss"), "text").set_index("group")
    assert found["loss_nats"].to_dict() == pytest.approx({"prose": 2.25, "formula": 3.25})
    assert found["n_tokens"].to_dict() == {"prose": 40, "formula": 40}


def test_norms_over_layers(tmp_path: Path) -> None:
    rows = values.rows_of(log_with(tmp_path, measured(20)), "norm")
    weights = values.norms(rows, "mlp", "weight_norm").iloc[0]
    assert (weights["mean"], weights["low"], weights["high"]) == pytest.approx((10.5, 10, 11))
    assert values.norms(rows, "mlp", "update_ratio")["mean"].tolist() == pytest.approx([0.01])


def test_energy_is_power_over_time(tmp_path: Path) -> None:
    log = log_with(tmp_path, [], watts=300.0)
    found = values.energy(log)
    seconds = float(log.perf["wall_s"].iloc[-1])
    assert found["kwh"].iloc[-1] == pytest.approx(2 * 300 * seconds / 3.6e6)  # two processes
    assert found["kwh"].is_monotonic_increasing
    assert values.energy(log_with(tmp_path / "cpu", [])).empty


def test_energy_of_a_rising_power(tmp_path: Path) -> None:
    log = log_with(tmp_path, [], watts=0.0)
    log.perf["wall_s"], log.perf["watts"] = 100.0 * log.perf["step"], 10.0 * log.perf["step"]
    joules = 2 * (10 * 100 + sum(100 * (10 * n + 5) for n in range(1, 40)))
    assert values.energy(log)["kwh"].iloc[-1] == pytest.approx(joules / 3.6e6)


def test_every_figure_and_the_table(tmp_path: Path) -> None:
    log_with(tmp_path / "logs", [row for step in STEPS for row in measured(step)], watts=300.0)
    out = tmp_path / "out"
    said = run_script("analysis/instruments.py", "--logs", tmp_path / "logs", "--out", out).stdout
    names = ("cosines_domain", "noise_scale", "losses", "norms", "energy")
    stems = {f"instruments_{name}_run20_seed0" for name in names}
    drawn = {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf", "json")}
    texts = {f"instruments_run20_seed0.{kind}" for kind in ("md", "csv", "tex")}
    assert {path.name for path in out.iterdir()} == drawn | texts
    assert "ceiling 0.200; without noise 0.75" in said
    assert (out / "instruments_run20_seed0.md").read_text() in said
    sidecar = json.loads((out / "instruments_losses_run20_seed0.json").read_text())
    assert sidecar["logs"][0]["run"] == "demo/run20/seed0"


def test_a_log_without_such_rows_is_refused_with_the_command(tmp_path: Path) -> None:
    log_with(tmp_path, [])
    done = run_script("analysis/instruments.py", "--logs", tmp_path, "--out", tmp_path / "out", check=False)
    assert done.returncode == 2
    assert "`make instruments SCALE=demo` trains a short run that measures them" in done.stderr
    assert "demo/run20/seed0: no rows of noise_scale" in done.stdout
