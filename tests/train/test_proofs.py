"""Short forms of `make prove-resume`: one kill and five clean exits."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from benchmarks.prove_clean_exit import exits_cleanly
from benchmarks.prove_training import (
    MAX_KILLS,
    SAVED_EVERY,
    STEPS,
    check_spans,
    draw_steps,
    history,
    prove_elastic,
    prove_kills,
)
from tests.support.training import pretrain_here, write_corpus


@pytest.mark.slow
def test_a_killed_fsdp_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    # test_pretrain.py tests zero1, and checkpoint/test_checkpoint.py tests ddp in one process.
    prove_kills(write_corpus(tmp_path / "data"), tmp_path, "fsdp", kills=1, generator=random.Random(1))


@pytest.mark.slow
def test_runs_of_two_processes_exit_cleanly(tmp_path: Path) -> None:
    for number in range(2):  # `make prove-resume` starts 50
        folder = tmp_path / str(number)
        folder.mkdir()
        assert exits_cleanly(folder, "zero1")


@pytest.mark.parametrize("says_killed", [True, False])
def test_a_kill_that_did_not_happen_proves_nothing(tmp_path: Path, says_killed: bool) -> None:
    def to_the_end(data: Path, out: Path, processes: int = 2, kill_at: int | None = None, **_: Any) -> bool:
        out.mkdir(exist_ok=True)
        pretrain_here(data, out)
        return kill_at is not None and says_killed

    data, generator = write_corpus(tmp_path / "data"), random.Random(0)
    with mock.patch("benchmarks.prove_training.train", to_the_end):
        with pytest.raises(AssertionError, match=r"ddp: .*ill"):
            prove_kills(data, tmp_path, "ddp", 1, generator)
        (tmp_path / "ddp-straight").rename(tmp_path / "zero1-straight")
        with pytest.raises(AssertionError, match=r"the starts had \[1\] processes"):
            prove_elastic(data, tmp_path, generator)


@pytest.mark.parametrize("count", range(1, MAX_KILLS + 1))
def test_kills_lie_a_checkpoint_apart_and_within_the_run(count: int) -> None:
    for seed in range(50):
        steps = draw_steps(random.Random(seed), count)
        assert len(steps) == count
        assert steps[0] > 1
        assert steps[-1] < STEPS
        assert all(later - step >= SAVED_EVERY for step, later in pairwise(steps))


def test_the_check_of_the_logs_detects_a_missing_a_repeated_and_an_exchanged_step(tmp_path: Path) -> None:
    data, out = write_corpus(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    assert pretrain_here(data, out) == 0
    check_spans(out, data)
    log = out / "log.0.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    first, second, *_ = (i for i, line in enumerate(lines) if '"kind": "train"' in line)
    hashes = list(history(out)["span_hash"])
    for damaged in (
        [*lines[:first], *lines[first + 1 :]],
        [*lines[:second], *lines[first:]],
        [line.replace(hashes[4], hashes[5]) for line in lines],
    ):
        log.write_text("".join(damaged))
        with pytest.raises(AssertionError):
            check_spans(out, data)
