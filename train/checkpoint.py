"""Checkpoints: checkpoints/step_<n>/, whole or not there, with no pickle in them.

    weights.safetensors   fp32 weights by parameter name (a tied head is absent)
    moments.safetensors   AdamW's exp_avg.<name>, exp_avg_sq.<name>
    rng.safetensors       each rank's generator states
    state.json            step, tokens seen, fingerprints of configuration and data
    config.yaml           the run, resolved
    manifest.json         size and checksum of the files above, written last

State is kept under the model's own names, whole: it fits any strategy and any number of processes.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from configs.loader import Config, UserError, validate
from train.config import Run, read_config, write_config
from train.model import PretrainModel, build_model
from train.parallel import DataParallel, State

MANIFEST = "manifest.json"
MOMENTS = ("exp_avg", "exp_avg_sq")


class TrainState(Config):
    """Where a run stands, and what it must not change."""

    step: int
    tokens_seen: int
    config_sha256: str
    data_fingerprint: str
    tokenizer_sha256: str


def save_checkpoint(folder: Path, strategy: DataParallel, train_state: TrainState, run: Run) -> Path:
    """Write step_<n> aside and rename it, then delete what retention does not keep. All ranks call it."""
    world = strategy.world
    state = strategy.state()
    rng = {"cpu": world.gather(torch.get_rng_state().to(world.device))}
    if world.device.type == "cuda":
        rng["cuda"] = world.gather(torch.cuda.get_rng_state().to(world.device))
    final = folder / f"step_{train_state.step:07d}"
    if world.is_main:
        temporary = folder / f".{final.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(dict(state.weights), temporary / "weights.safetensors")
        moments = {f"{key}.{name}": t for key in MOMENTS for name, t in getattr(state, key).items()}
        save_file(moments, temporary / "moments.safetensors")
        generators = {f"{kind}.{rank}": t.cpu() for kind, ts in rng.items() for rank, t in enumerate(ts)}
        save_file(generators, temporary / "rng.safetensors")
        (temporary / "state.json").write_text(train_state.model_dump_json(indent=1) + "\n")
        write_config(temporary / "config.yaml", run)
        manifest = {path.name: _facts(path) for path in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for path in temporary.iterdir():
            _to_disk(path)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _to_disk(folder)
        _retain(folder, run)
    world.barrier()
    return final


def load_checkpoint(checkpoint: Path, strategy: DataParallel) -> TrainState:
    """Take over weights, moments and generators of an intact checkpoint. All ranks call it."""
    train_state = read_state(checkpoint)
    weights = load_file(checkpoint / "weights.safetensors")
    with safe_open(checkpoint / "moments.safetensors", "pt") as file:
        moments = {
            key: {name: file.get_tensor(f"{key}.{name}") for name in strategy.model.named_weights()}
            for key in MOMENTS
        }
    strategy.load(State(weights, **moments), train_state.step)
    generators = load_file(checkpoint / "rng.safetensors")
    rank = strategy.world.rank
    # A rank that the checkpoint's run did not have starts with a fresh generator.
    if f"cpu.{rank}" in generators:
        torch.set_rng_state(generators[f"cpu.{rank}"])
    if strategy.world.device.type == "cuda" and f"cuda.{rank}" in generators:
        torch.cuda.set_rng_state(generators[f"cuda.{rank}"])
    return train_state


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """(newest checkpoint whose files match its manifest, what is wrong with newer ones)."""
    problems: list[str] = []
    for checkpoint in reversed(list_checkpoints(folder)):
        problem = find_damage(checkpoint)
        if not problem:
            return checkpoint, problems
        problems.append(problem)
    return None, problems


def refuse_changes(checkpoint: Path, state: TrainState) -> None:
    """Raise UserError where a checkpoint comes from another configuration or other tokens than `state`."""
    before = read_state(checkpoint)
    for what, was, now in (
        ("configuration", before.config_sha256, state.config_sha256),
        ("tokens", before.data_fingerprint, state.data_fingerprint),
        ("tokenizer", before.tokenizer_sha256, state.tokenizer_sha256),
    ):
        if was != now:
            raise UserError(
                f"{checkpoint}: was trained with another {what} ({was[:12]}, now {now[:12]}): "
                f"restore it, or begin anew in another folder (--out), or remove {checkpoint.parent.parent}"
            )


def find_damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint's files, naming the file; empty where they match the manifest."""
    try:
        manifest: dict[str, dict[str, Any]] = json.loads((checkpoint / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        return f"{checkpoint / MANIFEST}: {error}"
    for name, facts in manifest.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{path}: is missing"
        if path.stat().st_size != facts["bytes"]:
            return f"{path}: {path.stat().st_size:,} bytes instead of {facts['bytes']:,}"
        if _facts(path) != facts:
            return f"{path}: its content does not match the checksum in {MANIFEST}"
    return ""


def find_checkpoint(path: Path) -> Path:
    """The checkpoint a user means: itself, or the newest intact one of a run's folder. Raises UserError."""
    if (path / MANIFEST).is_file():
        if damage := find_damage(path):
            raise UserError(f"{damage}; take another checkpoint of {path.parent}")
        return path
    checkpoint, problems = newest_intact(path / "checkpoints")
    if checkpoint is None:
        raise UserError("; ".join([*problems, f"{path}: holds no intact checkpoint"]))
    for problem in problems:
        print(f"damaged checkpoint passed over: {problem}")
    return checkpoint


def read_state(checkpoint: Path) -> TrainState:
    """state.json of a checkpoint."""
    path = checkpoint / "state.json"
    return validate(TrainState, json.loads(path.read_text()), str(path))


def load_model(checkpoint: Path) -> tuple[PretrainModel, Run]:
    """Model (fp32, on the CPU) and run of a checkpoint."""
    run = read_config(checkpoint / "config.yaml")
    model = build_model(run.model, run.recipe.init_seed)
    weights = load_file(checkpoint / "weights.safetensors")
    with torch.no_grad():
        for name, weight in model.named_weights().items():
            weight.copy_(weights[name])
    return model, run


def tokenizer_folder(checkpoint: Path, data_root: Path, run: Run) -> Path:
    """The tokenizer that a checkpoint was trained with. Raises UserError where it is gone or another one."""
    folder = data_root / "tokenizers" / run.recipe.tokenizer
    path = folder / "tokenizer.model"
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; name the run's data root with --data or run `make preprocess`"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != read_state(checkpoint).tokenizer_sha256:
        raise UserError(f"{path}: is not the tokenizer that {checkpoint} was trained with; name its --data")
    return folder


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, damaged ones included, by step."""
    return sorted(folder.glob("step_*"))


def _retain(folder: Path, run: Run) -> None:
    """Keep the last `keep_last` checkpoints and, for good, each `keep_every`-th of the regular ones."""
    for_good = run.steps_of(run.recipe.checkpoint_every_tokens) * run.recipe.keep_every
    for checkpoint in list_checkpoints(folder)[: -run.recipe.keep_last]:
        if int(checkpoint.name.removeprefix("step_")) % for_good:
            shutil.rmtree(checkpoint)


def _facts(path: Path) -> dict[str, Any]:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            digest.update(piece)
    return {"bytes": path.stat().st_size, "xxh3_128": digest.hexdigest()}


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk: a rename must not outrun what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
