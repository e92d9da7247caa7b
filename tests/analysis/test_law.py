"""Figure 6: the fitted law of loss over data, and when none is drawn."""

from pathlib import Path

import numpy as np
import pytest

from analysis.figures.scaling import LADDER, scaling
from analysis.figures.words import Logs
from analysis.power_law import Law, fit, left_out
from analysis.readers.run_logs import Run, read_run
from tests.support.analysis_logs import header, history, write

SIZES = 3.26e9 * 2.0 ** np.arange(5)
Points = list[tuple[float, float]]  # (tokens, loss)


def points(floor: float, beta: float, noise: float = 0.0, sizes: object = SIZES) -> Points:
    random = np.random.default_rng(0)
    return [
        (float(size), float((floor + 900 * size**-beta) * np.exp(noise * random.normal())))
        for size in np.asarray(sizes)
    ]


def fit_law(runs: Points) -> Law | None:
    return fit([[size for size, _ in runs]], [loss for _, loss in runs])


@pytest.mark.parametrize(("floor", "beta"), [(1.69, 0.28), (1.2, 0.34), (0.8, 0.25)])
def test_a_law_is_found_again(floor: float, beta: float) -> None:
    law = fit_law(points(floor, beta))
    assert law is not None
    assert law.exponents[0] == pytest.approx(beta, rel=0.01)
    assert law.floor == pytest.approx(floor, rel=0.01)
    assert law(SIZES) == pytest.approx([loss for _, loss in points(floor, beta)], rel=1e-4)


def test_one_run_that_went_wrong_hardly_moves_the_law() -> None:
    seeds = [*points(1.69, 0.28), *points(1.69, 0.28), *points(1.69, 0.28)]
    seeds[2] = (seeds[2][0], seeds[2][1] * 1.2)
    law = fit_law(seeds)
    assert law is not None
    assert law.exponents[0] == pytest.approx(0.28, rel=0.02)


def test_noise_shows_in_the_exponents_without_a_size() -> None:
    quiet, noisy = (
        [law.exponents[0] for law in left_out(*zip(*points(1.69, 0.28, noise), strict=True))]
        for noise in (0.0, 0.01)
    )
    assert np.ptp(noisy) > 10 * np.ptp(quiet)


def test_fewer_than_five_sizes_give_no_exponent_however_many_runs() -> None:
    assert fit_law(points(1.69, 0.28)[:4] * 3) is None


@pytest.mark.parametrize("losses", [[3.0, 3.2, 3.4, 3.6, 3.8], [3.0, 3.0, 3.0, 3.0, 3.0]])
def test_losses_that_do_not_fall_give_no_law(losses: list[float]) -> None:
    assert fit_law(list(zip(SIZES.tolist(), losses, strict=True))) is None


def ladder(folder: Path, rungs: tuple[str, ...]) -> Logs:
    logs: Logs = {}
    for rung in rungs:
        n_steps = 25 * 2 ** LADDER.index(rung)
        rows = [header(), *history(1, n_steps, total=400)]
        for row in rows:
            if row["kind"] == "val":
                row["loss_nats"] = 1.7 + 3.0 * (row["step"] / 25) ** -0.5
        path = write(folder / f"{rung}.jsonl", rows)
        logs[rung] = [read_run(Run("demo", rung, 0), [path])]
    return logs


def test_the_ladders_law_is_drawn_and_stated(tmp_path: Path) -> None:
    figure = scaling(ladder(tmp_path, LADDER))
    (law,) = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert law.get_ydata()[0] > law.get_ydata()[-1]
    note = " ".join(figure.texts[2].get_text().split())
    assert "E = 1.7 nats, β = 0.5 (" in note
    assert "Hoffmann et al. 2022" in note


def test_three_rungs_are_points_without_a_law(tmp_path: Path) -> None:
    figure = scaling(ladder(tmp_path, LADDER[2:]))
    assert len(figure.axes[1].lines) == 3
    note = " ".join(figure.texts[2].get_text().split())
    assert "its exponent needs 5 sizes of the data and there are logs of 3 on the ladder" in note
    assert "`make ladder` trains them" in note
