"""The state of all runs, from their logs.

    python analysis/status.py [--scale full|mini|demo] [--logs DIR] [--watch [SECONDS]]

In: $ARXIV_RUNS (or --logs). Out: a table on the console, and this user's Slurm queue where there is one;
with --watch again and again, until Ctrl-C. `trend` is the training loss from the first step to the last,
`data wait` the share of the time in which a step waited for its batch, `saved` the newest checkpoint.

    done      the run's folder holds DONE
    stopping  it holds STOP, the trainer has not saved and left yet
    running   its last row is recent
    stopped   it saved and left, to be started again
    failed    repeated faults (a loss or gradient that is not finite, spikes) ended it
    silent    none of these: killed, or its machine is gone; started again it goes on from its last checkpoint
"""

import argparse
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures.curves import overall_validation
from analysis.readers.run_logs import Run, RunLog, find_runs, read_run
from configs.loader import UserError, default_runs_root, read_yaml, run_main

# Validation and checkpoints write no rows while they run: a quiet minute is not yet a sign of trouble.
QUIET_S, QUIET_STEPS = 300.0, 20
WATCH_S = 5.0
CLEAR = "\x1b[H\x1b[J"  # of a terminal: to the upper left corner, and erase what follows
HEADER = (
    *("run", "state", "step", "tokens", "of total", "trend", "loss", "val loss", "tokens/s", "data wait"),
    *("saved", "restarts", "last row", "ETA"),
)
MISSING = "–"
TREND_WIDTH = 12  # characters
LEFT = (HEADER.index("run"), HEADER.index("state"), HEADER.index("trend"))
BLOCKS = "▁▂▃▄▅▆▇█"


def state(log: RunLog, folder: Path, age_s: float) -> str:
    """What a run is doing, as the module's docstring lists it; `age_s`: age of its last row."""
    if (folder / "DONE").exists():
        return "done"
    events = log.segments[-1].rows[-1:]
    last_event = events[0].get("event") if events and events[0]["kind"] == "event" else None
    if last_event in ("preempt", "gave_up"):
        return {"preempt": "stopped", "gave_up": "failed"}[last_event]
    step_s = log.perf["step_s"].tail(5).median()
    if age_s > max(QUIET_S, 0.0 if math.isnan(step_s) else QUIET_STEPS * step_s):
        return "silent"
    return "stopping" if (folder / "STOP").exists() else "running"


def describe(log: RunLog, folder: Path, now: datetime) -> tuple[str, ...]:
    """A row of the table."""
    written = max((path.stat().st_mtime for path in folder.glob("log.*.jsonl")), default=0.0)
    times = [row["time_utc"] for segment in log.segments for row in segment.rows[-1:] if "time_utc" in row]
    last = datetime.fromisoformat(times[-1]) if times else datetime.fromtimestamp(written, UTC)
    age_s = max((now - last).total_seconds(), 0.0)
    shown = dict.fromkeys(HEADER, MISSING) | {
        "run": str(log.run),
        "state": state(log, folder, age_s),
        "step": "0",
        "restarts": str(len(log.segments) - 1),
        "last row": ago(age_s),
    }
    if not log.train.empty:
        shown |= progress(log, folder)
    if shown["state"] != "running":
        shown["ETA"] = MISSING
    return tuple(shown.values())


def progress(log: RunLog, folder: Path) -> dict[str, str]:
    """What the newest rows say, by the name of its column."""
    row = log.train.iloc[-1]
    shown = {
        "step": f"{row['step']:,}",
        "tokens": f"{row['tokens_seen'] / 1e6:,.1f} M",
        "trend": sparkline(log.train["loss_nats"].to_list()),
        "loss": f"{row['loss_nats']:.3f}",
    }
    for nats in overall_validation(log.val)["loss_nats"].tail(1):
        shown["val loss"] = f"{nats:.3f}"
    for saved in log.event.loc[log.event["event"] == "checkpoint", "step"].tail(1):
        shown["saved"] = f"{saved:,}"
    total = tokens_total(folder)
    if total:
        shown["of total"] = f"{row['tokens_seen'] / total:.0%}"
    newest = log.perf.tail(5)  # the first steps compile and warm up
    if len(newest):
        speed = newest["tokens_per_s"].median()
        shown["tokens/s"] = f"{speed:,.0f}"
        shown["data wait"] = f"{newest['data_wait_s'].sum() / newest['step_s'].sum():.1%}"
        if total:
            shown["ETA"] = span((total - row["tokens_seen"]) / speed)
    return shown


def sparkline(values: Sequence[float]) -> str:
    """Means of at most TREND_WIDTH parts of a curve, equally long, as blocks between their extremes."""
    n_parts = min(TREND_WIDTH, len(values))
    borders = [len(values) * k // n_parts for k in range(n_parts + 1)]
    parts = [filter(math.isfinite, values[first:end]) for first, end in pairwise(borders)]
    means = [mean(part) for part in map(list, parts) if part]
    if not means:
        return MISSING
    low, reach = min(means), (max(means) - min(means)) or 1.0
    return "".join(BLOCKS[round((height - low) / reach * (len(BLOCKS) - 1))] for height in means)


def tokens_total(folder: Path) -> int | None:
    """Length of a run from the configuration beside its log; None where that is missing."""
    path = folder / "config.yaml"
    total = read_yaml(path).get("recipe", {}).get("tokens_total") if path.exists() else None
    return int(total) if total else None


def ago(seconds: float) -> str:
    """Age of a row."""
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    minutes = round(max(seconds, 0.0) / 60)
    if minutes < 1:
        return "< 1 min"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min"


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in aligned columns, words to the left and numbers to the right."""
    columns = [
        [f"{cell:{'<' if i in LEFT else '>'}{max(map(len, column))}}" for cell in column]
        for i, column in enumerate(zip(*rows, strict=True))
    ]
    return "\n".join("  ".join(cells) for cells in zip(*columns, strict=True))


def queue() -> str:
    """This user's Slurm jobs, "" where there is no Slurm or it does not answer."""
    if shutil.which("squeue") is None:
        return ""
    command = ["squeue", "--me", "--format=%.12i %.10P %.28j %.10T %.12M %.12l %.6D %R"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "squeue does not answer"
    return done.stdout.rstrip() if done.returncode == 0 else done.stderr.strip().partition("\n")[0]


def main() -> None:
    """Print the table."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--scale", help="full, mini or demo (default: all)")
    parser.add_argument("--logs", type=Path, default=default_runs_root(), help="root of runs ($ARXIV_RUNS)")
    parser.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=WATCH_S,
        metavar="SECONDS",
        help=f"show it again after so many seconds (default: {WATCH_S:g})",
    )
    args = parser.parse_args()
    if args.watch is None:
        print(overview(args.logs, args.scale))
        return
    if args.watch <= 0:
        raise UserError(f"--watch {args.watch:g}: more than 0 seconds")
    try:
        while True:
            text = overview(args.logs, args.scale)
            print(
                f"{CLEAR if sys.stdout.isatty() else ''}{datetime.now(UTC):%F %T} UTC\n\n{text}", flush=True
            )
            time.sleep(args.watch)
    except KeyboardInterrupt:  # how a user ends it
        print()


def overview(root: Path, scale: str | None) -> str:
    """The table, what is wrong with logs, and the queue."""
    rows: list[Sequence[str]] = [HEADER]
    problems: list[str] = []
    for run, files in find_runs([root], scale).items():
        rows.append(_row(run, files, problems))
    nothing = f"{root}: no runs here; `make demo` trains a small one"
    parts = [nothing if len(rows) == 1 else table(rows), *problems]
    if jobs := queue():
        parts += ["", jobs]
    return "\n".join(parts)


def _row(run: Run, files: list[Path], problems: list[str]) -> Sequence[str]:
    try:
        log = read_run(run, files)
        problems += log.notes
        return describe(log, files[0].parent, datetime.now(UTC))
    except UserError as error:  # one damaged log must not hide the other runs
        problems.append(str(error))
        return (str(run), "damaged log", *[MISSING] * (len(HEADER) - 2))


if __name__ == "__main__":
    run_main(main)
