"""The results of all checks of a run: a line each in node_check.jsonl, and a row in the log of the start."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.ring_model import ALL_GATHER, ALL_REDUCE, Timing, fit, worst_error
from train.node_check.verdict import Report, Verdict

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from train.log import Log

FILE = "node_check.jsonl"


def numbers(reports: Sequence[Report]) -> dict[str, Any]:
    """What a lab wants to compare between starts, from the reports of all processes.

    Speeds and memory are those of the worst process or node. Latency and bandwidth are the ring model's.
    """
    found: dict[str, Any] = {"processes": len(reports), "nodes": len({r["node"] for r in reports})}

    def least(name: str, values: Sequence[float], unit: float) -> None:
        if values:
            found[name] = min(values) / unit

    least("product_tflop_per_s", [r["product"]["flop_per_s"] for r in reports if r.get("product")], 1e12)
    least("memory_gib", [r["memory_bytes"] for r in reports if r.get("memory_bytes") is not None], 2**30)
    least("link_gb_per_s", [r["link_bytes_per_s"] for r in reports if r.get("link_bytes_per_s")], 1e9)
    for place in ("data", "runs"):
        disks = [r["disks"][place] for r in reports if r.get("disks")]
        least(f"{place}_free_gb", [disk["free_bytes"] for disk in disks if "free_bytes" in disk], 1e9)
        least(
            f"{place}_write_mb_per_s", [disk["bytes_per_s"] for disk in disks if "bytes_per_s" in disk], 1e6
        )
    clocks = [r["clock_s"] for r in reports if r.get("clock_s") is not None]
    if clocks:
        found["clock_skew_s"] = max(clocks) - min(clocks)
    first = next((r for r in reports if r.get("collectives")), None)
    if first:
        found["transport"] = first["transport"]
        timings = [Timing(*values) for values in first["collectives"]]
        for kind in (ALL_REDUCE, ALL_GATHER):
            own = [timing for timing in timings if timing.kind == kind]
            try:
                link = fit(own, len(reports))
            except ValueError:  # so disturbed that larger tensors took less time
                continue
            found |= {
                f"{kind}_latency_us": link.latency_s * 1e6,
                f"{kind}_gb_per_s": link.bytes_per_s / 1e9,
                f"{kind}_model_error": worst_error(link, own, len(reports)),
            }
    found["seconds"] = max((r["seconds"] for r in reports), default=0.0)
    return found


def append(folder: Path, reports: Sequence[Report], verdict: Verdict) -> dict[str, Any]:
    """Add this check to the run's history and return its line."""
    line = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **_start(),
        "fit": verdict.is_fit,
        "sick": verdict.sick,
        "shared": verdict.shared,
        "notes": verdict.notes,
        "numbers": numbers(reports),
    }
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")  # one write, so lines of two jobs do not mix
    return line


def of_this_job(folder: Path) -> list[dict[str, Any]]:
    """The checks of this job's starts, in order. Torn lines, of a job that was killed, are skipped."""
    lines = []
    for text in (folder / FILE).read_text(encoding="utf-8").splitlines() if (folder / FILE).is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return [line for line in lines if line.get("slurm_job_id") == _start()["slurm_job_id"]]


def log_node_check(folder: Path, log: "Log", step: int) -> None:
    """Log an event `preflight` with the numbers of this start's check, if there was one."""
    checks = of_this_job(folder) if _start()["slurm_job_id"] else []
    if checks and checks[-1]["slurm_restart"] == _start()["slurm_restart"]:
        excluded = sorted({node for check in checks for node in check["sick"]})
        log.row("event", step, event="preflight", **checks[-1]["numbers"], excluded=",".join(excluded))


def _start() -> dict[str, str | None]:
    """Which start of which job this is."""
    job = os.environ.get("SLURM_JOB_ID")
    return {"slurm_job_id": job, "slurm_restart": os.environ.get("SLURM_RESTART_COUNT", "0") if job else None}
