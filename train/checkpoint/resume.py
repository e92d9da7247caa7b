"""Choose the checkpoint from which a run resumes: the main process decides for all."""

from pathlib import Path

from configs.loader import UserError
from train.checkpoint.load import list_checkpoints, newest_intact, set_aside, step_of
from train.parallel.world import World


def find_resume(folder: Path, world: World) -> Path | None:
    """The newest intact checkpoint in a run's folder; None if the run has not saved any yet.

    Damaged newer ones are reported and renamed. Raises UserError in all processes if a run has lost all its
    checkpoints, because it would silently start again at step 0.
    """
    newest, lost = None, ""
    if world.is_main:
        checkpoints = folder / "checkpoints"
        newest, problems = newest_intact(checkpoints)
        if newest:
            damaged = [path for path in list_checkpoints(checkpoints) if step_of(path) > step_of(newest)]
            for path, problem in zip(reversed(damaged), problems, strict=True):
                print(
                    f"renamed a damaged checkpoint to {set_aside(path).name}, using an earlier one: {problem}"
                )
        elif problems:
            lost = f"no checkpoint is intact ({'; '.join(problems)})"
        elif (folder / "DONE").is_file():
            lost = f"DONE says that the run is finished, but {checkpoints} holds no checkpoint"
    if lost := world.broadcast(lost):
        raise UserError(f"{folder}: {lost}: restore one, or remove {folder} to begin anew")
    chosen = world.broadcast(str(newest) if newest else "")
    return Path(chosen) if chosen else None
