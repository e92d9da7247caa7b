"""The run's log: append-only JSON lines, a header and then rows of kind train, perf, val, instrument, event.

Every start of a run writes its own file. A `resume` event at step s voids all rows of earlier files beyond s.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from configs.loader import CONFIGS, UserError
from train.parallel.exchange import Exchange
from train.sinks import Name, Sink, numbers, open_sinks

SCHEMA_VERSION = 1


class Log:
    """Writes log.<restart>.jsonl and feeds the sinks; does nothing on ranks above 0 (`enabled=False`)."""

    def __init__(self, folder: Path, enabled: bool, tokens_per_step: int) -> None:
        self.folder = folder
        self.restart_index = len(log_files(folder))
        self.tokens_per_step = tokens_per_step
        self.began = time.monotonic()
        # Each line is written at once, so a killed run leaves complete lines, except perhaps for the last.
        self._file = (folder / f"log.{self.restart_index}.jsonl").open("x", buffering=1) if enabled else None
        self._sinks: list[Sink] = []

    def header(self, run_id: str, after_step: int, sinks: Sequence[Name], **values: Any) -> None:
        """Write the first row, which describes this start. Raises UserError if a sink is not installed."""
        fixed = {"kind": "header", "schema_version": SCHEMA_VERSION, "restart_index": self.restart_index}
        row = (
            fixed | git_state() | {"slurm_job_id": os.environ.get("SLURM_JOB_ID"), "run_id": run_id} | values
        )
        self._write(row)
        if self._file:
            self._sinks = open_sinks(sinks, self.folder, run_id, after_step, row)

    def row(self, kind: str, step: int, **values: Any) -> None:
        """Write a row; the module names its kinds. `step` is the last finished optimiser step.

        Raises UserError if the disk does not accept the row, ValueError if a value is not finite.
        """
        common = {
            "kind": kind,
            "step": step,
            "tokens_seen": step * self.tokens_per_step,
            "time_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "wall_s": round(time.monotonic() - self.began, 3),
        }
        row = common | values
        self._write(row)
        for sink in self._sinks if kind != "instrument" else ():  # many rows a step, of no fixed names
            if found := numbers(row):
                sink.scalars(step, found)
            if kind in ("val", "event"):
                sink.flush()

    def close(self) -> None:
        """Close the sinks: no row follows."""
        for sink in self._sinks:
            sink.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._file:
            # JSON has no NaN: callers pass None for a value that is not finite (see `finite`).
            line = json.dumps(row, allow_nan=False) + "\n"
            try:
                self._file.write(line)
            except OSError as error:  # its message does not name the file
                raise UserError(
                    f"{self._file.name}: could not be written ({error.strerror}): make room and start again; "
                    f"the run resumes from its newest checkpoint"
                ) from error


class Clock:
    """Measures where the time between two perf rows goes."""

    def __init__(self, device: torch.device, exchange: Exchange | None) -> None:
        """`exchange`: of the strategy; None for a process without others."""
        self.device, self._exchange = device, exchange
        self._reset()

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Time that the loop spends waiting for the next batch."""
        began = time.perf_counter()
        yield
        self._data_wait_s += time.perf_counter() - began

    @contextmanager
    def paused(self, checkpoint: bool = False) -> Iterator[None]:
        """Time that does not count as training: validation and checkpoints."""
        began = time.perf_counter()
        with self._exchange.paused() if self._exchange else nullcontext():
            yield
        spent = time.perf_counter() - began
        self._paused_s += spent
        self._checkpoint_s += spent if checkpoint else 0.0

    def read(self, steps: int, tokens_per_step: int) -> dict[str, float]:
        """Fields of a perf row, averaged over the `steps` since the last reading.

        Times are in seconds a step; only checkpoint_s is a total. Fields that this machine cannot measure
        are absent.
        """
        step_s = (time.perf_counter() - self._began - self._paused_s) / steps
        fields = {
            "tokens_per_s": tokens_per_step / step_s,
            "step_s": step_s,
            "data_wait_s": self._data_wait_s / steps,
            "mem_peak_gib": self._peak_bytes() / 2**30,
        }
        if self._checkpoint_s:
            fields["checkpoint_s"] = self._checkpoint_s
        if self._exchange:
            fields["exchange_s"] = self._exchange.read() / steps
        if (read_bytes := _disk_bytes()) is not None:
            fields["read_mib"] = (read_bytes - self._read_bytes) / 2**20
        if (watts := _watts(self.device)) is not None:
            fields["watts"] = watts
        self._reset()
        return fields

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._paused_s = self._data_wait_s = self._checkpoint_s = 0.0
        self._read_bytes = _disk_bytes() or 0

    def _peak_bytes(self) -> float:
        """Peak memory of this rank since its start, of the GPU or, without one, of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        # getrusage(2) counts kilobytes on Linux and bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def log_files(folder: Path) -> list[Path]:
    """The log files of a run's folder, one for each start, in order."""
    return sorted(folder.glob("log.*.jsonl"), key=lambda path: int(path.name.split(".")[1]))


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite: JSON has neither."""
    return value if math.isfinite(value) else None


def _disk_bytes() -> int | None:
    """Bytes that this process has read from disk, without those from the page cache; None if not on Linux."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), None)


def _watts(device: torch.device) -> float | None:
    """Power that this process's GPU draws now, in watts; None without a GPU or nvidia-ml-py."""
    if device.type != "cuda" or not find_spec("pynvml"):
        return None
    return torch.cuda.power_draw(device) / 1000


def git_state() -> dict[str, Any]:
    """Commit of this checkout and whether tracked files differ from it; both None where git has no answer."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", CONFIGS, *arguments], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"git_sha": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}
