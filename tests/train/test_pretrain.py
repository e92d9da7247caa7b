"""The training script as a user runs it: results, logs, kills and resumption, messages about mistakes."""

import gc
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs.loader import UserError
from tests.support import PATIENCE_S
from tests.support.training import (
    KEEP_ALL,
    ROOT,
    STEPS,
    kill_family,
    pretrain,
    pretrain_command,
    pretrain_here,
    read_rows,
    values,
    write_corpus,
)
from train.config import Run, load_run
from train.optimizer import learning_rate
from train.parallel.world import World
from train.preflight import check_device, check_disk


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    assert pretrain_here(corpus, out, **KEEP_ALL) == 0
    return out


@pytest.fixture(scope="module")
def zero1(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zero1")
    done = pretrain(corpus, out, **KEEP_ALL)
    assert done.returncode == 0, done.stderr
    return out


def final_state(out: Path) -> dict[str, torch.Tensor]:
    last = out / "checkpoints" / f"step_{STEPS:07d}"
    return load_file(last / "weights.safetensors") | load_file(last / "moments.safetensors")


def assert_same_training(one: Path, other: Path) -> None:
    assert values(one, keys=("step", "lr", "span_hash")) == values(other, keys=("step", "lr", "span_hash"))
    ours, theirs = read_rows(one, "train"), read_rows(other, "train")
    assert [row["loss_nats"] for row in ours] == pytest.approx([row["loss_nats"] for row in theirs], abs=1e-4)
    assert ours[0]["grad_norm"] == pytest.approx(theirs[0]["grad_norm"], rel=1e-5)


# ---------------------------------------------------------------- one process


def test_the_loss_falls_and_every_domain_is_validated(alone: Path) -> None:
    losses = [row["loss_nats"] for row in read_rows(alone, "train")]
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.3
    rows = read_rows(alone, "val")
    assert [row["step"] for row in rows] == [10] * 3 + [20] * 3
    assert {row["domain"] for row in rows} == {"cs", "math", "physics"}


def test_the_log_has_the_documented_rows(alone: Path) -> None:
    lines = [json.loads(line) for line in (alone / "log.0.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "header"
    assert {row["kind"] for row in lines[1:]} == {"train", "perf", "val", "val_document", "event"}
    fields = {
        "header": "schema_version run_id restart_index git_sha git_dirty config_sha256 data_fingerprint "
        "val_fingerprint tokenizer_sha256 unique_tokens slurm_job_id world_size device seed params_total",
        "train": "loss_nats lr grad_norm clipped skipped span_hash loss_nats/math tokens/math loss_nats/cs "
        "tokens/cs loss_nats/physics tokens/physics",
        "perf": "tokens_per_s step_s data_wait_s mem_peak_gib",
        "val": "domain loss_nats perplexity bits_per_byte n_tokens n_bytes",
        "val_document": "domain document loss_nats n_tokens n_bytes",
        "event": "event",
    }
    for row in lines:
        assert set(fields[row["kind"]].split()) <= set(row)
        if row["kind"] != "header":
            assert row["tokens_seen"] == row["step"] * 8 * 32
            assert row["time_utc"].endswith("+00:00")
            assert row["wall_s"] >= 0


def test_epochs_of_each_domain_follow_from_the_log(alone: Path) -> None:
    header = json.loads((alone / "log.0.jsonl").read_text().splitlines()[0])
    assert set(header["unique_tokens"]) == {"cs", "math", "physics"}
    trained = {
        name: sum(row[f"tokens/{name}"] for row in read_rows(alone, "train"))
        for name in header["unique_tokens"]
    }
    epochs = [trained[name] / unique for name, unique in header["unique_tokens"].items()]
    # With natural weights all domains have the same number of epochs, up to rounding to whole windows.
    assert epochs == pytest.approx([sum(epochs) / 3] * 3, rel=0.2)


def test_the_loss_is_the_mean_of_the_domains_over_their_tokens(alone: Path) -> None:
    for row in read_rows(alone, "train"):
        tokens = {key.removeprefix("tokens/"): n for key, n in row.items() if key.startswith("tokens/")}
        assert sum(tokens.values()) == 8 * 32
        weighted = sum(row[f"loss_nats/{name}"] * n for name, n in tokens.items())
        assert weighted / sum(tokens.values()) == pytest.approx(row["loss_nats"], rel=1e-9)


# ---------------------------------------------------------------- two processes


@pytest.mark.slow
def test_zero1_on_two_processes_trains_as_one_process_does(alone: Path, zero1: Path) -> None:
    assert_same_training(alone, zero1)


@pytest.mark.slow
def test_ddp_on_two_processes_trains_as_one_process_does(alone: Path, corpus: Path, tmp_path: Path) -> None:
    done = pretrain(corpus, tmp_path, strategy="ddp")
    assert done.returncode == 0, done.stderr
    assert_same_training(alone, tmp_path)


@pytest.mark.slow
def test_killed_stopped_and_resumed_training_ends_with_the_same_bits(
    zero1: Path, corpus: Path, tmp_path: Path
) -> None:
    kill_at_step(8, corpus, tmp_path)
    assert max(values(tmp_path)) < STEPS

    (tmp_path / "STOP").touch()
    stopped = pretrain(corpus, tmp_path, **KEEP_ALL)
    assert stopped.returncode != 0
    assert "exitcode  : 75" in stopped.stderr
    assert not (tmp_path / "STOP").exists()
    assert not (tmp_path / "DONE").exists()
    assert [row["event"] for row in read_rows(tmp_path, "event", 1)] == ["resume", "checkpoint", "preempt"]

    done = pretrain(corpus, tmp_path, **KEEP_ALL)
    assert done.returncode == 0, done.stderr
    history: dict[int, tuple[Any, ...]] = {}
    for restart in range(3):
        resumed = [row["step"] for row in read_rows(tmp_path, "event", restart) if row["event"] == "resume"]
        history = {step: row for step, row in history.items() if step <= (resumed or [0])[0]}
        history |= values(tmp_path, restart)
    assert history == values(zero1)
    ours, theirs = final_state(tmp_path), final_state(zero1)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def kill_at_step(step: int, corpus: Path, out: Path) -> None:
    """Start training on two processes and SIGKILL all of them once the step is in the log."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, *pretrain_command(corpus, out, **KEEP_ALL)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = out / "log.0.jsonl"
    try:
        until = time.monotonic() + PATIENCE_S
        while not (log.is_file() and f'"train", "step": {step},' in log.read_text()):
            assert running.poll() is None, "training ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        kill_family(running)


@pytest.mark.slow
def test_another_number_of_processes_continues_in_the_same_data_order(
    zero1: Path, corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(zero1 / "checkpoints" / "step_0000010", tmp_path / "checkpoints" / "step_0000010")
    assert pretrain_here(corpus, tmp_path, **KEEP_ALL) == 0
    reference, ours = values(zero1), values(tmp_path)
    assert list(ours) == list(range(11, STEPS + 1))
    for step, row in ours.items():
        assert row[-1] == reference[step][-1]
        assert row[1] == pytest.approx(reference[step][1], abs=1e-4)


@pytest.mark.slow
def test_a_mistake_that_all_processes_find_is_reported_once(corpus: Path, tmp_path: Path) -> None:
    done = pretrain(corpus, tmp_path, global_batch_size=9)
    assert done.returncode != 0
    assert done.stderr.count("error: demo/run20/seed0: global_batch_size 9 is not a multiple") == 1


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"corpus": "other"}, "other-main: is missing.*make preprocess"),
        ({"global_batch_size": 4096}, "too few.*one step takes"),
        ({"learning_rate": 1}, "learning_rate: unknown key"),
        ({"sequence_length": 5000}, "beyond the model's 4096 positions"),
        ({"mixture": {"math": 0}}, "at least one weight must be positive"),
        ({"mixture": {"math": 1, "cs": 1e-9}}, "the weight of cs is rounded to 0 millionths; multiply"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_gives_one_message_before_training(
    corpus: Path, tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pretrain_here(corpus, tmp_path, **overrides)
    assert not list(tmp_path.iterdir())


def test_recomputation_does_not_leak_objects(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recomputed layers leave reference cycles, and the garbage collector is off during training."""
    objects: list[int] = []

    def rate(run: Run, step: int) -> float:
        objects.append(len(gc.get_objects()))
        return learning_rate(run, step)

    monkeypatch.setattr("train.pretrain.learning_rate", rate)
    assert pretrain_here(corpus, tmp_path, recompute="selective") == 0
    late = objects[10:]  # by then buffers and statistics exist
    assert len(late) == STEPS - 10
    assert max(late) - min(late) < 1000  # without collection, each of ten steps leaves 1,344 objects


def test_a_vocabulary_larger_than_the_model_s_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data", n_documents=4, vocab_size=4096)
    with pytest.raises(UserError, match=r"4,096 pieces, the model only 2,048"):
        pretrain_here(corpus, tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_model_for_gpus_is_refused_on_a_cpu(tmp_path: Path) -> None:
    run = load_run(ROOT / "configs/runs/run20.yaml", overrides={"tokens_total": 1_572_864})
    with pytest.raises(UserError, match=r"run20/seed0: there is no GPU .* 1,358,006,272 parameters"):
        check_device(run, World(0, 1, torch.device("cpu")))


def test_a_disk_too_small_for_the_checkpoints_is_refused_before_training(tmp_path: Path) -> None:
    # All of 33,175 checkpoints are kept: 541 TB.
    every_step = {"checkpoint_every_tokens": 1_572_864, "keep_every": 1}
    run = load_run(ROOT / "configs/runs/run20.yaml", overrides=every_step)
    with pytest.raises(UserError, match=r"B are free, its checkpoints take 540\.6 TB more"):
        check_disk(run, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_missing_node_is_reported(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPECTED_WORLD_SIZE", "4")
    with pytest.raises(UserError, match="1 processes have met instead of 4"):
        pretrain_here(corpus, tmp_path)
