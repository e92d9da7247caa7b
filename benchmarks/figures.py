"""A log of millions of rows, drawn: `python -m benchmarks.figures [--rows 5000000]`.

Writes a made-up log in the trainer's two forms, raw (.jsonl) and published (.jsonl.gz), and draws every
figure of its run from each: `analysis/plot_runs.py` in its own process, whose time and peak memory count.
The reader is compared with `pandas.read_json(lines=True)` on the first tenth of the same log, in the same
minute: pandas would need tens of gigabytes for the whole. Out: analysis/measurements/figures.json.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import record
from tests.support.analysis_logs import header, history

ROOT = Path(__file__).resolve().parents[1]
BAR_S, BAR_GB = 10.0, 1.0
PERF_EVERY, VAL_EVERY_SHARE = 10, 1 / 300  # as the trainer logs: throughput every ten steps
BLOCK = 10_000  # rows written at a time
READERS = {
    "arrays": "from analysis.readers.run_logs import *; "
    "read_run(Run('s', 'run20', 0), [path], needed_by_figures)",
    "pandas": "import pandas; pandas.read_json(path, lines=True)",
}


def write_log(path: Path, n_rows: int, packed: bool) -> int:
    """Write a log with a train row for each step; returns its bytes before compression."""
    n_steps = int(n_rows * PERF_EVERY / (PERF_EVERY + 1))
    separators = (",", ":") if packed else (", ", ": ")
    by_kind = {row["kind"]: row for row in history(1, 1, every=1)}
    forms = {kind: json.dumps(row, separators=separators) for kind, row in by_kind.items()}
    # Each number that a row of its own has: the step, the tokens, losses and norm, all with 16 digits.
    for kind, row in by_kind.items():
        for key in ("step", "tokens_seen", "loss_nats", "grad_norm", "lr", "tokens_per_s", "wall_s"):
            if key in row:
                old = json.dumps({key: row[key]}, separators=separators)[1:-1]
                sign = "d" if key in ("step", "tokens_seen") else ".16f"
                forms[kind] = forms[kind].replace(old, f'"{key}"{separators[1]}%({key}){sign}')
        for domain in ("cs", "math", "physics"):
            old = json.dumps({f"loss_nats/{domain}": row.get(f"loss_nats/{domain}")}, separators=separators)
            new = f'"loss_nats/{domain}"{separators[1]}%({domain}).16f'
            forms[kind] = forms[kind].replace(old[1:-1], new)
    noise = random.Random(0)
    validate_every = max(1, int(n_steps * VAL_EVERY_SHARE))
    path.parent.mkdir(parents=True)
    n_bytes = 0
    with gzip.open(path, "wb", compresslevel=6) if packed else path.open("wb") as file:
        lines = [json.dumps(header(), separators=separators)]
        for step in range(1, n_steps + 1):
            loss = 1.8 + 6 / (1 + step / n_steps * 40) + noise.gauss(0, 0.05)
            values = {"step": step, "tokens_seen": step * 4096, "loss_nats": loss, "wall_s": step * 0.5}
            values |= {"cs": loss + 0.2, "math": loss - 0.1, "physics": loss + 0.1}
            values |= {"grad_norm": abs(noise.gauss(0.8, 0.2)), "lr": 2e-4, "tokens_per_s": 2e4}
            lines.append(forms["train"] % values)
            if step % PERF_EVERY == 0:
                lines.append(forms["perf"] % values)
            if step % validate_every == 0:
                lines.append(forms["val"] % values)
            if len(lines) > BLOCK or step == n_steps:
                content = ("\n".join(lines) + "\n").encode()
                n_bytes += len(content)
                file.write(content)
                lines = []
    return n_bytes


def measured(command: list[str]) -> dict[str, float]:
    """Seconds of wall and processor time and peak memory (GB) of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}: ended with {process.returncode}")
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),  # Linux counts kilobytes
    }


def first_rows(source: Path, target: Path, n_rows: int) -> None:
    """Copy the first rows of a raw log."""
    with source.open("rb") as lines, target.open("wb") as file:
        for _, line in zip(range(n_rows), lines, strict=False):
            file.write(line)


def main() -> None:
    """Print the figures and record them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    n_rows = parser.parse_args().rows
    found: dict[str, object] = {
        "rows": n_rows,
        "load_average": os.getloadavg(),
        "bar": {"wall_s": BAR_S, "peak_gb": BAR_GB},
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            "raw": Path(folder, "raw/synthetic/run20/seed0/log.0.jsonl"),
            "published": Path(folder, "published/synthetic/run20/seed0.jsonl.gz"),
        }
        for form, path in paths.items():
            n_bytes = write_log(path, n_rows, packed=form == "published")
            command = [sys.executable, "analysis/plot_runs.py", "--logs", str(Path(folder, form))]
            drawn = measured([*command, "--out", str(Path(folder, "out"))])
            found[form] = {"file_gb": path.stat().st_size / 1e9, "lines_gb": n_bytes / 1e9, **drawn}
            print(f"{form}: {n_rows:,} rows of {n_bytes / 1e9:.2f} GB drawn: {drawn}", flush=True)
        tenth = Path(folder, "tenth.jsonl")
        first_rows(paths["raw"], tenth, n_rows // 10)
        setup = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pathlib; "
        setup += f"path = pathlib.Path({str(tenth)!r}); "
        idle = measured([sys.executable, "-c", f"{setup} import pandas, numpy"])
        readers = {name: measured([sys.executable, "-c", setup + code]) for name, code in READERS.items()}
        cpu = {name: reader["cpu_s"] - idle["cpu_s"] for name, reader in readers.items()}
        found["reader_on_a_tenth"] = readers | {
            "import_of_pandas_s": idle["cpu_s"],
            "pandas_by_arrays_cpu": round(cpu["pandas"] / cpu["arrays"], 2),
            "pandas_by_arrays_wall": round(
                (readers["pandas"]["wall_s"] - idle["wall_s"])
                / (readers["arrays"]["wall_s"] - idle["wall_s"]),
                2,
            ),
        }
        print(f"reading a tenth: {found['reader_on_a_tenth']}")
    print(f"written: {record('figures', found, ['numpy', 'pandas', 'matplotlib'])}")


if __name__ == "__main__":
    main()
