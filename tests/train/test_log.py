"""Perf and validation rows of the log, and the trackers that get its numbers."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.loader import UserError
from tests.support.training import pretrain, pretrain_here, read_rows, write_corpus
from train.data.batches import Batch
from train.log import Clock
from train.validation import ValidationResult


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/io")
def test_perf_rows_hold_only_what_was_measured(corpus: Path, tmp_path: Path) -> None:
    assert pretrain_here(corpus, tmp_path) == 0
    *_, perf = read_rows(tmp_path, "perf")
    measured = {"tokens_per_s", "step_s", "data_wait_s", "mem_peak_gib", "read_mib"}
    assert measured <= set(perf)
    assert {"exchange_s", "watts", "mfu"}.isdisjoint(perf)  # one process, no GPU
    assert perf["data_wait_s"] < perf["step_s"]


def test_two_processes_log_the_exchange(corpus: Path, tmp_path: Path) -> None:
    done = pretrain(corpus, tmp_path, micro_batch_size=1)
    assert done.returncode == 0, done.stderr
    assert all(0 <= row["exchange_s"] < row["step_s"] for row in read_rows(tmp_path, "perf"))


@pytest.mark.tracking
def test_tensorboard_gets_the_numbers_of_the_log(corpus: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert pretrain_here(corpus, tmp_path, sinks=["tensorboard"]) == 0
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in events.Scalars("train/loss_nats")}
    logged = {row["step"]: row["loss_nats"] for row in read_rows(tmp_path, "train")}
    assert shown == pytest.approx(logged)
    domains = {row["domain"] for row in read_rows(tmp_path, "val")}
    assert {f"val/bits_per_byte/{domain}" for domain in domains} <= set(events.Tags()["scalars"])


@pytest.mark.tracking
def test_weights_and_biases_works_offline(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    assert pretrain_here(corpus, tmp_path, sinks=["wandb"]) == 0
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"train/loss_nats" in record.read_bytes()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not any(b"0123456789" * 4 in path.read_bytes() for path in written), "a secret on the disk"


def test_the_error_about_a_missing_sink_names_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"wandb is not installed .* pip install -e '\.\[tracking\]'"):
        pretrain_here(corpus, tmp_path, sinks=["wandb"])


def test_copying_a_batch_to_the_device_does_not_count_as_data_wait(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps and batches begin while the clock measures data wait; the copy to the device comes later."""
    waiting = False
    taken, moved = [], []

    @contextlib.contextmanager
    def wait(clock: Clock) -> Iterator[None]:
        nonlocal waiting
        waiting = True
        taken.append(True)
        yield
        waiting = False

    def move(batch: Batch, _: object) -> Batch:
        moved.append(waiting)
        return batch

    monkeypatch.setattr(Clock, "waiting_for_data", wait)
    monkeypatch.setattr(Batch, "to", move)
    assert pretrain_here(corpus, tmp_path, tokens_total=3 * 8 * 32) == 0
    assert len(moved) == 3 * 4  # steps of four micro-batches
    assert len(taken) == 3 * (1 + 4)
    assert not any(moved)


@pytest.mark.parametrize(
    ("loss_nats", "shown"), [(1.0, (1.0, math.e)), (710.0, (710.0, None)), (math.nan, (None,) * 2)]
)
def test_a_validation_loss_that_is_not_finite_is_null(
    loss_nats: float, shown: tuple[float | None, float | None]
) -> None:
    row = ValidationResult("cs", loss_nats, bits_per_byte=loss_nats, n_tokens=1, n_bytes=1).row()
    assert (row["loss_nats"], row["perplexity"]) == shown
    json.dumps(row, allow_nan=False)
