"""Save checkpoints while training continues: the state is copied, and a thread writes the copy."""

import errno
import os
import shutil
import threading
from collections import deque
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from configs.loader import UserError, format_bytes
from train.checkpoint.load import (
    FILES,
    MANIFEST,
    MOMENTS,
    Manifest,
    TrainState,
    file_facts,
    list_checkpoints,
    step_of,
)
from train.config import Run, write_config
from train.parallel.strategy import DataParallel, State


class Saver:
    """Writes a run's checkpoints, one at a time, and deletes those that the run does not keep.

    All processes must call `save`; the main process writes. Training waits while the state is copied, and
    also until the checkpoint before is on disk.
    """

    def __init__(self, folder: Path, strategy: DataParallel) -> None:
        self.folder, self.strategy = folder, strategy
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._written: deque[int] = deque()  # the thread appends to it
        if strategy.world.is_main:
            for unfinished in folder.glob(".step_*.tmp"):  # left by a killed process
                shutil.rmtree(unfinished)

    def save(self, train_state: TrainState) -> None:
        """Copy the state and start writing it. Raises UserError if the checkpoint before failed."""
        self.wait()
        strategy, world = self.strategy, self.strategy.world
        if strategy.run.recipe.precision == "fp16":
            train_state = train_state.model_copy(update={"loss_scale": strategy.loss_scale})
        state = strategy.state()
        rng = {"cpu": world.gather(torch.get_rng_state().to(world.device))}
        if world.device.type == "cuda":
            rng["cuda"] = world.gather(torch.cuda.get_rng_state().to(world.device))
        if world.is_main:
            generators = {
                f"{kind}.{r}": t.cpu() for kind, tensors in rng.items() for r, t in enumerate(tensors)
            }
            arguments = (self.folder, train_state, strategy.run, state, generators)
            # Not a daemon thread: the interpreter waits for it before it exits.
            self._thread = threading.Thread(target=self._write, args=arguments, name="checkpoint")
            self._thread.start()

    def written(self) -> list[int]:
        """Steps whose checkpoint reached the disk since the last call. Raises UserError if one failed."""
        self._raise()
        return [self._written.popleft() for _ in range(len(self._written))]

    def wait(self) -> None:
        """Wait until no checkpoint is being written. Raises UserError if one could not be."""
        if self._thread:
            self._thread.join()
            self._thread = None
        self._raise()

    def _write(self, *arguments: object) -> None:
        try:
            self._written.append(write_checkpoint(*arguments))  # type: ignore[arg-type]
        except Exception as error:  # any error: the training thread raises it
            self._error = error

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error:
            raise error


def write_checkpoint(
    folder: Path, train_state: TrainState, run: Run, state: State, generators: dict[str, Tensor]
) -> int:
    """Write step_<n> under a temporary name, rename it, delete what is not kept any more; return the step.

    Raises UserError if the disk does not accept it; nothing of it is left then.
    """
    final = folder / f"step_{train_state.step:07d}"
    temporary = folder / f".{final.name}.tmp"
    try:
        temporary.mkdir(parents=True)
        _save_tensors(dict(state.weights), temporary / "weights.safetensors")
        moments = {f"{key}.{name}": t for key in MOMENTS for name, t in getattr(state, key).items()}
        _save_tensors(moments, temporary / "moments.safetensors")
        _save_tensors(generators, temporary / "rng.safetensors")
        (temporary / "state.json").write_text(train_state.model_dump_json(indent=1) + "\n")
        write_config(temporary / "config.yaml", run)
        manifest = Manifest({name: file_facts(temporary / name) for name in FILES})
        (temporary / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
        for path in temporary.iterdir():
            _to_disk(path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(_why_unwritten(temporary, state, error)) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    _to_disk(folder)
    # Checkpoints of later steps can only be damaged ones. They must not count among the `keep_last` newest.
    until_now = [path for path in list_checkpoints(folder) if step_of(path) <= train_state.step]
    for checkpoint in until_now[: -run.recipe.keep_last]:
        if not run.keeps_for_good(step_of(checkpoint)):
            shutil.rmtree(checkpoint)
    return train_state.step


def _save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """`save_file` of safetensors, whose errors name no file. Raises OSError with the file's name."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def _why_unwritten(temporary: Path, state: State, error: OSError) -> str:
    """The message about a checkpoint that could not be written: file, size, remedy."""
    needed = sum(tensor.nbytes for tensors in state for tensor in tensors.values())
    free = shutil.disk_usage(next(folder for folder in temporary.parents if folder.is_dir())).free
    kept = list_checkpoints(temporary.parent)
    return (
        f"{error.filename or temporary}: could not be written ({error.strerror}): the checkpoint takes "
        f"{format_bytes(needed)}, {format_bytes(free)} are free: make room and start again; the run resumes "
        f"from {kept[-1].name if kept else 'its beginning'}"
    )


def _to_disk(path: Path) -> None:
    """Wait until a file or folder is on disk: after a crash a renamed folder must not hold empty files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
