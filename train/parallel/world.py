"""The processes of a run: how they start, communicate and exit."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from configs.loader import EXIT_REQUEUE, UserError, run_main
from train.parallel.stop import STOP_REQUEST
from train.restart.attempt import explain_error
from train.restart.watchdog import WATCHDOG

# torchrun ends all processes when one exits with an error. The others wait this long, so that the main
# process can print its message.
TELLING_S = 5.0


@dataclass(frozen=True)
class World:
    """This process's place among all processes of the run, and the collectives that the run uses."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes (rank 0)."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process; all get the same answer."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def broadcast(self, text: str) -> str:
        """The main process's text, on all processes."""
        texts = [text]
        if self.size > 1:
            dist.broadcast_object_list(texts, src=0, device=self.device)
        return texts[0]

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes by rank, on the main process; elsewhere an empty list.

        They must have the same shape and dtype.
        """
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)] if self.is_main else None
        dist.gather(tensor, parts)
        return parts or []

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


def start_world() -> World:
    """Join the processes that torchrun started; without torchrun, the world is this process alone.

    Raises UserError if their number is not EXPECTED_WORLD_SIZE (set by slurm/train_run.sh), or if this
    process has no GPU on a node with GPUs.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    expected = int(os.environ.get("EXPECTED_WORLD_SIZE", size))
    if size != expected:
        raise UserError(
            f"{size} processes have met instead of {expected}: start the same number on each node"
        )
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {local_rank} of this node has no GPU: there are {torch.cuda.device_count()}; "
                f"start torchrun with --nproc_per_node {torch.cuda.device_count()}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        # The flight recorder: NCCL's last collectives, which the watchdog writes when a step hangs.
        os.environ.setdefault("TORCH_FR_BUFFER_SIZE", "2000")
    else:
        device = torch.device("cpu")
    if size > 1:
        # Must exceed the longest time that one process keeps the others waiting: writing a checkpoint.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    return World(rank, size, device)


def run_world(main: Callable[[], int]) -> None:
    """Call `main` in every process and exit with its exit code and at most one error message.

    Processes exit without destroying the process group, because torch 2.13 with DeepSpeed aborts there in one
    run of seven, after all work is done. If all processes find the same mistake, the main process reports it.
    """

    def guarded() -> int:
        try:
            done = main()
            WATCHDOG.ended(done, STOP_REQUEST.why)
            return done
        except Exception as error:
            WATCHDOG.ended(*explain_error(error))
            if not isinstance(error, UserError | OSError):
                raise
            if int(os.environ.get("RANK", 0)):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to save
                time.sleep(TELLING_S)
            raise

    if attempt := os.environ.get("ATTEMPT"):
        WATCHDOG.start(Path(attempt))
    STOP_REQUEST.listen(EXIT_REQUEUE)
    code: int | str | None = 1
    try:
        run_main(guarded)
    except SystemExit as leaving:
        code = leaving.code
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    sys.exit(code)
