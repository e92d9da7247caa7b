"""Preprocessing of this checkout beside that of an earlier commit, on the same real papers in the same run.

    ARXIV_REAL=/data/arxiv-real make bench-before COMMIT=05e36e2

Both sides turn the archives into the split corpus with one worker, alternately, as their `make preprocess`
does: the earlier one, if it has no all_stages.py, a script for each stage. The CPU seconds include the start.
The two stages from the archives to Parquet files of clean text are measured by their own scripts, too, less
what these take when they find everything finished, which is the cost of starting. Out: the ratios, in
analysis/measurements/before.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.corpus import METADATA, ROOT, tex_bytes
from benchmarks.measure import record
from configs.loader import UserError, run_main
from configs.stages import CORPUS_STAGES

CLEANING = ("extract_latex", "normalize_text")  # from the archives to Parquet files of clean text


def cpu_seconds(checkout: Path, commands: list[list[Any]]) -> float:
    """CPU seconds of scripts of a checkout, one after the other. Raises UserError if one fails."""
    total = 0.0
    for command in commands:
        words = [sys.executable, *map(str, command)]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(words, cwd=checkout, stdout=said, stderr=said)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            if process.returncode:
                raise UserError(f"{checkout}/{command[0]} failed:\n{said.read().decode()[-2000:]}")
        total += usage.ru_utime + usage.ru_stime
    return total


def measure(checkout: Path, data: Path, real: Path) -> tuple[float, float]:
    """CPU seconds of (all stages up to the split corpus, the two of CLEANING without their start)."""
    flags = ["--src", real / "src", "--metadata", real / METADATA, "--workers", 1, "--data"]
    scripts = {stage: [f"preprocess/{stage}.py", *flags, data / "scripts"] for stage in CORPUS_STAGES}
    everything = [[*script[:-1], data / "all"] for script in scripts.values()]
    if (checkout / "preprocess/all_stages.py").is_file():
        everything = [["preprocess/all_stages.py", *flags, data / "all", "--until", CORPUS_STAGES[-1]]]
    total = cpu_seconds(checkout, everything)
    cpu_seconds(checkout, [scripts[stage] for stage in CORPUS_STAGES[: CORPUS_STAGES.index(CLEANING[0])]])
    cleaning = [scripts[stage] for stage in CLEANING]
    return total, cpu_seconds(checkout, cleaning) - cpu_seconds(checkout, cleaning)


def main() -> None:
    """Measure both sides alternately, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commit", required=True, help="the earlier commit")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    args = parser.parse_args()
    if "ARXIV_REAL" not in os.environ:
        raise UserError("ARXIV_REAL names no folder of real papers (see README, 'Develop')")
    real = Path(os.environ["ARXIV_REAL"])
    tex_mb = tex_bytes(real / "src") / 1e6
    rounds = []
    with tempfile.TemporaryDirectory(prefix="bench-before-") as scratch:
        earlier = Path(scratch, "checkout")
        worktree = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*worktree, "add", "-q", "--detach", str(earlier), args.commit], check=True)
        try:
            for number in range(args.rounds):
                before, cleaning_before = measure(earlier, Path(scratch, f"before{number}"), real)
                now, cleaning_now = measure(ROOT, Path(scratch, f"now{number}"), real)
                rounds.append(
                    {
                        "before_cpu_s": round(before, 2),
                        "now_cpu_s": round(now, 2),
                        "cleaning_before_cpu_s": round(cleaning_before, 2),
                        "cleaning_now_cpu_s": round(cleaning_now, 2),
                    }
                )
                print(
                    f"{rounds[-1]}: {before / now:.2f} times as fast, cleaning "
                    f"{cleaning_before / cleaning_now:.2f} times",
                    flush=True,
                )
        finally:
            subprocess.run([*worktree, "remove", "--force", str(earlier)], check=True)
    figures = {
        "commit": args.commit,
        "tex_mb": round(tex_mb, 1),
        "rounds": rounds,
        "ratio": round(median(r["before_cpu_s"] / r["now_cpu_s"] for r in rounds), 2),
        "cleaning_ratio": round(
            median(r["cleaning_before_cpu_s"] / r["cleaning_now_cpu_s"] for r in rounds), 2
        ),
        "tex_mb_per_cpu_s": round(tex_mb / median(r["now_cpu_s"] for r in rounds), 1),
    }
    print(
        f"{figures['ratio']} times as fast, cleaning {figures['cleaning_ratio']} times, "
        f"{figures['tex_mb_per_cpu_s']} MB of TeX a CPU second"
    )
    print(record("before", figures, ("pyarrow", "numpy")))


if __name__ == "__main__":
    run_main(main)
