"""Checkpoints: damaged ones are never loaded, intact ones restore the same state, old ones are deleted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from configs.loader import CONFIGS, UserError
from train.checkpoint.load import (
    FILES,
    TrainState,
    find_changes,
    find_checkpoint,
    find_damage,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
)
from train.checkpoint.save import Saver
from train.config import Run, load_run
from train.data.batches import Batch
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.strategy import DataParallel
from train.parallel.world import World

CPU = torch.device("cpu")


def demo_run(**values: Any) -> Run:
    return load_run(CONFIGS / "runs" / "run20.yaml", "demo", overrides=values)


def trained(run: Run, steps: int = 2) -> DataParallel:
    model = build_model(run.model, init_seed=0)
    strategy = DataParallel(model, make_optimizer(model, run, CPU), World(0, 1, CPU), run, 1)
    for step in range(steps):
        take_step(strategy, step)
    return strategy


def take_step(strategy: DataParallel, seed: int) -> None:
    tokens = torch.randint(100, (2, 9), generator=torch.Generator().manual_seed(seed))
    strategy.backward(Batch(tokens[:, :-1], tokens[:, 1:], torch.zeros(2)), n_targets=16, last=True)
    strategy.step(lr=1e-3)


def state(step: int, **values: Any) -> TrainState:
    same = {"config_sha256": "c", "data_fingerprint": "d", "val_fingerprint": "v", "tokenizer_sha256": "t"}
    return TrainState(step=step, tokens_seen=step, **(same | values))


def save(folder: Path, strategy: DataParallel, step: int) -> Path:
    """Write a checkpoint and wait for it."""
    saver = Saver(folder, strategy)
    saver.save(state(step))
    saver.wait()
    assert saver.written() == [step]
    return list_checkpoints(folder)[-1]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    run = demo_run()
    strategy = trained(run)
    for step in (2, 4):
        save(tmp_path, strategy, step)
    return tmp_path


def test_training_resumes_from_a_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    run = demo_run()
    strategy = trained(run)
    path = save(tmp_path, strategy, 2)
    drawn = torch.rand(3)
    take_step(strategy, seed=9)
    again = trained(run, steps=0)
    assert load_checkpoint(path, again) == state(2)
    assert torch.equal(torch.rand(3), drawn)
    take_step(again, seed=9)
    ours, theirs = strategy.state(), again.state()
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_holds_a_tied_head_once_and_no_pickle(checkpoints: Path) -> None:
    newest = list_checkpoints(checkpoints)[-1]
    assert "lm_head.weight" not in load_file(newest / "weights.safetensors")
    assert {path.suffix for path in newest.iterdir()} == {".safetensors", ".json", ".yaml"}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, delete])
@pytest.mark.parametrize("name", ["weights.safetensors", "moments.safetensors", "manifest.json"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    checkpoints: Path, name: str, damage: Callable[[Path], None]
) -> None:
    before, newest = list_checkpoints(checkpoints)
    damage(newest / name)
    chosen, problems = newest_intact(checkpoints)
    assert chosen == before
    assert len(problems) == 1
    assert str(newest) in problems[0]
    with pytest.raises(UserError, match=str(newest)):
        find_checkpoint(newest)


def test_if_no_checkpoint_is_intact_the_message_names_all(checkpoints: Path, tmp_path: Path) -> None:
    for path in list_checkpoints(checkpoints):
        truncate(path / "state.json")
    (tmp_path / "run").mkdir()
    checkpoints.joinpath("step_0000002").rename(tmp_path / "run" / "moved")
    assert newest_intact(checkpoints)[0] is None
    with pytest.raises(UserError, match="holds no intact checkpoint"):
        find_checkpoint(tmp_path / "run")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{}", "names nothing instead of config.yaml"),
        ("[]", "is no manifest"),
        ("null", "is no manifest"),
        ('{"weights.safetensors": 3}', "is no manifest"),
        ('{"weights.safetensors": {"bytes": 1}}', "is no manifest"),
        ("\x00", "is no manifest"),
    ],
)
def test_a_manifest_that_does_not_cover_every_file_counts_as_damage(
    checkpoints: Path, manifest: str, message: str
) -> None:
    newest = list_checkpoints(checkpoints)[-1]
    (newest / "manifest.json").write_text(manifest)
    assert message in find_damage(newest)
    assert newest_intact(checkpoints)[0] == list_checkpoints(checkpoints)[0]


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_from_the_manifest_and_a_flipped_bit_count_as_damage(
    checkpoints: Path, name: str
) -> None:
    newest = list_checkpoints(checkpoints)[-1]
    whole = (newest / "manifest.json").read_text()
    facts = json.loads(whole)
    del facts[name]
    (newest / "manifest.json").write_text(json.dumps(facts))
    assert "instead of config.yaml" in find_damage(newest)
    (newest / "manifest.json").write_text(whole)
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / name).write_bytes(content)
    assert f"{name}: its content does not match" in find_damage(newest)


def test_a_half_written_checkpoint_of_a_killed_run_is_ignored(checkpoints: Path) -> None:
    (checkpoints / ".step_0000006.tmp").mkdir()
    assert [path.name for path in list_checkpoints(checkpoints)] == ["step_0000002", "step_0000004"]
    assert not find_damage(checkpoints / "step_0000004")


def test_the_last_two_and_every_third_checkpoint_are_kept(tmp_path: Path) -> None:
    tokens_a_step = demo_run().tokens_per_step
    run = demo_run(checkpoint_every_tokens=2 * tokens_a_step, keep_last=2, keep_every=3)
    strategy = trained(run)
    for step in (2, 4, 6, 7, 8, 10, 12, 14, 16):  # 7: a run that was stopped there
        save(tmp_path, strategy, step)
    assert [int(path.name[5:]) for path in list_checkpoints(tmp_path)] == [6, 12, 14, 16]


def test_damaged_checkpoints_of_later_steps_do_not_displace_the_newest_one(tmp_path: Path) -> None:
    tokens_a_step = demo_run().tokens_per_step
    strategy = trained(demo_run(checkpoint_every_tokens=100 * tokens_a_step, keep_last=2))
    for step in (200, 300):
        truncate(save(tmp_path, strategy, step) / "weights.safetensors")
    save(tmp_path, strategy, 100)
    assert newest_intact(tmp_path)[0] == tmp_path / "step_0000100"


def test_a_folder_with_another_name_is_not_treated_as_a_checkpoint(checkpoints: Path) -> None:
    for name in ("step_0000002_backup", "damaged_step_0000002", "step_9"):
        (checkpoints / name).mkdir()
    strategy = trained(demo_run())
    save(checkpoints, strategy, 6)
    assert [path.name for path in list_checkpoints(checkpoints)] == ["step_0000004", "step_0000006"]
    assert {"step_0000002_backup", "damaged_step_0000002", "step_9"} < {p.name for p in checkpoints.iterdir()}


@pytest.mark.parametrize(
    ("changed", "what", "before"),
    [
        ("data_fingerprint", "data", "d"),
        ("val_fingerprint", "validation data", "v"),
        ("tokenizer_sha256", "tokenizer", "t"),
    ],
)
def test_changed_data_and_a_changed_tokenizer_are_detected(
    checkpoints: Path, changed: str, what: str, before: str
) -> None:
    newest = list_checkpoints(checkpoints)[-1]
    assert find_changes(newest, state(4), demo_run()) == []
    found = find_changes(newest, state(4, **{changed: "other"}), demo_run())
    assert found == [f"another {what} ({before}, now other)"]


def test_a_changed_configuration_is_reported_key_by_key(checkpoints: Path) -> None:
    newest = list_checkpoints(checkpoints)[-1]
    config = newest / "config.yaml"
    config.write_text(
        config.read_text().replace("  eps: ", "  epsilon: ").replace("hidden_size: 128", "hidden_size: 64")
    )
    run = demo_run(lr=0.5, betas=(0.9, 0.99), micro_batch_size=1)
    (found,) = find_changes(newest, state(4, config_sha256="other"), run)
    assert found == (
        f"another configuration (betas [0.9, 0.95], now [0.9, 0.99], eps absent, now 1e-08, epsilon 1e-08, "
        f"now absent, lr {demo_run().recipe.lr}, now 0.5, model.hidden_size 64, now 128)"
    )


def test_a_checkpoint_without_a_validation_fingerprint_can_be_resumed(tmp_path: Path) -> None:
    strategy = trained(demo_run())
    saver = Saver(tmp_path, strategy)
    saver.save(state(2, val_fingerprint=""))
    saver.wait()
    assert find_changes(list_checkpoints(tmp_path)[-1], state(2), demo_run()) == []
