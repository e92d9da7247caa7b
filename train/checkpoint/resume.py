"""Where a run goes on: chosen by the main process, the same for all."""

from pathlib import Path

from configs.loader import UserError
from train.checkpoint.load import list_checkpoints, newest_intact, set_aside, step_of
from train.parallel.world import World


def find_resume(folder: Path, world: World) -> Path | None:
    """The newest intact checkpoint in a run's folder; None where the run has none yet.

    Damaged newer ones are named and set aside. Raises UserError, in all processes, where a run has lost all
    that it saved: it would begin at step 0 unasked.
    """
    newest, lost = None, ""
    if world.is_main:
        checkpoints = folder / "checkpoints"
        newest, problems = newest_intact(checkpoints)
        if newest:
            damaged = [path for path in list_checkpoints(checkpoints) if step_of(path) > step_of(newest)]
            for path, problem in zip(reversed(damaged), problems, strict=True):
                print(f"damaged checkpoint, now {set_aside(path).name}, an earlier one is taken: {problem}")
        elif problems:
            lost = f"no checkpoint is intact ({'; '.join(problems)})"
        elif (folder / "DONE").is_file():
            lost = f"DONE says that the run is finished, but {checkpoints} holds no checkpoint"
    if lost := world.from_main(lost):
        raise UserError(f"{folder}: {lost}: bring one back, or remove {folder} to begin anew")
    chosen = world.from_main(str(newest) if newest else "")
    return Path(chosen) if chosen else None
