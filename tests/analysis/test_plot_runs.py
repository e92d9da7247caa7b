"""The figures are drawn from small logs without a display, labelled, or refused with a remedy."""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import plot_runs
from analysis.figures import one_run, several_runs, sidecar, style, validation, words
from analysis.figures.curves import Smoothing, over_seeds
from analysis.readers.run_logs import Run, find_runs, read_run
from configs.script import UserError
from tests.support.analysis_logs import event, header, history, interrupted_run, write


@pytest.fixture(autouse=True)
def coarse_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the resolution: most of these tests' time is spent compressing pixels."""
    monkeypatch.setattr(style, "DPI", 50)
    monkeypatch.setattr(style, "theme", style.theme)  # put back what a test with --style chose


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
def logs(root: Path) -> words.Logs:
    logs: words.Logs = {}
    for run, files in find_runs([root]).items():
        logs.setdefault(run.run, []).append(read_run(run, files))
    return logs


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["plot_runs.py", *map(str, arguments)])
    return plot_runs.main()


def test_seven_figures_as_png_and_pdf_with_a_json_file_each(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--logs", root, "--out", tmp_path) == 0
    files = sorted(tmp_path.iterdir())
    assert [path.name.partition("_")[0] + path.suffix for path in files] == [
        f"fig{number}.{kind}" for number in range(1, 8) for kind in ("json", "pdf", "png")
    ]
    assert all(path.stat().st_size > 3000 for path in files if path.suffix != ".json")
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in files)


def test_a_figure_names_axes_units_run_scale_and_seeds(logs: words.Logs) -> None:
    specs = plot_runs.specs([*words.RUNS], logs, None)
    assert len(specs) == 7
    for spec in specs:
        figure = spec.draw({run: logs[run] for run in (*spec.runs, *spec.beside)})
        texts = " ".join(" ".join(text.get_text() for text in figure.texts).split())
        assert "scale demo · 1.31 M parameters" in texts
        assert "seed" in texts
        assert "This project's own run" in texts
        assert "tokens seen" in figure.axes[-1].get_xlabel()
        for axes in figure.axes:
            assert axes.get_ylabel() or axes.get_position().x0 > 0.4  # beside a panel that names it
            assert axes.has_data()
        assert "loss" in figure.axes[0].get_ylabel() or "norm" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize(("numbers", "text"), [([5, 5], "5"), ([2, 10, 5, 10], "2–10")])
def test_the_subtitle_gives_the_range_of_seeds(logs: words.Logs, numbers: list[int], text: str) -> None:
    log = next(iter(logs.values()))[0]
    assert words.n_seeds({str(place): n * [log] for place, n in enumerate(numbers)}) == text


def test_marks_of_skipped_steps_and_resumes(logs: words.Logs) -> None:
    (axes,) = one_run.training_loss(logs["run24"]).axes
    assert {"spike, step skipped", "not finite"} <= set(axes.get_legend_handles_labels()[1])
    (axes,) = one_run.training_loss(logs["run20"]).axes
    assert axes.get_legend_handles_labels()[1].count("resumed") == 1


def test_a_skipped_step_does_not_bend_the_curve(logs: words.Logs) -> None:
    curve = over_seeds([log.train for log in logs["run24"]], "loss_nats", Smoothing(8192.0))
    assert len(curve) == 58
    assert np.isfinite(curve["mean"]).all()
    assert curve["mean"].max() < 9


def test_the_papers_number_stands_only_in_full_scale_figures(logs: words.Logs) -> None:
    def annotations(scale: str) -> str:
        seeds = [dataclasses.replace(log, run=log.run._replace(scale=scale)) for log in logs["run20"]]
        return " ".join(text.get_text() for text in validation.validation(seeds).axes[0].texts)

    assert "1.438" in annotations("full")
    assert "1.438" not in annotations("demo")


def test_figures_1_to_3_have_the_same_axes(logs: words.Logs) -> None:
    axes = [plot_runs._paper_run(run, None, {run: logs[run], **logs}).axes[0] for run in words.RUNS]
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
    figure = one_run.training_loss([read_run(Run("demo", "run24", 0), [path])])
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in drawn] == [24_576 * number for number in range(1, lines + 1)]
    assert ("times, so its loss falls in steps" in figure.texts[2].get_text()) == (unique_tokens < 245_760)


def test_the_legend_of_figure_4_meets_no_curve_and_each_domain_has_a_panel(logs: words.Logs) -> None:
    figure = validation.validation(logs["run20"])
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
    words = validation.gap_in_words([log], Smoothing(80.0))
    assert "at the end: +0.75 nats. +0.50 of it" in words
    assert "+0.25 within the domains" in words


def test_figure_7_has_validation_and_its_title_fits_the_number_of_runs(logs: words.Logs) -> None:
    figure = several_runs.overview(logs)
    assert [panel.get_ylabel() for panel in figure.axes][1] == "validation loss"
    assert len(figure.axes[1].lines) == 3
    assert len({line.get_linestyle() for line in figure.axes[1].lines}) == 3  # told apart in grey
    assert figure.texts[0].get_text().startswith("Runs ")
    assert several_runs.overview({"run20": logs["run20"]}).texts[0].get_text().startswith("Run 20: losses")


def test_any_runs_are_overlaid_with_bands_and_their_number_of_seeds(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(style, "save", lambda figure, stem: drawn.append((stem.name, figure)) or [])
    command = ("--logs", root, "--out", tmp_path, "--runs", "run23,run20", "--half-life", "40960")
    tmp_path.mkdir(exist_ok=True)
    assert call(monkeypatch, *command, "--style", "dark") == 0
    assert "overlay_run23_run20" not in dict(drawn)  # figure 7 shows the paper's runs together
    drawn.clear()
    for seed in (0, 1):
        write(root / f"demo/run08/seed{seed}/log.0.jsonl", [header(seed=seed), *history(1, 60, seed)])
    try:
        assert call(monkeypatch, *command[:-3], "run08,run20", *command[-2:]) == 0
    finally:
        for seed in (0, 1):
            (root / f"demo/run08/seed{seed}/log.0.jsonl").unlink()
    figure = dict(drawn)["overlay_run08_run20"]
    upper, lower = figure.axes
    assert upper.get_legend_handles_labels()[1][:2] == ["Run 08, n = 2", "Run 20, n = 2"]
    assert len(upper.collections) == len(lower.collections) == 2  # bands
    faint = [line for line in upper.lines if line.get_alpha()]
    assert len(faint) == 4
    assert len(faint[-1].get_xdata()) == 400  # every step
    assert "halve every 41 k tokens (10 steps)" in " ".join(figure.texts[2].get_text().split())


@pytest.mark.parametrize("name", plot_runs.STYLES)
def test_a_style_changes_colours_and_sizes_but_not_what_is_drawn(
    logs: words.Logs, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "theme", style.THEMES["paper"])  # other scripts' tests leave theirs behind
    plain = sidecar.arrays_sha256(one_run.training_loss(logs["run23"]))
    before = style.theme
    style.use(name)
    figure = one_run.training_loss(logs["run23"])
    assert sidecar.arrays_sha256(figure) == plain
    assert (style.theme == before) == (name == "paper")


def test_a_warning_where_seeds_were_validated_on_different_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, text in ((0, "a" * 64), (1, "b" * 64), (2, "a" * 64)):
        rows = [header(seed=seed, val_fingerprint=text), *history(1, 30, seed)]
        write(tmp_path / f"mini/run20/seed{seed}/log.0.jsonl", rows)
    assert call(monkeypatch, "--logs", tmp_path, "--out", tmp_path / "out") == 0
    groups = "run20/seed0, run20/seed2 (aaaaaaaa) against run20/seed1 (bbbbbbbb)"
    assert f"validated on different texts, so validation losses cannot be compared: {groups}" in (
        capsys.readouterr().out
    )
    note = json.loads((tmp_path / "out/fig4_training_and_validation_run20.json").read_text())["note"]
    assert groups in note


def test_losses_of_runs_with_different_tokenizers_are_not_called_comparable(logs: words.Logs) -> None:
    (log,) = logs["run23"]
    other = dataclasses.replace(log.segments[0], header=log.header | {"tokenizer_sha256": "f" * 64})
    others = [dataclasses.replace(log, run=log.run._replace(run="run08"), segments=[other])]
    note = several_runs.overlay({"run08": others, "run23": [log]}).texts[2].get_text()
    assert "trained with different tokenizers" in " ".join(note.split())


def test_a_run_without_logs_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mini/run23/seed0/log.0.jsonl", [header(), *history(1, 60)])
    write(tmp_path / "mini/run20/seed0/log.0.jsonl", [header()])
    assert call(monkeypatch, "--logs", tmp_path, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "train/pretrain.py configs/runs/run20.yaml --scale mini" in printed
    assert "SCALE=mini sbatch slurm/train_run24.sh" in printed
    assert {path.name[:4] for path in (tmp_path / "out").iterdir()} == {"fig2", "fig6", "fig7"}


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


def test_the_same_logs_give_the_same_arrays_and_their_files_say_which(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for out in ("a", "b"):
        call(monkeypatch, "--logs", root, "--out", tmp_path / out, "--runs", "run23")
    for path in (tmp_path / "a").iterdir():
        if path.suffix != ".json":
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
            continue
        one, other = (json.loads((tmp_path / out / path.name).read_text()) for out in ("a", "b"))
        assert one.pop("command") != other.pop("command")  # of another --out
        assert one == other
        (log,) = one["logs"]
        assert log["run"] == "demo/run23/seed0"
        assert log["configuration"]["config_sha256"] == "c" * 64
        (file,) = log["files"]
        assert file["sha256"] == hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
        assert len(one["git_sha"]) == 40


def test_another_value_in_a_log_gives_other_arrays(tmp_path: Path) -> None:
    hashes = set()
    for loss in (2.0, 2.0, 2.0001):
        rows = [header(), *history(1, 30)]
        rows[41]["loss_nats"] = loss
        assert rows[41]["kind"] == "train"
        log = read_run(Run("demo", "run23", 0), [write(tmp_path / "log.0.jsonl", rows)])
        hashes.add(sidecar.arrays_sha256(one_run.training_loss([log])))
    assert len(hashes) == 2
