"""The short forms of `make prove-resume`: a kill and five clean exits."""

import random
from pathlib import Path

import pytest

from tests.prove_clean_exit import leaves_cleanly
from tests.prove_training import check_ledger, history, prove_kills
from tests.train_support import pretrain_here, write_corpus


@pytest.mark.slow
def test_a_killed_fsdp_run_ends_bit_by_bit_the_same(tmp_path: Path) -> None:
    # zero1: test_train_pretrain.py; ddp: test_train_checkpoint.py, in one process.
    prove_kills(write_corpus(tmp_path / "data"), tmp_path, "fsdp", kills=1, generator=random.Random(1))


@pytest.mark.slow
def test_five_runs_of_two_processes_end_cleanly(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert leaves_cleanly(folder, "zero1")


def test_the_ledger_s_query_notices_a_step_that_is_missing_doubled_or_exchanged(tmp_path: Path) -> None:
    data, out = write_corpus(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    assert pretrain_here(data, out) == 0
    check_ledger(out, data)
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
            check_ledger(out, data)
