"""Take a run's time, nodes, processes and disk away on a real two-node Slurm: it must come back by itself.

    python -m benchmarks.prove_slurm [--only walltime preemption faults node disk]

Each scenario trains the same small run as an undisturbed job does, two ranks on two nodes, and disturbs it.
Losses, gradient norms, spans of text and final parameters must then equal the undisturbed run's in every bit,
and the final history must hold every step once. The figures are printed and written to
analysis/measurements/prove_slurm.json. The exit code is 1 if anything differs. It needs root, as
slurm/devcluster.sh does.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import record
from configs.script import EXIT_USER_ERROR
from tests.support.comeback import Training, crash, fill, restart_controller, small_disk
from tests.support.slurm import Cluster, awkward_checkout, dev_cluster, wait_until
from tests.support.training import read_rows, write_corpus
from train.checkpoint.load import list_checkpoints

TWO_NODES = ("--nodes=2", "--gres=gpu:a100:1")
ONE_NODE = ("--nodes=1", "--gres=gpu:a100:2")
STEPS = 300
WALLTIME_S = 60  # Slurm's smallest limit
TIMES_THE_LIMIT = 3.5  # how long the run is; 3 is what must be shown
MEGABYTES = 120  # of the small disk: three checkpoints of 10 MB and the logs, and room to fill


class Proof:
    """The cluster, the checkout and the undisturbed runs."""

    def __init__(self, cluster: Cluster, checkout: Path, small: Path) -> None:
        self.cluster, self.checkout, self.small = cluster, checkout, small
        self.start_s = 0.0  # from sbatch to the first step, undisturbed: a part of every recovery
        self._undisturbed: dict[tuple[tuple[str, ...], int], Training] = {}

    def training(
        self, name: str, shape: tuple[str, ...] = TWO_NODES, steps: int = STEPS, root: Path | None = None
    ) -> Training:
        """A run that has not been submitted yet."""
        return Training(self.cluster, self.checkout, name, shape, steps, root)

    def undisturbed(self, shape: tuple[str, ...], steps: int) -> Training:
        """The run that others of this shape are compared with: threads, which round, depend on the shape."""
        if (shape, steps) not in self._undisturbed:
            run = self.training(f"undisturbed {len(self._undisturbed)}", shape, steps)
            began, job = time.monotonic(), run.submit()
            run.wait_for_step(1)
            self.start_s = round(time.monotonic() - began, 1)
            self.cluster.finish(job, self.checkout)
            self._undisturbed[shape, steps] = run
        return self._undisturbed[shape, steps]

    def finish(self, run: Training, job: str) -> None:
        """Wait until the job is done, and compare the run with the undisturbed one."""
        self.cluster.finish(job, self.checkout)
        run.assert_equals(self.undisturbed(run.shape, run.steps))

    # ------------------------------------------------------------ the scenarios

    def walltime(self) -> dict[str, Any]:
        """The time limit passes several times, and no signal announces it.

        Slurm sends signals up to a minute early, which is the whole of this limit. (The scenario `preemption`
        and tests/slurm/test_training.py send the signal.)
        """
        step_s = seconds_of(self.undisturbed(TWO_NODES, STEPS)) / STEPS
        steps = 100 * math.ceil(TIMES_THE_LIMIT * WALLTIME_S / step_s / 100)
        straight_s = seconds_of(self.undisturbed(TWO_NODES, steps))
        assert straight_s >= 3 * WALLTIME_S, f"{steps} steps took only {straight_s} s: the machine is uneven"
        run = self.training("walltime", steps=steps)
        began = time.monotonic()
        job = run.submit("--time=1", "--signal=B:URG@1")
        self.finish(run, job)
        reasons = [past["why"] for past in run.past()]
        assert run.starts() > 3, f"only {run.starts()} starts: the run is too short for this machine"
        return {
            "limit_s": WALLTIME_S,
            "steps": steps,
            "undisturbed_s": straight_s,
            "seconds_in_all": round(time.monotonic() - began),
            "seconds_of_training": seconds_of(run),
            "starts": run.starts(),
            "reasons": reasons,
        }

    def preemption(self) -> dict[str, Any]:
        """A job of a higher priority takes the nodes."""
        run = self.training("preemption")
        job = run.submit()
        run.wait_for_step(30)
        urgent = self.cluster.submit(
            *("--partition=urgent", "--nodes=2", "--gres=gpu:a100:8", "--output=/dev/null", "--wrap=sleep 5"),
            cwd=self.checkout,
        )
        self.cluster.wait(urgent)
        back_s = run.comes_back(1)
        stopped = run.past()[0]
        self.finish(run, job)
        return {"stopped": stopped["why"], "back_after_s": round(back_s, 1), "starts": run.starts()}

    def faults(self) -> dict[str, Any]:
        """Processes, a node and the controller die, one after the other."""
        run = self.training("faults")
        job = run.submit()
        figures: dict[str, Any] = {}

        def strike(what: str, step: int, blow: Callable[[], object]) -> None:
            run.wait_for_step(step)
            starts = run.starts()
            blow()
            figures[what] = {"at_step": run.last_step(), "back_after_s": round(run.comes_back(starts), 1)}
            print(f"  {what}: {figures[what]}", flush=True)

        strike("SIGKILL to a rank", 30, lambda: run.rank("n1", job).kill())
        strike("SIGKILL to torchrun", 70, lambda: run.torchrun("n0", job).kill())
        strike("SIGKILL to a step daemon", 110, lambda: run.step_daemon("n1", job).kill())
        run.wait_for_step(150)
        restart_controller(self.cluster)
        figures["controller restarted"] = {"starts_after": run.starts()}
        strike("a node dies", 190, lambda: crash(self.cluster, "n0", job))
        self.finish(run, job)
        figures["decisions"] = [past["why"] for past in run.past()]
        return figures

    def node(self) -> dict[str, Any]:
        """A rank is stopped and one is killed on the same node, which is then excluded."""
        run = self.training("node", ONE_NODE)
        job = run.submit()
        run.wait_for_step(30)
        first = self.cluster.job(job)["NodeList"]
        run.rank(first, job, 1).suspend()
        began = time.monotonic()
        wait_until(lambda: any(run.folder.glob("attempts/*/hang.json")))
        noticed_s = time.monotonic() - began
        back_s = run.comes_back(1)
        stacks = sorted(path.name for path in run.folder.glob("attempts/*/*.stack.txt"))
        run.wait_for_step(100)
        run.rank(first, job).kill()
        run.comes_back(2)
        second = self.cluster.job(job)["NodeList"]
        assert second != first, f"{first} is to blame for two failures and was used again"
        self.finish(run, job)
        said = f"node {first} is to blame for two failures: the job does not use it again"
        assert said in run.log(job)
        return {
            "noticed_after_s": round(noticed_s, 1),
            "back_after_detection_s": round(back_s, 1),
            "stacks": stacks,
            "nodes": [first, second],
            "decisions": [past["why"] for past in run.past()],
        }

    def disk(self) -> dict[str, Any]:
        """The disk is full, the newest checkpoint is damaged, and a second job wants the same folder."""
        run = self.training("disk", root=self.small)
        job, refused = run.submit_twice()
        run.wait_for_step(90)
        filler = fill(self.small)
        stopped = self.cluster.wait(job)
        assert stopped["ExitCode"] == f"{EXIT_USER_ERROR}:0", f"{stopped['JobState']}, {stopped['ExitCode']}"
        full = run.past()[-1]["why"]
        filler.unlink()
        newest = list_checkpoints(run.folder / "checkpoints")[-1]
        with (newest / "weights.safetensors").open("r+b") as file:
            file.seek(-100, 2)
            file.write(bytes(range(100)))
        again = run.submit()
        self.finish(run, again)
        assert "renamed a damaged checkpoint" in run.log(again)
        return {"second job": refused, "full disk": full, "damaged": newest.name}


def seconds_of(run: Training) -> int:
    """Seconds that a run's starts trained, from its logs."""
    return round(sum(read_rows(run.folder, "train", start)[-1]["wall_s"] for start in range(run.starts())))


SCENARIOS = ("walltime", "preemption", "faults", "node", "disk")


def main() -> int:
    """Prove it; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=SCENARIOS)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with small_disk(folder / "small", MEGABYTES) as small, dev_cluster() as cluster:
            checkout = awkward_checkout(folder)
            write_corpus(checkout / "data" / "demo")
            proof = Proof(cluster, checkout, small)
            for name in arguments.only:
                print(f"{name}:", flush=True)
                try:
                    figures[name] = getattr(proof, name)()
                except AssertionError as error:
                    print(f"not proved: {error}", file=sys.stderr)
                    figures[name] = None
                print(f"{name}: {figures[name]}", flush=True)
            figures["undisturbed_start_s"] = proof.start_s
    if set(arguments.only) == set(SCENARIOS):
        record("prove_slurm", figures, ["torch"])
    return int(None in figures.values())


if __name__ == "__main__":
    sys.exit(main())
