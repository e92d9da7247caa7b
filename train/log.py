"""The run's log: append-only JSON lines, a header and then rows of kind train, perf, val and event.

Rows say what happened and are never changed. A restart writes a file of its own; its `resume` event voids
what earlier files hold beyond that step.
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from configs.loader import CONFIGS, UserError
from train.parallel.world import World
from train.sinks import Name, Sink, numbers, open_sinks

SCHEMA_VERSION = 1


class Log:
    """Writer of log.<restart>.jsonl and sinks; `enabled=False` (all ranks but the first) writes nothing."""

    def __init__(self, folder: Path, enabled: bool, tokens_per_step: int) -> None:
        self.folder = folder
        self.restart_index = len(list(folder.glob("log.*.jsonl")))
        self.tokens_per_step = tokens_per_step
        self.began = time.monotonic()
        # One line a write, so that a killed run leaves whole lines but perhaps for the last.
        self._file = (folder / f"log.{self.restart_index}.jsonl").open("x", buffering=1) if enabled else None
        self._sinks: list[Sink] = []

    def header(self, run_id: str, after_step: int, sinks: Sequence[Name], **values: Any) -> None:
        """The first row: what this start of the run is. Raises UserError where a sink is not installed."""
        fixed = {"kind": "header", "schema_version": SCHEMA_VERSION, "restart_index": self.restart_index}
        row = (
            fixed | git_state() | {"slurm_job_id": os.environ.get("SLURM_JOB_ID"), "run_id": run_id} | values
        )
        self._write(row)
        if self._file:
            self._sinks = open_sinks(sinks, self.folder, run_id, after_step, row)

    def row(self, kind: str, step: int, **values: Any) -> None:
        """A row of kind train, perf, val or event, as of the end of `step`."""
        common = {
            "kind": kind,
            "step": step,
            "tokens_seen": step * self.tokens_per_step,
            "time_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "wall_s": round(time.monotonic() - self.began, 3),
        }
        row = common | values
        self._write(row)
        for sink in self._sinks:
            if found := numbers(row):
                sink.scalars(step, found)
            if kind in ("val", "event"):
                sink.flush()

    def close(self) -> None:
        """The run ends here."""
        for sink in self._sinks:
            sink.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._file:
            # NaN is not JSON: what has no value is left out by the caller, never written.
            line = json.dumps(row, allow_nan=False) + "\n"
            try:
                self._file.write(line)
            except OSError as error:  # which does not know the file's name
                raise UserError(
                    f"{self._file.name}: could not be written ({error.strerror}): make room and start again, "
                    f"the run goes on from its newest checkpoint"
                ) from error


class Clock:
    """Where the time between two perf rows went."""

    def __init__(self, world: World) -> None:
        self.device, self.exchanges = world.device, world.size > 1
        self._reset()

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """Training time in which no batch was there."""
        began = time.perf_counter()
        yield
        self._data_wait_s += time.perf_counter() - began

    @contextmanager
    def computing(self, last: bool) -> Iterator[None]:
        """A micro-batch's forward and backward; the `last` one of a step exchanges gradients, too."""
        began = self._now()
        yield
        (self._last if last else self._others).append((began, self._now()))

    @contextmanager
    def paused(self, checkpoint: bool = False) -> Iterator[None]:
        """Time that is not training: validation, checkpoints."""
        began = time.perf_counter()
        yield
        spent = time.perf_counter() - began
        self._paused_s += spent
        self._checkpoint_s += spent if checkpoint else 0.0

    def read(self, steps: int, tokens_per_step: int) -> dict[str, float]:
        """Fields of a perf row for the `steps` since the last reading; what was not measured is absent."""
        step_s = (time.perf_counter() - self._began - self._paused_s) / steps
        fields = {
            "tokens_per_s": tokens_per_step / step_s,
            "step_s": step_s,
            "data_wait_s": self._data_wait_s / steps,
            "mem_peak_gib": self._peak_bytes() / 2**30,
        }
        if self._checkpoint_s:
            fields["checkpoint_s"] = self._checkpoint_s
        if self.exchanges and self._others:
            # What of the exchange is not hidden behind computation: how much longer the last one takes.
            last, other = (mean(map(self._seconds, spans)) for spans in (self._last, self._others))
            fields["exchange_s"] = max(0.0, last - other)
        if (read_bytes := _disk_bytes()) is not None:
            fields["read_mib"] = (read_bytes - self._read_bytes) / 2**20
        if (watts := _watts(self.device)) is not None:
            fields["watts"] = watts
        self._reset()
        return fields

    def _reset(self) -> None:
        self._began = time.perf_counter()
        self._paused_s = self._data_wait_s = self._checkpoint_s = 0.0
        self._last: list[tuple[Any, Any]] = []
        self._others: list[tuple[Any, Any]] = []
        self._read_bytes = _disk_bytes() or 0

    def _now(self) -> Any:
        """This moment of the computation: on CUDA, which runs behind, an event in its stream."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, span: tuple[Any, Any]) -> float:
        began, ended = span
        if self.device.type != "cuda":
            return ended - began
        ended.synchronize()
        return began.elapsed_time(ended) / 1000

    def _peak_bytes(self) -> float:
        """Of this rank since its start: memory of the GPU, or of the process where there is none."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        # Kilobytes on Linux, bytes on macOS (getrusage(2) of each).
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def finite(value: float) -> float | None:
    """The value for a row: JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def _disk_bytes() -> int | None:
    """Bytes that this process has made the disks deliver; what lay in the page cache is not among them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("read_bytes")), None)


def _watts(device: torch.device) -> float | None:
    """What this process' GPU draws at the moment; None without nvidia-ml-py."""
    if device.type != "cuda" or not find_spec("pynvml"):
        return None
    return torch.cuda.power_draw(device) / 1000


def git_state() -> dict[str, Any]:
    """Commit of this checkout and whether files differ from it; None where there is no git."""

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
