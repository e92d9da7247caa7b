"""Only one run at a time uses a folder."""

import contextlib
import os
import time
from pathlib import Path

from configs.loader import UserError
from configs.lock import FileLock
from train.parallel.world import World

# How long a requeued job waits for what its earlier start has left: processes of a dead step daemon save a
# checkpoint, a file server waits for a dead node.
WAIT_FOR_ITSELF_S, POLL_S = 180.0, 1.0


def lock_folder(folder: Path, world: World, held: contextlib.ExitStack) -> None:
    """Lock the run's folder. Raises UserError in all processes if another run holds it."""
    refused = ""
    if world.is_main:
        try:
            held.enter_context(_lock(folder))
        except UserError as error:
            refused = str(error)
    if refused := world.broadcast(refused):
        raise UserError(refused)


def _lock(folder: Path) -> FileLock:
    remedy = f"wait for its end, stop it (touch {folder / 'STOP'}), or pass another folder as --out"
    job = os.environ.get("SLURM_JOB_ID")
    deadline = time.monotonic() + WAIT_FOR_ITSELF_S
    while True:
        try:
            return FileLock(folder / ".lock", f"trains here: {remedy}")
        except UserError as error:
            if not job or f"Slurm job {job} " not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_S)
