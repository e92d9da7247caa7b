"""The processes that a study starts: `make preprocess` for token shards, train/pretrain.py for runs."""

import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.loader import CONFIGS
from train.config import Run, read_config
from train.log import log_files
from train.study_plan import needed_tokens

ROOT = CONFIGS.parent
TAIL_BYTES = 16 << 10  # what is read from the end of a log: about 35 rows
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Failure:
    """An unfinished run and the reason."""

    run_id: str
    reason: str


@dataclass
class Prepared:
    """The token shards that could not be made: a reason for each (corpus, tokenizer)."""

    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def why_not(self, run: Run) -> str:
        """Why a run cannot be trained; empty if its token shards exist."""
        for corpus in (run.recipe.validation_corpus, run.recipe.corpus):
            if reason := self.reasons.get((corpus, run.recipe.tokenizer)):
                return reason
        return ""


def prepare_tokens(runs: Sequence[Run], data: Path, scale: str, workers: int) -> Prepared:
    """Make the token shards that the runs read. Stages skip by themselves what is finished."""
    prepared = Prepared()
    for corpus, tokenizer in needed_tokens(runs):
        print(f"corpus {corpus}, tokenizer {tokenizer}", flush=True)
        values = {"VARIANT": corpus, "TOKENIZER": tokenizer, "SCALE": scale, "DATA": data, "WORKERS": workers}
        command = ["make", "--no-print-directory", "preprocess", f"PYTHON={sys.executable}"]
        command += [f"{key}={value}" for key, value in values.items()]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, preexec_fn=_dies_with(os.getpid())
        )
        if done.returncode:
            reason = reason_in(done.stderr) or f"make preprocess ended with code {done.returncode}"
            prepared.reasons[corpus, tokenizer] = f"corpus {corpus}, tokenizer {tokenizer}: {reason}"
            print(f"  failed: {reason}", flush=True)
    return prepared


class Training:
    """One run of the study: its process and its log."""

    def __init__(self, run: Run, folder: Path, data: Path, overrides: Sequence[str] = ()) -> None:
        self.run, self.folder, self.data, self.overrides = run, folder, data, overrides
        self.failed = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Train or resume in a new process with one thread, which ends if this process dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "train/pretrain.py", f"configs/runs/{self.run.name}.yaml"]
        command += ["--scale", self.run.scale, "--seed", str(self.run.seed), "--data", str(self.data)]
        command += ["--out", str(self.folder), "--resume", "auto", *self.overrides]
        env = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_MININTERVAL": "30"}
        with (self.folder / "study.out").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C then reaches this process only, which sends each run one signal
                preexec_fn=_dies_with(os.getpid()),
            )

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process is not None and self._process.poll() is not None

    def is_running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def is_done(self) -> bool:
        """Whether the run is finished."""
        return (self.folder / "DONE").is_file()

    def why_outdated(self) -> str:
        """Why a finished run does not count; empty if it does, or if the run is not finished."""
        if self.is_done() and read_config(self.folder / "config.yaml").sha256() != self.run.sha256():
            return (
                f"{self.folder}: finished with another configuration: remove it, or pass another --out-root"
            )
        return ""

    def stop(self) -> None:
        """Ask the run to save a checkpoint and exit."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for the run's process to end."""
        if self._process:
            self._process.wait()

    def why_unfinished(self) -> str:
        """Why the run is still unfinished after its process ended; empty if it is finished."""
        if self.is_done() and self._process and self._process.returncode == 0:
            return ""
        code = self._process.returncode if self._process else None
        output = self.folder / "study.out"
        return reason_in(tail(output)) or f"ended with code {code}, see {output}"

    def describe(self) -> str:
        """One line about the run: state, step, loss, time left."""
        state = "done" if self.is_done() else "running" if self.is_running() else "waiting"
        state = "failed" if self.failed else state
        line = f"{self.run.run_id:<28} {state:<8}"
        rows = last_rows(self.folder)
        if "train" in rows:
            step = rows["train"]["step"]
            line += f" step {step:>7,} of {self.run.steps_total:,}"
            if rows["train"]["loss_nats"] is not None:
                line += f"  loss {rows['train']['loss_nats']:.3f}"
            if state == "running" and "perf" in rows:
                left_s = (self.run.steps_total - step) * rows["perf"]["step_s"]
                line += f"  {left_s / 60:,.1f} min left"
        return line


def _dies_with(parent: int) -> Callable[[], None]:
    return functools.partial(_end_with_parent, parent)


def _end_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above took effect
            os.kill(os.getpid(), signal.SIGKILL)


def last_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """The last row of each kind near the end of a run's newest log."""
    logs = log_files(folder)
    rows = {}
    for line in tail(logs[-1]).splitlines()[1:] if logs else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # this line is still being written
        rows[row["kind"]] = row
    return rows


def tail(path: Path) -> str:
    """The last TAIL_BYTES of a text file; empty if the file does not exist."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def reason_in(output: str) -> str:
    """Why a script failed, from its output: the last line that states an error, else the last line."""
    lines = [line.strip() for line in output.replace("\r", "\n").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("error:", "law broken:"))]
    return (errors or lines or [""])[-1]
