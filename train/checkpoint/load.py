"""Read and check checkpoints. save.py writes them to checkpoints/step_<n>/, complete or not at all.

    weights.safetensors   fp32 weights by parameter name (a tied head is absent)
    moments.safetensors   exp_avg.<name>, exp_avg_sq.<name>; Muon's matrices have only the first
    rng.safetensors       each rank's generator states
    state.json            step, tokens seen, the guard's history, fingerprints of configuration and data
    config.yaml           the run, resolved
    manifest.json         size and checksum of the files above, written last

Tensors are stored unsharded under the model's own names, so a checkpoint fits any strategy and any number of
processes. No file is a pickle: loading runs no code from a checkpoint.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import torch
import xxhash
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from configs.loader import Config, UserError, read_yaml, validate
from train.config import CAME_LATER, NOT_HASHED, Recipe, Run, read_config
from train.data.growth import describe_change
from train.guard import GuardState
from train.model.llama import PretrainModel, build_model
from train.parallel.loss_scale import LossScale
from train.parallel.strategy import DataParallel, State

MANIFEST = "manifest.json"
NAME = re.compile(r"step_\d{7,}")  # does not match a user's copy such as step_0000002_backup
FILES = ("config.yaml", "moments.safetensors", "rng.safetensors", "state.json", "weights.safetensors")
MOMENTS = ("exp_avg", "exp_avg_sq")


class FileFacts(Config):
    """A manifest's entry for one file."""

    bytes: int
    xxh3_128: str


class Manifest(pydantic.RootModel[dict[str, FileFacts]]):
    """The files of a checkpoint by name."""


class TrainState(Config):
    """How far a run has come, and the hashes of everything that must not change on resuming."""

    step: int
    tokens_seen: int
    config_sha256: str
    data_fingerprint: str
    val_fingerprint: str = ""  # empty in old checkpoints, and then not compared
    tokenizer_sha256: str
    guard: GuardState = GuardState()
    loss_scale: LossScale | None = None  # of fp16
    positions: tuple[tuple[int, ...], ...] = ()  # where each process was in a source of text

    @property
    def updates(self) -> int:
        """Number of steps that updated the weights."""
        return self.step - self.guard.skipped - (self.loss_scale.overflows if self.loss_scale else 0)


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of an open safetensors file by name; each access reads one, and none is kept."""

    def __init__(self, file: Any, prefix: str = "") -> None:
        self._file, self._prefix = file, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self._file.get_tensor(self._prefix + name)

    def __iter__(self) -> Iterator[str]:
        names = (name for name in self._file.keys() if name.startswith(self._prefix))  # noqa: SIM118 (no dict)
        return (name.removeprefix(self._prefix) for name in names)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load_checkpoint(checkpoint: Path, strategy: DataParallel) -> TrainState:
    """Load weights, moments and random generators of an intact checkpoint. All ranks must call it."""
    train_state = read_state(checkpoint)
    # The strategy reads one tensor after the other and keeps its shard, so memory never holds a whole file.
    with (
        safe_open(checkpoint / "weights.safetensors", "pt") as weights,
        safe_open(checkpoint / "moments.safetensors", "pt") as moments,
    ):
        state = State(StoredTensors(weights), *(StoredTensors(moments, f"{key}.") for key in MOMENTS))
        strategy.load(state, train_state.updates)
    if train_state.loss_scale:
        strategy.loss_scale = train_state.loss_scale
    generators = load_file(checkpoint / "rng.safetensors")
    rank = strategy.world.rank
    # A rank beyond the number of processes that saved keeps its fresh generator.
    if f"cpu.{rank}" in generators:
        torch.set_rng_state(generators[f"cpu.{rank}"])
    if strategy.world.device.type == "cuda" and f"cuda.{rank}" in generators:
        torch.cuda.set_rng_state(generators[f"cuda.{rank}"])
    return train_state


def newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """(the newest checkpoint whose files match its manifest, one problem for each newer checkpoint)."""
    problems: list[str] = []
    for checkpoint in reversed(list_checkpoints(folder)):
        problem = find_damage(checkpoint)
        if not problem:
            return checkpoint, problems
        problems.append(problem)
    return None, problems


def find_changes(checkpoint: Path, state: TrainState, run: Run) -> list[str]:
    """What has changed since a checkpoint was saved, in words: configuration, data, tokenizer."""
    before = read_state(checkpoint)
    changes = []
    if before.config_sha256 != state.config_sha256:
        changes.append(f"another configuration ({_changed_keys(checkpoint / 'config.yaml', run)})")
    for what, was, now in (
        ("data", before.data_fingerprint, state.data_fingerprint),
        ("validation data", before.val_fingerprint, state.val_fingerprint),
        ("tokenizer", before.tokenizer_sha256, state.tokenizer_sha256),
    ):
        if was and was != now:
            how = describe_change(checkpoint.parents[1], was, now)
            changes.append(f"another {what} ({was[:12]}, now {now[:12]}{how and f': {how}'})")
    return changes


def _changed_keys(config: Path, run: Run) -> str:
    """The keys that decide results and differ between a checkpoint's configuration and `run`."""

    def flat(whole: dict[str, Any]) -> dict[str, Any]:
        recipe = {key: value for key, value in whole["recipe"].items() if key not in NOT_HASHED}
        return later | recipe | {f"model.{key}": value for key, value in whole["model"].items()}

    later = {key: Recipe.model_fields[key].default for key in CAME_LATER}
    # Not validated: a configuration that an older version wrote may hold keys that no longer exist.
    before, now = flat(read_yaml(config)), flat(run.hashed_values())
    pairs = {key: (before.get(key, "absent"), now.get(key, "absent")) for key in sorted(before | now)}
    return ", ".join(f"{key} {was}, now {new}" for key, (was, new) in pairs.items() if was != new)


def find_damage(checkpoint: Path) -> str:
    """What is wrong with a checkpoint's files, naming the file; empty if they match the manifest."""
    path = checkpoint / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError:
        return f"{path}: is no manifest with size and checksum of {', '.join(FILES)}"
    if set(manifest.root) != set(FILES):
        named = ", ".join(sorted(manifest.root)) or "nothing"
        return f"{path}: names {named} instead of {', '.join(FILES)}"
    for name, facts in manifest.root.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{path}: is missing"
        if path.stat().st_size != facts.bytes:
            return f"{path}: {path.stat().st_size:,} bytes instead of {facts.bytes:,}"
        if file_facts(path) != facts:
            return f"{path}: its content does not match the checksum in {MANIFEST}"
    return ""


def find_checkpoint(path: Path) -> Path:
    """A path to a checkpoint itself, or the newest intact checkpoint of a path to a run's folder.

    Raises UserError if it is damaged, or the run has no intact checkpoint.
    """
    if (path / MANIFEST).is_file():
        if damage := find_damage(path):
            raise UserError(f"{damage}; take another checkpoint of {path.parent}")
        return path
    checkpoint, problems = newest_intact(path / "checkpoints")
    if checkpoint is None:
        raise UserError("; ".join([*problems, f"{path}: holds no intact checkpoint"]))
    for problem in problems:
        print(f"skipped a damaged checkpoint: {problem}")
    return checkpoint


def read_state(checkpoint: Path) -> TrainState:
    """Read state.json of a checkpoint. Raises UserError if its content is wrong."""
    path = checkpoint / "state.json"
    return validate(TrainState, json.loads(path.read_text()), str(path))


def load_model(checkpoint: Path) -> tuple[PretrainModel, Run]:
    """The model (fp32, on the CPU) and the run of an intact checkpoint."""
    run = read_config(checkpoint / "config.yaml")
    model = build_model(run.model, run.recipe.init_seed)
    weights = load_file(checkpoint / "weights.safetensors")
    with torch.no_grad():
        for name, weight in model.named_weights().items():
            weight.copy_(weights[name])
    return model, run


def tokenizer_folder(data_root: Path, run: Run, sha256: str) -> Path:
    """Folder of the run's tokenizer. Raises UserError if it is missing or its hash is not `sha256`."""
    folder = data_root / "tokenizers" / run.recipe.tokenizer
    path = folder / "tokenizer.model"
    if not path.is_file():
        raise UserError(f"{path}: no such file; pass the run's data root as --data or run `make preprocess`")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UserError(
            f"{path}: is not the tokenizer that {run.run_id} was trained with; pass the run's data root "
            f"as --data"
        )
    return folder


def set_aside(checkpoint: Path) -> Path:
    """Rename a damaged checkpoint so that it no longer counts as one; return its new path."""
    aside = checkpoint.with_name(f"damaged_{checkpoint.name}")
    shutil.rmtree(aside, ignore_errors=True)  # an earlier damaged checkpoint of the same step
    return checkpoint.rename(aside)


def list_checkpoints(folder: Path) -> list[Path]:
    """A run's checkpoints in order of their steps, including damaged ones."""
    return sorted((path for path in folder.glob("step_*") if NAME.fullmatch(path.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The last step before the checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step_"))


def file_facts(path: Path) -> FileFacts:
    """Size and xxh3_128 checksum of a file, as the manifest holds them."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            digest.update(piece)
    return FileFacts(bytes=path.stat().st_size, xxh3_128=digest.hexdigest())
