"""Kill a study at random moments and continue it: part four of `make prove-resume`.

    python -m benchmarks.prove_study --kills 5

A study of three runs, one of them with a tokenizer of its own, is made twice from the same raw archives: once
without a kill, once with SIGKILL at random moments, in turn to the study alone and to all its processes. The
first kill falls into the making of corpus and tokens, the others into training. After each kill no process of
the study may live on, and the same command continues. In the end both studies must hold the same rows of
training and validation, in every bit. The exit code is 1 if anything differs.
"""

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from analysis.readers.run_logs import find_runs, read_run
from tests.support.training import ROOT, kill_family
from train.study_tasks import last_rows

RUNS = ("run08", "run20", "run23")
STEPS = 60
OVERRIDES = ("tokens_total=61440", "checkpoint_every_tokens=10240")  # 60 steps, a checkpoint after every 10
DIES_S = 60  # within which orphans must have ended
COLUMNS = {
    "train": ["step", "loss_nats", "grad_norm", "lr", "span_hash"],
    "val": ["step", "domain", "loss_nats", "n_tokens", "n_bytes"],
    "val_document": ["step", "domain", "document", "loss_nats"],
}


class Study:
    """A study with its data and run folders below `folder`."""

    def __init__(self, folder: Path, raw: Path) -> None:
        self.folder = folder
        shutil.copytree(raw, folder / "data" / "raw")

    def start(self) -> "subprocess.Popen[bytes]":
        """Start or continue it, in the background."""
        places = {"--data": self.folder / "data", "--out-root": self.folder / "runs"}
        values = places | {"--scale": "demo", "--runs": " ".join(RUNS), "--jobs": 2}
        words = map(str, itertools.chain(*values.items()))
        command = [sys.executable, "train/study.py", *words, *OVERRIDES]
        with (self.folder / "study.out").open("ab") as output:
            return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    def steps_done(self) -> int:
        """Steps in the newest log of each run, summed over the runs."""
        folders = [self.folder / "runs" / "demo" / run / "seed0" for run in RUNS]
        return sum(last_rows(folder).get("train", {}).get("step", 0) for folder in folders)

    def finish(self) -> None:
        """Continue it to its end. Raises RuntimeError if it fails."""
        if self.start().wait():
            raise RuntimeError(
                f"{self.folder}: the study failed:\n{(self.folder / 'study.out').read_text()[-4000:]}"
            )

    def kill(self, after: float, in_training: bool, alone: bool) -> str:
        """Start it and kill it after so many seconds of preparing or steps of training; say where.

        Raises AssertionError if it ends before, or if a process of it lives on.
        """
        study = self.start()
        began = time.monotonic()
        while (self.steps_done() if in_training else time.monotonic() - began) < after:
            assert study.poll() is None, (
                f"the study ended before it could be killed: {self.folder / 'study.out'}"
            )
            time.sleep(0.02)
        family = psutil.Process(study.pid).children(recursive=True)
        if alone:
            study.kill()
            study.wait()
        else:
            kill_family(study)
        _, alive = psutil.wait_procs(family, timeout=DIES_S)
        assert not alive, f"processes lived on: {[process.cmdline() for process in alive]}"
        where = (
            f"step {self.steps_done()} of {STEPS * len(RUNS)}" if in_training else f"{after:.0f} s, preparing"
        )
        return f"{'the study alone' if alone else 'all processes'} at {where}"

    def rows(self) -> dict[str, list[list[object]]]:
        """The final history of each run: its rows of training and validation."""
        found = {}
        for run, files in find_runs([self.folder / "runs"]).items():
            log = read_run(run, files)
            for kind, columns in COLUMNS.items():
                found[f"{run} {kind}"] = getattr(log, kind)[columns].to_numpy().tolist()
        return found


def main() -> int:
    """Make both studies and compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="prove-study-") as temporary:
        raw = Path(temporary, "raw")
        sample = [sys.executable, "preprocess/sample_corpus.py", "--out", str(raw)]
        subprocess.run(sample, cwd=ROOT, check=True, capture_output=True)
        straight, killed = Study(Path(temporary, "straight"), raw), Study(Path(temporary, "killed"), raw)
        straight.finish()
        moments = sorted(generator.sample(range(1, STEPS * len(RUNS) - len(RUNS)), arguments.kills - 1))
        try:
            print(
                f"killed: {killed.kill(generator.uniform(1, 15), in_training=False, alone=True)}", flush=True
            )
            for number, moment in enumerate(moments):
                print(f"killed: {killed.kill(moment, in_training=True, alone=number % 2 > 0)}", flush=True)
            killed.finish()
            ours, theirs = killed.rows(), straight.rows()
            assert ours.keys() == theirs.keys(), f"other runs: {ours.keys() ^ theirs.keys()}"
            differing = [name for name in ours if ours[name] != theirs[name]]
            assert not differing, f"rows differ: {', '.join(differing)}"
            assert all(ours.values()), "a run without rows"
        except AssertionError as error:
            print(f"not proved: {error}", file=sys.stderr)
            return 1
    n_rows = sum(map(len, ours.values()))
    print(f"{arguments.kills} kills: all {n_rows:,} rows of {len(RUNS)} runs as without a kill")
    return 0


if __name__ == "__main__":
    sys.exit(main())
