"""The one reader of this project's training logs.

In: a run's own logs, `<root>/<scale>/<run>/seed<k>/log.<restart>.jsonl`, or its published one,
`<root>/<scale>/<run>/seed<k>.jsonl.gz`. Out: pandas frames of the history that led to the final weights.

A log is a header row and then rows of kind train, perf, val, val_own, val_document, instrument or event.
`val` rows measure the validation set that all runs share, `val_document` rows each of its documents at the
end of a run, `val_own` rows the validation set of the run's own corpus where that is another, `instrument`
rows what a run measures only where its recipe asks for it. A restart continues from a checkpoint, so what
earlier restarts logged beyond it never reached the weights: those rows are void. A published log is the
restarts one after the other, each behind its header, and the same rules read it.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.readers.log_frames import make_frame
from analysis.readers.log_rows import COLUMNS, Row, Segment, Wanted, read_segments
from configs.script import UserError, default_runs_root

__all__ = [
    "COLUMNS",
    "Row",
    "Run",
    "RunLog",
    "Segment",
    "choose_scale",
    "find_runs",
    "needed_by_figures",
    "read_run",
    "read_runs",
]

_RESTART = re.compile(r"log\.(\d+)\.jsonl")


class Run(NamedTuple):
    """One seed of one run at one scale."""

    scale: str
    run: str
    seed: int

    def __str__(self) -> str:
        return f"{self.scale}/{self.run}/seed{self.seed}"


@dataclass(frozen=True)
class RunLog:
    """A run's history. The frames are ordered by step and have a column `restart`."""

    run: Run
    segments: list[Segment]  # without void rows
    notes: list[str]  # what the reader noticed and could live with
    train: pd.DataFrame
    perf: pd.DataFrame
    val: pd.DataFrame  # on the shared validation set; one row for each domain and validation
    val_own: pd.DataFrame  # the same on the run's own corpus; empty where that is the shared one
    val_document: pd.DataFrame  # at the end of a run, a row for each document of the shared validation set
    instrument: pd.DataFrame  # optional measures (docs/instruments.md)
    event: pd.DataFrame

    @property
    def header(self) -> Row:
        """The latest start's header."""
        return self.segments[-1].header

    @property
    def domains(self) -> list[str]:
        """Domains that were trained or validated on, sorted; `all` is none."""
        trained = {c.removeprefix("loss_nats/") for c in map(str, self.train) if c.startswith("loss_nats/")}
        return sorted((trained | set(self.val["domain"].dropna())) - {"all"})


def find_runs(roots: Iterable[Path], scale: str | None = None) -> dict[Run, list[Path]]:
    """Log files of each run under `roots`; where two roots hold the same run, the first one's."""
    found: dict[Run, list[Path]] = {}
    for root in roots:
        here: dict[Run, list[Path]] = {}
        for path in sorted(root.glob(f"{scale or '*'}/*/seed*.jsonl.gz")):
            _add(here, root, path, path.name.removesuffix(".jsonl.gz"))
        for path in sorted(root.glob(f"{scale or '*'}/*/seed*/log.*.jsonl"), key=_restart_index):
            _add(here, root, path, path.parent.name)
        found = here | found
    return dict(sorted(found.items()))


def _add(found: dict[Run, list[Path]], root: Path, path: Path, seed_folder: str) -> None:
    seed = seed_folder.removeprefix("seed")
    if seed.isdecimal():
        scale, run = path.relative_to(root).parts[:2]
        found.setdefault(Run(scale, run, int(seed)), []).append(path)


def _restart_index(path: Path) -> int:
    match = _RESTART.fullmatch(path.name)
    return int(match[1]) if match else -1


def needed_by_figures(kind: str, column: str) -> bool:
    """The columns of training and throughput that figures show; those of other kinds are read in full."""
    columns = {
        "train": ("step", "tokens_seen", "loss_nats", "lr", "grad_norm", "clipped", "skipped"),
        "perf": ("step", "tokens_seen", "tokens_per_s"),
    }
    return column in columns.get(kind, ()) or (kind == "train" and column.startswith("loss_nats/"))


def read_run(run: Run, files: Sequence[Path], wanted: Wanted | None = None) -> RunLog:
    """The history in a run's log files, restarts in order. Raises UserError naming a damaged line.

    wanted: the columns to read of the kinds that it knows, which makes long logs fast to read; the segments
    then hold the rows of other kinds only. Default: every column of every row.
    """
    notes: list[str] = []
    segments = [segment for path in files for segment in read_segments(path, notes, wanted)]
    if not segments:
        raise UserError(f"{files[0]}: holds no header row, so nothing was trained; delete it")
    for later, segment in enumerate(segments):
        began_after = segment.began_after()
        if began_after is not None:
            for earlier in segments[:later]:
                earlier.forget_beyond(began_after)
    frames = {kind: make_frame(segments, kind, wanted) for kind in COLUMNS}
    repeated = frames["train"]["step"][frames["train"]["step"].duplicated()]
    if len(repeated):
        notes.append(f"{run}: step {repeated.iloc[0]} is logged twice in one history ({len(repeated)} such)")
    return RunLog(run, segments, notes, **frames)


def script_arguments(doc: str | None, out: str = "output") -> argparse.ArgumentParser:
    """The parser of a script that reads logs of one scale: --scale, --logs, --out; `doc` is its docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", help="full, mini or demo (default: the only one with logs)")
    parser.add_argument("--logs", type=Path, nargs="+", help="roots of logs (default: $ARXIV_RUNS and logs/)")
    parser.add_argument("--out", type=Path, help=f"folder of the {out} (default: analysis/out/<scale>)")
    return parser


def runs_option(parser: argparse.ArgumentParser) -> None:
    """Add --runs, which `read_chosen` reads."""
    parser.add_argument("--runs", help="names with commas between (default: all)")


def read_chosen(args: argparse.Namespace) -> list[RunLog]:
    """The logs that --scale, --logs and --runs ask for. Raises UserError as `read_runs`."""
    return read_runs(log_roots(args.logs), args.scale, args.runs.split(",") if args.runs else None)


def log_roots(given: Sequence[Path] | None) -> Sequence[Path]:
    """Where to look for logs: what --logs gives, else one's own runs and then the published ones."""
    return given or [default_runs_root(), Path("logs")]


def choose_scale(found: Sequence[str], asked: str | None, roots: Sequence[Path]) -> str:
    """The scale to read: the one asked for, else the only one there is. Raises UserError."""
    if asked or len(found) == 1:
        return asked or found[0]
    where = " and ".join(map(str, roots))
    if found:
        raise UserError(f"{where} hold logs of the scales {', '.join(found)}: choose one with --scale")
    raise UserError(f"{where}: no logs here; `make demo` trains a small model and writes some")


def read_runs(roots: Sequence[Path], scale: str | None, runs: Sequence[str] | None) -> list[RunLog]:
    """The logs of some runs (None: all) of one scale, every seed. Raises UserError where a run has none."""
    found = find_runs(roots)
    scale = choose_scale(sorted({run.scale for run in found}), scale, roots)
    of_scale = {run: files for run, files in found.items() if run.scale == scale}
    names = sorted({run.run for run in of_scale})
    missing = [name for name in runs or [] if name not in names]
    if missing or not names:
        where = " and ".join(map(str, roots))
        raise UserError(
            f"{where}: no logs of {', '.join(missing) or 'any run'} at scale {scale}, "
            f"only of {', '.join(names) or 'other scales'}"
        )
    return [read_run(run, files) for run, files in of_scale.items() if run.run in (runs or names)]
