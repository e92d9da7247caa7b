"""The processes of a run: who they are, how they agree, how they leave."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from configs.loader import EXIT_REQUEUE, UserError, run_main
from train.parallel.stop import STOP_REQUEST

# A process that leaves with an error makes torchrun end all others: the first one has this long to tell it.
TELLING_S = 5.0


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process: all get the same answer."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def from_main(self, text: str) -> str:
        """A short text of the main process, on all."""
        texts = [text]
        if self.size > 1:
            dist.broadcast_object_list(texts, src=0, device=self.device)
        return texts[0]

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Tensors (one shape) of all processes by rank, on the main process; elsewhere an empty list."""
        if self.size == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.size)] if self.is_main else None
        dist.gather(tensor, parts)
        return parts or []

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()


def start_world() -> World:
    """Join the processes that torchrun started; without torchrun, be alone. Raises UserError."""
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    expected = int(os.environ.get("EXPECTED_WORLD_SIZE", size))
    if size != expected:
        raise UserError(f"{size} processes have met, {expected} were to: a node started with another number")
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            raise UserError(
                f"process {local_rank} of this node has no GPU: there are {torch.cuda.device_count()}; "
                f"start torchrun with --nproc_per_node {torch.cuda.device_count()}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if size > 1:
        # Longer than the slowest thing that one process does while the others wait: writing a checkpoint.
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    return World(rank, size, device)


def run_world(main: Callable[[], int]) -> None:
    """Call `main` in every process and leave with its exit code and one message.

    Processes leave without tearing the process group down: there torch 2.13 with DeepSpeed aborts in one
    run of seven, after all work is done. A mistake that all processes find is told by the first of them.
    """

    def guarded() -> int:
        try:
            return main()
        except (UserError, OSError):
            if int(os.environ.get("RANK", 0)):
                signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is left to save
                time.sleep(TELLING_S)
            raise

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
