"""What every script shares and what needs the standard library alone: folders, errors, exit codes.

Exit codes are the same everywhere: 0 done, 2 user error, 3 a law broken (ledger, tokens), 75 stopped to be
requeued (sysexits.h, EX_TEMPFAIL: Slurm's requeue convention).
"""

import contextlib
import errno
import os
import select
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

EXIT_USER_ERROR, EXIT_LAW_BROKEN, EXIT_REQUEUE = 2, 3, 75


class UserError(Exception):
    """What the user can mend: the message names the file, the id and the remedy."""


class LawBroken(Exception):
    """A conservation law of the ledger or of the tokens does not hold: the output is not usable."""


def default_data_root(scale: str = "full") -> Path:
    """`$ARXIV_DATA`, else `data` (`data/<scale>` for a scale other than full)."""
    return Path(os.environ.get("ARXIV_DATA") or ("data" if scale == "full" else f"data/{scale}"))


def default_runs_root() -> Path:
    """`$ARXIV_RUNS`, else `runs`."""
    return Path(os.environ.get("ARXIV_RUNS") or "runs")


def format_bytes(n_bytes: float) -> str:
    """A number of bytes for people, in the largest decimal unit that leaves at least 1: `3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n_bytes) < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:,.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.1f} TB"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise UserError with `path` and the free space where the block fails on a full disk or a quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        folder = next(folder for folder in path.absolute().parents if folder.is_dir())
        free = format_bytes(shutil.disk_usage(folder).free)
        raise UserError(
            f"{path}: {os.strerror(error.errno)}: {free} are free in {folder}. What is finished is "
            "kept. Make room (or raise the quota) and give the same command again: it goes on from there"
        ) from None


def run_main(main: Callable[[], int | None]) -> None:
    """Call a script's `main` and leave with the project's exit codes.

    Ctrl-C and SIGTERM (scancel, preemption) leave with one sentence and 128 + the signal's number, unless the
    script has handlers of its own. A reader of the output that has enough (`| head`) ends it without a word.
    """
    stopped_by = signal.SIGINT

    def on_sigterm(number: int, _: FrameType | None) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        code = main() or 0
        sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt:
        print(
            f"\nstopped ({stopped_by.name}): what is finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
        sys.exit(128 + stopped_by)  # as shells report a process that a signal ended
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except LawBroken as error:
        print(f"law broken: {error}", file=sys.stderr)
        sys.exit(EXIT_LAW_BROKEN)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())  # for what Python flushes at its end
            sys.exit(128 + signal.SIGPIPE)
        # Full disk, read-only folder, missing input: the user's machine, not our bug.
        print(f"error: {error.filename or 'input/output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _has_no_reader() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
