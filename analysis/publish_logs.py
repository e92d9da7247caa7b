"""Compact the logs of finished runs into logs/, where git keeps them and the figures are drawn from.

    python analysis/publish_logs.py [--scale full|mini|demo] [--logs DIR] [--out DIR]

In: $ARXIV_RUNS/<scale>/<run>/seed<k>/log.<restart>.jsonl (or --logs) of every run with a DONE file. Out:
logs/<scale>/<run>/seed<k>.jsonl.gz, the restarts one after the other without void rows. Only what is named
here is published: no host names, no paths, no text that a later trainer may add. The same log gives the same
bytes, so publishing again changes nothing.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.readers.run_logs import COLUMNS, Row, RunLog, find_runs, read_run
from configs.script import UserError, default_runs_root, run_main

HEADER = (
    *("kind", "schema_version", "run_id", "title", "scale", "seed", "restart_index", "git_sha", "git_dirty"),
    # Variants; the hashes below say what they held.
    *("data_source", "corpus", "tokenizer", "validation_corpus"),
    *("config_sha256", "data_fingerprint", "val_fingerprint", "tokenizer_sha256", "unique_tokens"),
    *("params_total", "clip_grad_norm", "strategy", "world_size", "micro_batch_size"),
    *("device", "torch_version", "slurm_job_id"),
)


def compact(log: RunLog) -> bytes:
    """The published form of a run's history: gzip of JSON lines, free of dates and names of its own."""
    rows = [row for segment in log.segments for row in (_header(segment.header), *map(public, segment.rows))]
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    return gzip.compress(lines.encode(), compresslevel=9, mtime=0)


def _header(header: Row) -> Row:
    return {key: header[key] for key in HEADER if key in header}


def public(row: Row) -> Row:
    """A row with its known columns and whatever else is a number."""
    known = {"kind", *COLUMNS[row["kind"]]}
    return {
        key: value for key, value in row.items() if key in known or not isinstance(value, str | list | dict)
    }


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write a file through a temporary name, unless it already holds `content`; says whether it did."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return True


def main() -> None:
    """Publish every finished run; say which are not finished."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--scale", help="full, mini or demo (default: all)")
    parser.add_argument("--logs", type=Path, default=default_runs_root(), help="root of runs ($ARXIV_RUNS)")
    parser.add_argument("--out", type=Path, default=Path("logs"), help="default: logs")
    args = parser.parse_args()

    finished = 0
    for run, files in find_runs([args.logs], args.scale).items():
        if not (files[0].parent / "DONE").exists():
            print(f"{run}: not finished, left out")
            continue
        finished += 1
        log = read_run(run, files)
        for note in log.notes:
            print(f"note: {note}")
        path = args.out / run.scale / run.run / f"seed{run.seed}.jsonl.gz"
        content = compact(log)
        verdict = "written" if write_if_changed(path, content) else "unchanged"
        print(f"{path}: {verdict} ({len(log.train):,} steps, {len(content) / 1e6:.2f} MB)")
    if not finished:
        at = f" at scale {args.scale}" if args.scale else ""
        raise UserError(f"{args.logs}: no finished run{at} (one whose folder holds DONE); see make status")


if __name__ == "__main__":
    run_main(main)
