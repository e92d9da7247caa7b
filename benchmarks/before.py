"""Preprocessing of this checkout beside that of an earlier commit, on the same real papers in the same run.

    ARXIV_REAL=/data/arxiv-real make bench-before COMMIT=05e36e2

Both sides turn the archives into the split corpus with one worker, alternately, as their `make preprocess`
does: the earlier one, if it has no all_stages.py, a script for each stage. Out: the ratio of the CPU seconds,
start-up included, in analysis/measurements/before.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.corpus import METADATA, ROOT, tex_bytes
from benchmarks.measure import record
from configs.loader import UserError, run_main
from configs.stages import CORPUS_STAGES


def cpu_seconds(checkout: Path, data: Path, real: Path) -> float:
    """CPU seconds of all stages up to the split corpus. Raises UserError if one fails."""
    flags = ["--data", data, "--src", real / "src", "--metadata", real / METADATA, "--workers", 1]
    commands = [[f"preprocess/{stage}.py", *flags] for stage in CORPUS_STAGES]
    if (checkout / "preprocess/all_stages.py").is_file():
        commands = [["preprocess/all_stages.py", *flags, "--until", CORPUS_STAGES[-1]]]
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
                before = cpu_seconds(earlier, Path(scratch, f"before{number}"), real)
                now = cpu_seconds(ROOT, Path(scratch, f"now{number}"), real)
                rounds.append({"before_cpu_s": round(before, 2), "now_cpu_s": round(now, 2)})
                print(f"{rounds[-1]}: {before / now:.2f} times as fast", flush=True)
        finally:
            subprocess.run([*worktree, "remove", "--force", str(earlier)], check=True)
    figures = {
        "commit": args.commit,
        "tex_mb": round(tex_mb, 1),
        "rounds": rounds,
        "ratio": round(median(r["before_cpu_s"] / r["now_cpu_s"] for r in rounds), 2),
        "tex_mb_per_cpu_s": round(tex_mb / median(r["now_cpu_s"] for r in rounds), 1),
    }
    print(f"{figures['ratio']} times as fast, {figures['tex_mb_per_cpu_s']} MB of TeX a CPU second")
    print(record("before", figures, ("pyarrow", "numpy")))


if __name__ == "__main__":
    run_main(main)
