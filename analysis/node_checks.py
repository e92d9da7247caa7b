"""How healthy the nodes were at each start of a run.

    python analysis/node_checks.py [--scale full|mini|demo] [--runs run20,run08] [--logs DIR …] [--out DIR]

In: the events `preflight` in logs under $ARXIV_RUNS (default runs/) and logs/, which slurm/preflight.sh
measured. Out: analysis/out/<scale>/node_checks.md, .csv, .tex: a row for each start that was checked. Every
figure is that of the worst process or node; latency and bandwidth are the ring model's, per hop.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.readers.run_logs import RunLog, read_chosen, runs_option, script_arguments
from analysis.table_text import Table, print_written
from configs.script import UserError, run_main

SHOWN = {  # field of the event → column, digits after the point
    "nodes": ("nodes", 0),
    "product_tflop_per_s": ("product, TFLOP/s", 2),
    "all_reduce_gb_per_s": ("all-reduce, GB/s", 2),
    "all_reduce_latency_us": ("latency, µs", 0),
    "memory_gib": ("memory, GiB", 0),
    "runs_free_gb": ("free, GB", 0),
    "runs_write_mb_per_s": ("write, MB/s", 0),
    "clock_skew_s": ("clocks, s", 3),
}


def as_table(logs: Sequence[RunLog]) -> Table:
    """A row for each checked start of the runs. Raises UserError if none was checked."""
    rows = []
    for log in logs:
        for event in log.event[log.event["event"] == "preflight"].to_dict("records"):
            values = (event.get(field) for field in SHOWN)
            cells = (
                "–" if value is None or pd.isna(value) else f"{value:,.{digits}f}"
                for value, (_, digits) in zip(values, SHOWN.values(), strict=True)
            )
            start = (f"{log.run.run}, seed {log.run.seed}", str(event["time_utc"])[:16], str(event["step"]))
            rows.append(
                (*start, *cells, str(event.get("transport") or "–"), str(event.get("excluded") or "–"))
            )
    if not rows:
        raise UserError("no start of these runs was checked: slurm/preflight.sh does it, in jobs under Slurm")
    header = ("run", "start, UTC", "step", *(name for name, _ in SHOWN.values()), "transport", "excluded")
    return Table("node_checks", "The nodes at each start, by their worst process or node", header, rows)


def main() -> None:
    """Write the table."""
    parser = script_arguments(__doc__)
    runs_option(parser)
    args = parser.parse_args()
    logs = read_chosen(args)
    table = as_table(logs)
    written = table.write(args.out or Path("analysis/out") / logs[0].run.scale)
    print(table.markdown())
    print_written(written)


if __name__ == "__main__":
    run_main(main)
