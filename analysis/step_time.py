"""Where the time of training runs went.

    python analysis/step_time.py [--scale full|mini|demo] [--runs run20,run08] [--logs DIR …] [--out DIR]

In: logs under $ARXIV_RUNS (default runs/) and the published ones under logs/; where both hold a run, the
first. Out: analysis/out/<scale>/step_time.md, .csv, .tex, .png and .pdf. The parts of a run sum to 100 % of
the time between its first start and its last row:


    compute      forward, backward and the optimiser's step
    exchange     waits for gradients and weights of other processes that computation does not hide
    data         steps that waited for their batch
    checkpoint   training stood still to copy a checkpoint, or waited for the last one to be written
    validation   training stood still for a validation or for the recipe's instruments
    start        from the opening of the log to the first step
    restarts     between two starts: work after the last checkpoint that was lost, queueing, starting
    other        the rest: writing logs, collecting garbage
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.figures import axes as panel
from analysis.figures import style
from analysis.readers.run_logs import RunLog, read_chosen, runs_option, script_arguments
from analysis.table_text import Table, print_written
from configs.script import UserError, run_main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("compute", "exchange", "data", "checkpoint", "validation", "start", "restarts", "other")
# Dark and light in turn, so that neighbours differ in grey as well.
COLOURS = dict(
    zip(
        PARTS,
        ("#0072B2", "#F0E442", "#009E73", "#E69F00", "#56B4E9", "#6b6b6b", "#D55E00", "#d9d9d9"),
        strict=True,
    )
)


def parts_of(log: RunLog) -> dict[str, float]:
    """Seconds of each of PARTS, which sum to the wall time. Raises UserError without rows of throughput."""
    if log.perf.empty:
        raise UserError(f"{log.run}: its log holds no row of throughput yet")
    seconds = dict.fromkeys(PARTS, 0.0)
    ended_at: pd.Timestamp | None = None
    for restart in sorted(log.perf["restart"].unique()):
        train, perf, event, *validations = (
            frame[frame["restart"] == restart]
            for frame in (log.train, log.perf, log.event, log.val, log.val_own)
        )
        validation = pd.concat(validations)
        rows = pd.concat([train, perf, event, validation])[["wall_s", "time_utc"]].sort_values("wall_s")
        last = rows.iloc[-1]
        began_at = pd.Timestamp(last["time_utc"]) - pd.Timedelta(seconds=float(last["wall_s"]))
        if ended_at is not None:
            seconds["restarts"] += (began_at - ended_at).total_seconds()
        ended_at = pd.Timestamp(last["time_utc"])

        n_steps = perf["step"].diff().fillna(perf["step"].iloc[0] - train["step"].iloc[0] + 1)
        training = float((perf["step_s"] * n_steps).sum())
        data = float((perf["data_wait_s"].fillna(0.0) * n_steps).sum())
        exchange = float((perf["exchange_s"].fillna(0.0) * n_steps).sum())
        validating = _validation_s(pd.concat([train, perf]), validation)
        # The last checkpoint comes after the last row of throughput, which therefore does not count it.
        settled = max(perf["wall_s"].iloc[-1], *validation["wall_s"], train["wall_s"].iloc[-1])
        checkpoint = float(perf["checkpoint_s"].fillna(0.0).sum()) + float(last["wall_s"] - settled)
        before_first = perf["step"] == perf["step"].iloc[0]
        of_first = _validation_s(train[train["step"] < perf["step"].iloc[0]], validation)
        start = float(
            (perf["wall_s"] - perf["step_s"] * n_steps - perf["checkpoint_s"].fillna(0.0))[before_first].iloc[
                0
            ]
            - of_first
        )
        # Rows of throughput come every few steps, so the first interval may hold a little of other things.
        start = max(start, 0.0)
        seconds["compute"] += training - data - exchange
        seconds["data"] += data
        seconds["exchange"] += exchange
        seconds["checkpoint"] += checkpoint
        seconds["validation"] += validating
        seconds["start"] += start
        seconds["other"] += float(last["wall_s"]) - training - checkpoint - validating - start
    return seconds


def _validation_s(before: pd.DataFrame, validation: pd.DataFrame) -> float:
    """Seconds from the newest other row of a validated step to its last row of validation."""
    ended = validation.groupby("step")["wall_s"].max()
    began = before.groupby("step")["wall_s"].max()
    return float((ended - began.reindex(ended.index)).fillna(0.0).sum())


def as_table(runs: dict[str, dict[str, float]]) -> pd.DataFrame:
    """A row for each run: its hours, and the share of each part in percent."""
    rows = []
    for name, seconds in runs.items():
        total = sum(seconds.values())
        shares = {part: 100 * seconds[part] / total for part in PARTS}
        rows.append({"run": name, "hours": total / 3600, **shares})
    return pd.DataFrame(rows)


def as_text(table: pd.DataFrame) -> Table:
    """The table for readers, each part in percent of the run's wall time."""
    rows = [
        (row["run"], f"{row['hours']:.2f}", *(f"{row[part]:.1f}" for part in PARTS))
        for row in table.to_dict("records")
    ]
    header = ("run", "hours", *(f"{part}, %" for part in PARTS))
    return Table("step_time", "Where the time of each run went, in % of its wall time", header, rows)


def draw(table: pd.DataFrame, scale: str) -> "Figure":
    """A bar for each run, from its parts."""
    style.use("report")
    figure, (axes,) = style.new_figure(
        "Where the time went",
        f"{scale} scale; share of a run's wall time",
        "Exchange is what computation does not hide. Restarts: lost work, queueing and starting.",
        heights_in=(0.1 + 0.22 * len(table),),
        left_in=1.2,
        legend_rows=2,
    )
    left = pd.Series(0.0, index=table.index)
    for part in PARTS:
        if table[part].abs().max() >= 0.05:  # below, not even a line of the figure
            axes.barh(table["run"], table[part], left=left, color=COLOURS[part], label=part, height=0.7)
            left += table[part]
    axes.set_ylim(len(table) - 0.5, -0.5)  # the first on top
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of wall time")
    axes.grid(visible=False, axis="y")
    panel.figure_legend(figure, axes, columns=4)
    return figure


def main() -> None:
    """Write the table and the figure."""
    parser = script_arguments(__doc__)
    runs_option(parser)
    args = parser.parse_args()

    logs = read_chosen(args)
    scale = logs[0].run.scale
    table = as_table({f"{log.run.run}, seed {log.run.seed}": parts_of(log) for log in logs})
    out = args.out or Path("analysis/out") / scale
    written = style.save(draw(table, scale), out / "step_time")
    text = as_text(table)
    written += text.write(out)
    print(text.markdown())
    print_written(written)


if __name__ == "__main__":
    run_main(main)
