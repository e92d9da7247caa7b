"""Requests to stop a run: SIGTERM, SIGINT and the death of the launcher or of Slurm's step daemon.

After the first request all processes finish the same step, save a checkpoint and exit, as with the file STOP.
A second signal ends the process at once.
"""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

# One Ctrl-C reaches a process twice, from the terminal and from torchrun; so does one scancel. Signals within
# this time count as one.
SAME_SIGNAL_S = 3.0
LAUNCHER_POLL_S = 0.5
# Time that a process has to save after its launcher died. If its peers are gone, collectives never end.
LAUNCHER_GRACE_S = 300.0


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.requested = False
        self.why = ""  # of the first request
        self._first_signal_s = 0.0

    def listen(self, exit_code: int) -> None:
        """Install the signal handlers (main thread only) and, under torchrun, watch the launcher.

        `exit_code` is what a process returns if it cannot save after its launcher died.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if "TORCHELASTIC_RUN_ID" in os.environ:
            watch = threading.Thread(
                target=self._watch_launcher,
                args=(os.getppid(), exit_code),
                name="launcher watch",
                daemon=True,
            )
            watch.start()

    def request(self, why: str) -> None:
        """Stop after this step."""
        if not self.requested:
            self.requested, self.why = True, why

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.requested:
            self.request(signal.Signals(number).name)
            self._first_signal_s = now
            if os.environ.get("RANK", "0") == "0":
                self._say(
                    f"{signal.Signals(number).name}: saving a checkpoint after this step; repeat to end now"
                )
        elif now - self._first_signal_s > SAME_SIGNAL_S:
            os._exit(128 + number)  # the exit code that a shell reports for a signal

    def _watch_launcher(self, launcher: int, exit_code: int) -> None:
        above = _up_to_step_daemon(launcher)
        while os.getppid() == launcher and _up_to_step_daemon(launcher) == above:
            time.sleep(LAUNCHER_POLL_S)
        dead = "launcher" if os.getppid() != launcher else "step daemon (slurmstepd)"
        if dead != "launcher":  # it read what this process prints: writing to nobody would end the process
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        self.request(f"the {dead} died")
        self._say(f"process {os.getpid()}: its {dead} died: saving a checkpoint after this step")
        time.sleep(LAUNCHER_GRACE_S)
        self._say(
            f"process {os.getpid()}: could not save within {LAUNCHER_GRACE_S:.0f} s of its launcher's death"
        )
        os._exit(exit_code)

    @staticmethod
    def _say(sentence: str) -> None:
        os.write(2, f"\n{sentence}\n".encode())  # print is not safe in a signal handler


def _up_to_step_daemon(process: int) -> list[int]:
    """The ancestors of a process up to Slurm's step daemon; empty if it does not run below one.

    When the daemon dies, its children get another parent. srun does not notice that.
    """
    ancestors: list[int] = []
    with contextlib.suppress(OSError):
        while process > 1:
            name, fields = Path(f"/proc/{process}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
            if name == "slurmstepd":
                return ancestors
            process = int(fields.split()[1])
            ancestors.append(process)
    return []


STOP_REQUEST = StopRequest()  # global, because signal handlers are global to a process
