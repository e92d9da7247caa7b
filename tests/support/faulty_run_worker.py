"""One process of a run that too many faults stop at step 10, while writing is slow.

    python -m tests.support.faulty_run_worker RUN …

It takes the arguments of train/pretrain.py. test_guard.py starts it with torchrun, which ends all processes
as soon as one of them exits with an error.
"""

import time
from collections.abc import Callable
from typing import Any
from unittest import mock

from tests.train.test_guard import spoiled_model
from train import blackbox, pretrain
from train.checkpoint import save
from train.parallel.world import run_world

WRITING_S, LEAVING_S = 3.0, 0.2


def slowly(write: Callable[..., Any]) -> Callable[..., Any]:
    """The function, delayed by WRITING_S seconds."""

    def wait_and_write(*arguments: Any) -> Any:
        time.sleep(WRITING_S)
        return write(*arguments)

    return wait_and_write


if __name__ == "__main__":
    with (
        spoiled_model(set(range(6, 11))),
        mock.patch("train.parallel.world.TELLING_S", LEAVING_S),
        mock.patch("train.checkpoint.save.write_checkpoint", slowly(save.write_checkpoint)),
        mock.patch("train.pretrain.write_black_box", slowly(blackbox.write_black_box)),
    ):
        run_world(pretrain.main)
