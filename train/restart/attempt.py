"""The files of an attempt: the state of each rank, and a report of training that does not go on."""

import contextlib
import errno
import json
import os
from pathlib import Path

import pydantic

from configs.loader import EXIT_LAW_BROKEN, EXIT_USER_ERROR, Config, LawBroken, UserError
from train.slurm_job import node_name

ENTRY_BYTES = 1024  # of rank_<r>.json: overwritten in place, so a full disk cannot keep a rank from telling
# Other input and output errors come from a network or a disk that may be well again after a restart.
OF_THE_USER = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR),
}


class RankState(Config):
    """What a rank says of itself."""

    rank: int
    node: str
    pid: int
    beats: int = 0  # grows while the process lives; readers compare it instead of clocks
    step: int = 0
    marks: int = 0  # grows with every part of a step: of two ranks at one step, the lower one is behind
    doing: str = "starting"
    code: int | None = None  # how it ended: 0, 2, 3, 75 as everywhere, 1 for a crash
    reason: str = ""


class Hang(Config):
    """Why somebody thinks that training does not go on."""

    step: int
    why: str


def hang_least_s() -> float:
    """The shortest time that counts as a hang, in seconds; tests set HANG_LEAST_S to wait less."""
    return float(os.environ.get("HANG_LEAST_S", "60"))


def attempt_folder(run_folder: Path) -> Path:
    """This attempt's folder: ATTEMPT under Slurm, else numbered like its log, which must not exist yet."""
    number = len(list(run_folder.glob("log.*.jsonl")))
    return Path(os.environ.get("ATTEMPT") or run_folder / "attempts" / f"local.{number}")


def write_state(folder: Path, state: RankState) -> None:
    """Write a rank's state. A disk that does not accept it is no reason to end a run."""
    short = state.model_copy(update={"reason": state.reason[: ENTRY_BYTES // 4]})
    entry = short.model_dump_json().encode()
    if len(entry) >= ENTRY_BYTES:  # a reason in letters of several bytes
        entry = short.model_copy(update={"reason": ascii(short.reason)[:200]}).model_dump_json().encode()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"rank_{state.rank}.json", os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, entry.ljust(ENTRY_BYTES - 1) + b"\n")
        finally:
            os.close(descriptor)


def read_states(folder: Path) -> list[RankState]:
    """The states of all ranks that wrote one, by rank; one that is being written is left out."""
    states = []
    for path in folder.glob("rank_*.json"):
        with contextlib.suppress(OSError, pydantic.ValidationError):
            states.append(RankState.model_validate_json(path.read_bytes()))
    return sorted(states, key=lambda state: state.rank)


def report_hang(folder: Path, hang: Hang) -> None:
    """Tell all ranks and the batch shell that training does not go on; the first report stays."""
    aside = folder / f".hang.{node_name()}.{os.getpid()}"
    with contextlib.suppress(OSError):
        aside.write_text(hang.model_dump_json() + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(aside, folder / "hang.json")
        aside.unlink()


def read_hang(folder: Path) -> Hang | None:
    """The report, if there is one."""
    try:
        return Hang.model_validate_json((folder / "hang.json").read_bytes())
    except FileNotFoundError:
        return None


def read_node_codes(folder: Path) -> dict[str, int]:
    """torchrun's exit code by node, 0 where it has not failed; the node that failed first comes first."""
    paths = sorted(folder.glob("node_*"), key=lambda path: path.stat().st_mtime_ns)
    return {path.name.removeprefix("node_"): int(path.read_text().strip() or 0) for path in paths}


def explain_error(error: Exception) -> tuple[int, str]:
    """(exit code, sentence) for the error that ends a rank: what the user can correct, or a failure."""
    if isinstance(error, UserError):
        return EXIT_USER_ERROR, str(error)
    if isinstance(error, LawBroken):
        return EXIT_LAW_BROKEN, str(error)
    if isinstance(error, OSError) and error.errno in OF_THE_USER:
        return EXIT_USER_ERROR, f"{error.filename or 'input/output'}: {error.strerror}"
    lines = str(error).strip().splitlines() or [""]
    return 1, f"{type(error).__name__}: {lines[0]}"


def read_lines(path: Path) -> list[dict[str, object]]:
    """The lines of history.jsonl; one that a crash cut off is left out."""
    lines = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
    return lines
