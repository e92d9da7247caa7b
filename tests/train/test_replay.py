"""`replay` shows what a step trained on and checks it against the log."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from configs.loader import CONFIGS, LawBroken, UserError
from tests.support.training import SMALL, write_corpus, write_tokenizer
from train.config import load_run, write_config
from train.data.batches import TrainingData, step_samples
from train.data.shards import open_tokens
from train.replay import main

STEP = 7


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(data, run folder) of a run killed after steps 9 and 20, and resumed from steps 5 and 18."""
    data, folder = (tmp_path_factory.mktemp(name) for name in ("data", "run"))
    write_tokenizer(data)
    write_corpus(data, vocab_size=320)
    run = load_run(CONFIGS / "runs/run20.yaml", "demo", overrides=SMALL)
    write_config(folder / "config.yaml", run)
    order = TrainingData(open_tokens(data, "main", "main", "train"), run)
    for restart, (resumed, last) in enumerate([(0, 9), (5, 20), (18, 19)]):
        rows = [{"kind": "event", "step": resumed, "event": "resume"}] if resumed else []
        for step in range(resumed + 1, last + 1):
            # Rows of the first start beyond step 5 are void; here their content is wrong, too.
            true = restart or step <= 5
            span_hash = order.span_hash(step_samples(step, run)) if true else "void"
            rows.append({"kind": "train", "step": step, "span_hash": span_hash})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"log.{restart}.jsonl").write_text(text + '{"kind": "trai')
    return data, folder


def replay(trained: tuple[Path, Path], step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = trained
    monkeypatch.setattr(sys, "argv", ["replay.py", str(folder), str(step), "--data", str(data)])
    main()


@pytest.mark.parametrize("step", [1, 5, STEP, 19])
def test_any_step_is_shown_with_its_hash_documents_and_text(
    step: int,
    trained: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replay(trained, step, monkeypatch)
    shown = capsys.readouterr().out
    assert "as logged" in shown.splitlines()[0]
    batch = SMALL["global_batch_size"]
    samples = [line for line in shown.splitlines() if line.startswith("--- sample ")]
    assert [int(line.split()[2].rstrip(",")) for line in samples] == list(
        range((step - 1) * batch, step * batch)
    )
    assert shown.count("    document ") >= batch


@pytest.mark.parametrize("step", [20, 21], ids=["void", "never"])
def test_a_step_that_was_not_trained_is_refused(
    step: int, trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=f"no log of step {step} in 3 log files"):
        replay(trained, step, monkeypatch)


def test_the_error_about_a_missing_tokenizer_names_it(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained[0] / "tokens", tmp_path / "tokens")
    with pytest.raises(UserError, match=r"tokenizer\.model: no such file; pass the run's data root"):
        replay((tmp_path, trained[1]), STEP, monkeypatch)


def test_tokens_that_the_run_was_not_trained_on_are_detected(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokenizer(tmp_path)
    write_corpus(tmp_path, seed=1, vocab_size=320)
    with pytest.raises(LawBroken, match=f"step {STEP} trained on spans"):
        replay((tmp_path, trained[1]), STEP, monkeypatch)
