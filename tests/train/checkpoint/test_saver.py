"""Checkpoints written during training hold the state at the call of `save`, or do not exist at all."""

import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs.loader import UserError
from tests.train.checkpoint.test_checkpoint import demo_run, save, state, take_step, trained
from train.checkpoint.load import find_damage, list_checkpoints, newest_intact, read_state
from train.checkpoint.save import Saver
from train.guard import GuardState


def test_training_continues_while_the_copied_state_is_written(tmp_path: Path) -> None:
    strategy = trained(demo_run())
    before = strategy.state()
    saver = Saver(tmp_path, strategy)
    saver.save(state(2))
    for seed in range(3):
        take_step(strategy, seed)  # changes in place the weights whose copy is being written
    saver.wait()
    written = load_file(list_checkpoints(tmp_path)[-1] / "weights.safetensors")
    assert all(torch.equal(written[name], weight) for name, weight in before.weights.items())


def test_each_written_checkpoint_is_reported_once(tmp_path: Path) -> None:
    saver = Saver(tmp_path, trained(demo_run()))
    for step in (2, 4):
        saver.save(state(step))
    saver.wait()
    assert saver.written() == [2, 4]
    assert saver.written() == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".step_0000002.tmp").mkdir()
    Saver(tmp_path, trained(demo_run()))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_holds_the_history_of_the_guard(tmp_path: Path) -> None:
    strategy = trained(demo_run())
    history = GuardState(log_losses=[0.1, 1 / 3], log_norms=[-1.5, 2.0], fault_steps=[3], skipped=1)
    saver = Saver(tmp_path, strategy)
    saver.save(state(4, guard=history))
    saver.wait()
    again = read_state(list_checkpoints(tmp_path)[-1])
    assert again.guard == history
    assert again.updates == 3


def test_early_checkpoints_follow_powers_of_two_and_are_kept(tmp_path: Path) -> None:
    tokens_a_step = demo_run().tokens_per_step
    run = demo_run(checkpoint_every_tokens=100 * tokens_a_step, early_checkpoints=True, keep_last=1)
    run = run.model_copy(
        update={"recipe": run.recipe.model_copy(update={"tokens_total": 2000 * tokens_a_step})}
    )
    due = [step for step in range(1, 1101) if run.saves_after(step)]
    assert due == sorted({2**i for i in range(10)} | set(range(100, 1101, 100)))
    strategy = trained(run, steps=0)
    for step in due[:9]:
        save(tmp_path, strategy, step)
    assert [int(path.name[5:]) for path in list_checkpoints(tmp_path)] == [1, 2, 4, 8, 16, 32, 64, 128]


SENTENCE = (
    r"step_0000004\.tmp/weights\.safetensors: could not be written \(.*\): the checkpoint takes 9\.9 MB, "
    r".*B are free: make room and start again; the run resumes from step_0000002"
)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 2 MB: writing the demo model's weights fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_gives_a_message_and_the_earlier_checkpoint_stays(tmp_path: Path, request: Any) -> None:
    strategy = trained(demo_run())
    earlier = save(tmp_path, strategy, 2)
    saver = Saver(tmp_path, strategy)
    request.getfixturevalue("small_disk")
    saver.save(state(4))
    with pytest.raises(UserError, match=SENTENCE):
        saver.wait()
    assert list(tmp_path.iterdir()) == [earlier]
    assert newest_intact(tmp_path) == (earlier, [])


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root mounts a small disk on Linux")
def test_a_really_full_disk_gives_the_same_message(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    strategy = trained(demo_run())
    weights = sum(w.numel() * 4 for w in strategy.model.parameters())
    size = 3 * weights + weights // 2 + 1_000_000  # one checkpoint and half of the next one's weights
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    try:
        earlier = save(disk, strategy, 2)
        saver = Saver(disk, strategy)
        saver.save(state(4))
        with pytest.raises(UserError, match=SENTENCE):
            saver.wait()
        assert list(disk.iterdir()) == [earlier]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_any_changed_or_missing_byte_of_any_file_is_detected(tmp_path: Path) -> None:
    strategy = trained(demo_run())
    earlier, newest = save(tmp_path, strategy, 2), save(tmp_path, strategy, 4)
    generator = random.Random(0)
    for path in sorted(newest.iterdir()):
        content = path.read_bytes()
        for _ in range(4):
            position, bit = generator.randrange(len(content)), generator.randrange(8)
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            truncated = content[:position]
            for what in (bytes(damaged), truncated):
                path.write_bytes(what)
                chosen, problems = newest_intact(tmp_path)
                assert chosen == earlier, f"{path.name}, bit {bit} of byte {position}"
                assert len(problems) == 1
                assert str(newest) in problems[0]
        path.write_bytes(content)
    assert not find_damage(newest)
