"""A thread in every rank that tells how far the rank is, and ends an attempt that hangs.

A rank that is stopped, or stuck in C code without releasing Python's lock, cannot report itself: its peers,
whose step does not end either, and the batch shell (batch.py) name it.
"""

import contextlib
import faulthandler
import os
import threading
import time
from collections import deque
from pathlib import Path

import torch

from train.parallel.stop import STOP_REQUEST
from train.restart.attempt import (
    Hang,
    RankState,
    hang_least_s,
    read_hang,
    read_states,
    report_hang,
    write_state,
)
from train.restart.decide import describe_behind, step_limit_s, stop_margin_s
from train.slurm_job import node_name

BEAT_S = 2.0
TELLING_S = 3 * BEAT_S  # from the report until a rank exits: all write their stacks, the silent ones show
HELD_S = 5 * BEAT_S
REMEMBERED_STEPS = 64


class Watchdog:
    """This rank's state, and the thread that writes it."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        rank = int(os.environ.get("RANK", "0"))
        self._state = RankState(rank=rank, node=node_name(), pid=os.getpid())
        self._lock = threading.Lock()
        self._steps_s: deque[float] = deque(maxlen=REMEMBERED_STEPS)
        # None outside of steps: validation may take as long as it likes.
        self._step_began: float | None = None
        self._pause_began: float | None = None
        self._longest_pause_s = 0.0
        self._ended = False

    def start(self, folder: Path) -> None:
        """Write this rank's state to `folder` from now on; only torchrun's processes are watched."""
        if self.folder or "TORCHELASTIC_RUN_ID" not in os.environ:
            return  # under Slurm it has run since the start of the process
        self.folder = folder
        write_state(folder, self._state)
        threading.Thread(target=self._run, args=(folder,), name="watchdog", daemon=True).start()

    def begin_step(self, step: int) -> None:
        """A step begins; the one before, if nothing came between them, counts as a measurement."""
        now = time.monotonic()
        if self._step_began is not None:
            self._steps_s.append(now - self._step_began)
        if self._pause_began is not None:
            self._longest_pause_s = max(self._longest_pause_s, now - self._pause_began)
            self._pause_began = None
        self._step_began = now
        self._mark(step=step, marks=0, doing="waiting for data")

    def doing(self, what: str) -> None:
        """The step goes on to its next part."""
        self._mark(marks=self._state.marks + 1, doing=what)

    def pause(self, what: str) -> None:
        """Something begins that is no step and has no limit: validation, a checkpoint, the end."""
        self._step_began, self._pause_began = None, self._pause_began or time.monotonic()
        self.doing(what)

    def ended(self, code: int, reason: str) -> None:
        """The last word of this rank."""
        with self._lock:
            if self.folder and not self._ended:
                self._ended = True
                self._state = self._state.model_copy(update={"code": code, "reason": reason})
                write_state(self.folder, self._state)

    def _mark(self, **values: object) -> None:
        with self._lock:
            self._state = self._state.model_copy(update=values)

    def _run(self, folder: Path) -> None:
        looked = time.monotonic()
        while not self._ended:
            if time.monotonic() - looked > HELD_S and self._step_began:
                self._step_began = time.monotonic()  # this process was held (Ctrl-Z): the step begins anew
            looked = time.monotonic()
            with self._lock:
                if not self._ended:
                    self._state = self._state.model_copy(update={"beats": self._state.beats + 1})
                    write_state(folder, self._state)
            began, limit = self._step_began, step_limit_s(list(self._steps_s), hang_least_s())
            if began and limit and time.monotonic() - began > limit:
                step = self._state.step
                report_hang(folder, Hang(step=step, why=f"step {step} takes longer than {limit:.0f} s"))
            with contextlib.suppress(OSError):  # of a file server that does not answer for a while
                self._heed_slurm(folder)
                if hang := read_hang(folder):
                    self._give_up(folder, hang)
            time.sleep(BEAT_S)

    def _heed_slurm(self, folder: Path) -> None:
        """Stop the run if the batch shell was asked to, or by ourselves if the job's end is near."""
        if (folder / "STOP").exists():
            STOP_REQUEST.request("Slurm asked")
        start, end = (float(os.environ.get(f"SLURM_JOB_{which}_TIME") or "nan") for which in ("START", "END"))
        step_s = max(self._steps_s, default=0.0)
        if time.time() > end - stop_margin_s(end - start, step_s, self._longest_pause_s):  # false for NaN
            STOP_REQUEST.request("the job's time limit is near")

    def _give_up(self, folder: Path, hang: Hang) -> None:
        """Write what this process does, say who is behind, and exit. Never returns."""
        rank = self._state.rank
        with contextlib.suppress(OSError), (folder / f"rank_{rank}.stack.txt").open("w") as file:
            faulthandler.dump_traceback(file)
        with contextlib.suppress(OSError, RuntimeError):
            if trace := flight_record():
                (folder / f"rank_{rank}.nccl.pickle").write_bytes(trace)
        before = {state.rank: state.beats for state in read_states(folder)}
        deadline = time.monotonic() + TELLING_S
        while time.monotonic() < deadline:
            time.sleep(BEAT_S)
            self._mark(beats=self._state.beats + 1)
            write_state(folder, self._state)
        states = read_states(folder)
        beating = {state.rank for state in states if before.get(state.rank) != state.beats} | {rank}
        silent = [state.rank for state in states if state.code is None and state.rank not in beating]
        sentence = f"{hang.why}; {describe_behind(states, silent)}"
        os.write(2, f"\nrank {rank}: {sentence}; stacks of all ranks: {folder}\n".encode())
        self.ended(1, sentence)
        os._exit(1)


def flight_record() -> bytes:
    """NCCL's last collectives, as torch's tools for flight records read them; empty on a CPU."""
    dump = getattr(torch._C._distributed_c10d, "_dump_nccl_trace", None)
    return dump() if dump and torch.cuda.is_available() else b""


WATCHDOG = Watchdog()  # global like the process that it watches
