"""How every script reads its configuration and how it ends when something is wrong.

Defaults in a pydantic model < YAML files, in order < `key=value` on the command line. Unknown
keys, wrong types and impossible values are errors that name the file and the key. Exit codes
are the same everywhere: 0 done, 2 user error, 3 a law broken (ledger, tokens), 75 stopped to be
requeued (sysexits.h, EX_TEMPFAIL: Slurm's requeue convention).
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pydantic
import yaml

CONFIGS = Path(__file__).resolve().parent
EXIT_USER_ERROR, EXIT_LAW_BROKEN, EXIT_REQUEUE = 2, 3, 75


class UserError(Exception):
    """What the user can mend: the message names the file, the id and the remedy."""


class LawBroken(Exception):
    """A conservation law of the ledger or of the tokens does not hold: the output is not usable."""


class Config(pydantic.BaseModel):
    """Base of all configurations: immutable, no key that nobody reads, no number that is not finite."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 2e-4 as a number (YAML 1.1 takes it for text) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file. Raises UserError naming the file and the line."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "no YAML file"
        raise UserError(f"{path}: no such file; {path.parent} holds {there}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds a {type(values).__name__}; a mapping of keys to values is expected")
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`; mappings are merged key by key, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`["a.b=3", "c=x"]` as `{"a": {"b": 3}, "c": "x"}`; values are YAML."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(f"{item!r} on the command line: expected key=value, for instance lr=3e-4")
        try:
            value: Any = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
        except yaml.YAMLError as error:
            raise UserError(f"{item!r} on the command line: {error}") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def validate(model: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """`values` as a `model`; `origin` (file names) stands in the error. Raises UserError."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
            if problem["type"] == "extra_forbidden":
                lines.append(
                    f"{key}: unknown key; known: {', '.join(sorted(_known_keys(model, problem['loc'])))}"
                )
            else:
                lines.append(f"{key}: {problem['msg']} (given: {problem['input']!r:.80})")
        raise UserError(f"{origin}: " + "; ".join(lines)) from None


def _known_keys(model: type[pydantic.BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, pydantic.BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)


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
    script has handlers of its own.
    """
    stopped_by = signal.SIGINT

    def on_sigterm(number: int, _: FrameType | None) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        sys.exit(main() or 0)
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
        # Full disk, read-only folder, missing input: the user's machine, not our bug.
        print(f"error: {error.filename or 'input/output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
