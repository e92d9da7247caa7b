"""Threads that read ahead give the same batches in the same order, and pin them for CUDA."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.training import write_corpus
from tests.train.data.test_data import small_run
from train.data.batches import Batch, TrainingData, rank_batches, read_ahead
from train.data.shards import TokenSet, open_tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return open_tokens(write_corpus(tmp_path_factory.mktemp("data")), "main", "main", "train")


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_gives_the_same_batches(tokens: TokenSet, workers: int) -> None:
    run = small_run()
    data = TrainingData(tokens, run)
    direct, ahead = (list(rank_batches(data, run, 0, 2, 0, workers=w)) for w in (0, workers))
    assert len(direct) == run.steps_total * run.grad_accum_steps(2)
    for one, other in zip(direct, ahead, strict=True):
        assert torch.equal(one.input_ids_BT, other.input_ids_BT)
        assert torch.equal(one.targets_BT, other.targets_BT)
        assert torch.equal(one.domains_B, other.domains_B)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_in_a_worker_is_raised_where_its_batch_is_taken(tokens: TokenSet, workers: int) -> None:
    data = TrainingData(tokens, small_run())

    def read(number: int) -> Any:
        if number == 3:
            raise OSError("disk gone")
        return data.batch(np.arange(number, number + 1))

    batches = read_ahead(iter(range(9)), read, workers)
    assert [len(next(batches).input_ids_BT) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(OSError, match="disk gone"):
        next(batches)


def test_batches_for_cuda_are_pinned_by_the_thread_that_reads_them(
    tokens: TokenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned_by = []

    def note(batch: Batch) -> Batch:
        pinned_by.append(threading.current_thread().name)
        return batch

    monkeypatch.setattr(Batch, "pinned", note)
    run = small_run()
    batches = list(rank_batches(TrainingData(tokens, run), run, 0, 1, 0, pin=True))
    assert [name.split("_")[0] for name in pinned_by] == ["loader"] * len(batches)
    list(rank_batches(TrainingData(tokens, run), run, 0, 1, 0))
    assert len(pinned_by) == len(batches)


@pytest.mark.gpu
def test_a_pinned_batch_is_the_same_on_the_gpu(tokens: TokenSet) -> None:
    batch = TrainingData(tokens, small_run()).batch(np.arange(4))
    assert batch.pinned().input_ids_BT.is_pinned()
    there = batch.pinned().to(torch.device("cuda"))
    assert torch.equal(there.input_ids_BT.cpu(), batch.input_ids_BT)
    assert torch.equal(there.targets_BT.cpu(), batch.targets_BT)
