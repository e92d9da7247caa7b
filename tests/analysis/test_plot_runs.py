"""The six figures: drawn headless from small logs, labelled, or refused with a remedy."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import plot_runs
from analysis.figures import style, training
from analysis.figures.curves import clip_threshold, over_seeds, overall_validation, smooth
from analysis.readers.run_logs import Run, find_runs, read_run
from configs.loader import UserError
from tests.support.analysis_logs import event, header, history, interrupted_run, write


@pytest.fixture(autouse=True)
def coarse_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the resolution: most of these tests' time is spent compressing pixels."""
    monkeypatch.setitem(style.RC, "savefig.dpi", 50)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of run 20 (two seeds, both interrupted), 23 and 24 (with two skipped steps)."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        interrupted_run(root, seed=seed)
    write(root / "demo/run23/seed0/log.0.jsonl", [header(), *history(1, 60)])
    rows = [header(), *history(1, 60, seed=3), event(30, "spike"), event(40, "nan")]
    for row in rows:
        if row["kind"] == "train" and row["step"] in (30, 40):
            row |= {"skipped": True, "loss_nats": float("inf") if row["step"] == 40 else 60.0}
    write(root / "demo/run24/seed0/log.0.jsonl", rows)
    return root


@pytest.fixture(scope="module")
def logs(root: Path) -> training.Logs:
    logs: training.Logs = {}
    for run, files in find_runs([root]).items():
        logs.setdefault(run.run, []).append(read_run(run, files))
    return logs


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["plot_runs.py", *map(str, arguments)])
    return plot_runs.main()


def test_six_figures_as_png_and_pdf(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--logs", root, "--out", tmp_path) == 0
    files = sorted(tmp_path.iterdir())
    assert [path.name.partition("_")[0] + path.suffix for path in files] == [
        f"fig{number}.{kind}" for number in range(1, 7) for kind in ("pdf", "png")
    ]
    assert all(path.stat().st_size > 3000 for path in files)
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in files)


@pytest.mark.parametrize("spec", plot_runs.specs(list(training.RUNS)), ids=lambda spec: spec.stem)
def test_a_figure_names_axes_units_run_scale_and_seeds(spec: plot_runs.Spec, logs: training.Logs) -> None:
    figure = spec.draw(logs)
    texts = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "Run" in texts
    assert "scale demo · 1.31 M parameters" in texts
    assert "seed" in texts
    assert "This project's own run" in texts
    assert "tokens seen (" in figure.axes[-1].get_xlabel()
    for axes in figure.axes:
        assert axes.get_ylabel() or axes.get_position().x0 > 0.4  # beside a panel that names it
        assert axes.has_data()
    assert "nats per token" in figure.axes[0].get_ylabel() or "norm" in figure.axes[0].get_ylabel()


def test_marks_of_skipped_steps_and_resumes(logs: training.Logs) -> None:
    (axes,) = training.training_loss(logs["run24"]).axes
    assert {"spike, step skipped", "not finite"} <= set(axes.get_legend_handles_labels()[1])
    (axes,) = training.training_loss(logs["run20"]).axes
    assert axes.get_legend_handles_labels()[1].count("resumed") == 1


def test_a_skipped_step_does_not_bend_the_curve(logs: training.Logs) -> None:
    curve = over_seeds([log.train for log in logs["run24"]], "loss_nats", "mean")
    assert len(curve) == 58
    assert np.isfinite(curve["mean"]).all()
    assert curve["mean"].max() < 9


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


def test_smoothing_keeps_a_constant_and_ignores_what_is_not_finite() -> None:
    values = pd.Series([2.0] * 40 + [np.inf, np.nan] + [2.0] * 40)
    assert (smooth(values) == 2.0).all()


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


def test_the_papers_number_stands_only_in_full_scale_figures(logs: training.Logs) -> None:
    def annotations(scale: str) -> str:
        seeds = [dataclasses.replace(log, run=log.run._replace(scale=scale)) for log in logs["run20"]]
        return " ".join(text.get_text() for text in training.validation(seeds).axes[0].texts)

    assert "1.438" in annotations("full")
    assert "1.438" not in annotations("demo")


def test_figures_1_to_3_have_the_same_axes(logs: training.Logs) -> None:
    axes = [plot_runs.paper_run(run, logs).axes[0] for run in training.RUNS]
    assert len({(panel.get_xlim(), panel.get_ylim()) for panel in axes}) == 1
    low, high = axes[0].get_ylim()
    losses = pd.concat([log.train["loss_nats"] for seeds in logs.values() for log in seeds])
    trained = losses[np.isfinite(losses) & (losses < 60)]  # 60: the spike that a guard skipped
    assert low < trained.min() < trained.max() < high


@pytest.mark.parametrize(("unique_tokens", "lines"), [(24_576, 9), (245_760, 0), (1_000, 0)])
def test_a_line_marks_each_new_pass_over_repeated_data(
    tmp_path: Path, unique_tokens: int, lines: int
) -> None:
    """10 passes, one pass, and so many (246) that lines would fill the panel."""
    path = write(tmp_path / "log.0.jsonl", [header(unique_tokens={"cs": unique_tokens}), *history(1, 60)])
    figure = training.training_loss([read_run(Run("demo", "run24", 0), [path])])
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in drawn] == [24_576 * number for number in range(1, lines + 1)]
    assert ("times, so its loss falls in steps" in figure.texts[2].get_text()) == (unique_tokens < 245_760)


def test_the_legend_of_figure_4_meets_no_curve_and_each_domain_has_a_panel(logs: training.Logs) -> None:
    figure = training.validation(logs["run20"])
    assert [panel.texts[0].get_text() for panel in figure.axes] == ["all domains", "cs", "math", "physics"]
    figure.canvas.draw()
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(panel.get_window_extent()) for panel in figure.axes)
    assert len({panel.get_ylim() for panel in figure.axes}) == 1


def test_the_gap_to_validation_is_split_into_shares_of_domains_and_the_rest(tmp_path: Path) -> None:
    """Training is three quarters cs at 1 nat, math is at 3; validation weighs both alike, 0.25 above each."""
    rows: list[dict[str, object]] = [header()]
    for step in range(1, 41):
        common = {"step": step, "tokens_seen": 8 * step, "time_utc": "", "wall_s": 1.0}
        losses = {"loss_nats": 1.5, "loss_nats/cs": 1.0, "loss_nats/math": 3.0}
        rows.append({"kind": "train", **common, **losses, "tokens/cs": 6, "tokens/math": 2})
    for domain, loss in (("cs", 1.25), ("math", 3.25)):
        rows.append({"kind": "val", **common, "domain": domain, "loss_nats": loss, "n_tokens": 100})
    log = read_run(Run("mini", "run20", 0), [write(tmp_path / "log.0.jsonl", rows)])
    words = training.gap_in_words([log])
    assert "at the end: +0.75 nats. +0.50 of it" in words
    assert "+0.25 within the domains" in words


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
    legend = training.gradient_norm([log]).axes[0].get_legend_handles_labels()[1]
    assert [label for label in legend if "clipped" in label] == (
        [] if threshold is None else [f"clipped above {threshold:g}"]
    )


def test_figure_6_has_validation_and_its_title_fits_the_number_of_runs(logs: training.Logs) -> None:
    figure = training.together(logs)
    assert [panel.get_ylabel() for panel in figure.axes][1] == "validation loss"
    assert len(figure.axes[1].lines) == 3
    assert len({line.get_linestyle() for line in figure.axes[1].lines}) == 3  # told apart in grey
    assert figure.texts[0].get_text().startswith("Runs ")
    assert training.together({"run20": logs["run20"]}).texts[0].get_text().startswith("Run 20: losses")


def test_a_run_without_logs_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mini/run23/seed0/log.0.jsonl", [header(), *history(1, 60)])
    write(tmp_path / "mini/run20/seed0/log.0.jsonl", [header()])
    assert call(monkeypatch, "--logs", tmp_path, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "train/pretrain.py configs/runs/run20.yaml --scale mini" in printed
    assert "SCALE=mini sbatch slurm/train_run24.sh" in printed
    assert {path.name[:4] for path in (tmp_path / "out").iterdir()} == {"fig2", "fig6"}


def test_a_run_that_the_paper_does_not_show_has_its_training_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mini/run05/seed0/log.0.jsonl", [header(), *history(1, 30)])
    assert call(monkeypatch, "--logs", tmp_path, "--out", tmp_path / "out", "--runs", "run05") == 0
    assert (tmp_path / "out/training_loss_run05.png").exists()


def test_a_log_without_validation_still_gives_figure_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in history(1, 30) if row["kind"] == "train"]
    write(tmp_path / "mini/run20/seed0/log.0.jsonl", [header(), *rows])
    assert call(monkeypatch, "--logs", tmp_path, "--out", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


@pytest.mark.parametrize(
    ("scales", "says"),
    [((), "make demo"), (("demo", "mini"), "--scale")],
    ids=["no logs", "two scales and no choice"],
)
def test_nothing_to_draw_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scales: tuple[str, ...], says: str
) -> None:
    for scale in scales:
        write(tmp_path / scale / "run20/seed0/log.0.jsonl", [header(), *history(1, 10)])
    with pytest.raises(UserError, match=says):
        call(monkeypatch, "--logs", tmp_path)


def test_the_same_logs_give_the_same_bytes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for out in ("a", "b"):
        call(monkeypatch, "--logs", root, "--out", tmp_path / out, "--runs", "run23")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
