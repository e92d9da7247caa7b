"""What the batch shell (slurm/training.sh) calls around an attempt.

    python train/restart/batch.py watch ATTEMPT --ranks 4
    python train/restart/batch.py judge RUN_FOLDER ATTEMPT --code 1 --ended-by "..."

`watch` returns when the attempt must be ended from outside, and prints why. `judge` decides what follows,
says why, and requeues the job if that is the decision. Its exit code is that of the job.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run this checkout's code

from configs.loader import UserError, run_main
from train.restart.attempt import (
    Hang,
    RankState,
    hang_least_s,
    read_hang,
    read_lines,
    read_node_codes,
    read_states,
    report_hang,
)
from train.restart.decide import Ending, Past, decide
from train.slurm_job import job_nodes, requeue_without

LOOK_S = 2.0
# Until the first rank reports: starting Python on a busy file server takes minutes.
START_S = 900.0
END_S = 10.0  # after the last rank's end torchrun and srun need seconds
CONTROLLER_S = 900.0  # until a controller that restarts answers
TELLING_S = 15.0  # for ranks that live: they write their stacks and exit, see watchdog.py


@dataclass
class Watch:
    """What was seen of an attempt until now. Times are seconds of one clock, that of the caller."""

    ranks: int
    least_s: float
    began: float
    _changed: dict[int, tuple[int, float]] = field(default_factory=dict)  # by rank: its beats, since when
    _all_ended: float | None = None
    _one_failed: float | None = None
    _hangs: float | None = None

    def silent(self, states: Sequence[RankState], now: float) -> tuple[int, ...]:
        """Ranks that have not ended and give no sign of life."""
        for state in states:
            if self._changed.get(state.rank, (-1, 0))[0] != state.beats:
                self._changed[state.rank] = (state.beats, now)
        quiet = {rank for rank, (_, since) in self._changed.items() if now - since > self.least_s}
        return tuple(state.rank for state in states if state.code is None and state.rank in quiet)

    def look(self, states: Sequence[RankState], hang: Hang | None, now: float) -> tuple[str, bool]:
        """(why training does not go on, if so; whether the attempt must be ended now)."""
        if hang:
            self._hangs = now if self._hangs is None else self._hangs
            return hang.why, now - self._hangs > TELLING_S
        if not states and now - self.began > START_S:
            return f"no rank has started within {START_S:.0f} s", True
        if silent := self.silent(states, now):
            named = f"rank {', '.join(map(str, silent))}"
            return f"no sign of life of {named} for {self.least_s:.0f} s", len(silent) == self.ranks
        if len(states) == self.ranks and all(state.code is not None for state in states):
            self._all_ended = now if self._all_ended is None else self._all_ended
            if now - self._all_ended > END_S:
                return "all ranks have ended, but srun has not (is a step daemon dead?)", True
        if any(state.code == 1 for state in states):
            self._one_failed = now if self._one_failed is None else self._one_failed
            if now - self._one_failed > self.least_s:
                return "a rank has failed and the others have not ended", True
        return "", False


def watch(arguments: argparse.Namespace) -> None:
    """Return when the attempt must be ended, and print why."""
    seen = Watch(arguments.ranks, hang_least_s(), time.monotonic())
    while True:
        time.sleep(LOOK_S)
        states = read_states(arguments.attempt)
        why, end = seen.look(states, read_hang(arguments.attempt), time.monotonic())
        if end:
            print(why)
            return
        if why:  # the ranks that live write their stacks now
            step = max(state.step for state in states)
            report_hang(arguments.attempt, Hang(step=step, why=why))


def judge(arguments: argparse.Namespace) -> int:
    """Decide, write the decision to history.jsonl, carry it out, and return the exit code."""
    folder, attempt = arguments.folder, arguments.attempt
    states, hang = read_states(attempt), read_hang(attempt)
    ending = Ending(
        attempt=attempt.name,
        states=states,
        code=arguments.code,
        stop_asked=(attempt / "STOP").exists(),
        saved=_newest_checkpoint(folder),
        nodes=job_nodes(),
        node_codes=read_node_codes(attempt),
        ended_by=arguments.ended_by,
        hang=hang,
        silent=tuple(state.rank for state in states if state.code is None) if hang else (),
    )
    journal = folder / "attempts" / "history.jsonl"
    verdict = decide(ending, [Past.model_validate(line) for line in read_lines(journal)])
    with journal.open("a") as file:
        file.write(verdict.past.model_dump_json() + "\n")
    what = "requeued" if verdict.requeue else f"exit code {verdict.code}"
    print(f"attempt {attempt.name}: {verdict.past.outcome}: {verdict.past.why}: {what}", file=sys.stderr)
    for node in verdict.exclude:
        print(f"node {node} is to blame for two failures: the job does not use it again", file=sys.stderr)
    if verdict.requeue:
        _requeue(verdict.exclude)
    return verdict.code


def _requeue(exclude: Sequence[str]) -> None:
    """Requeue this job. A controller that restarts answers again after a while."""
    deadline = time.monotonic() + CONTROLLER_S
    while True:
        try:
            return requeue_without(exclude)
        except UserError:
            if time.monotonic() > deadline:
                raise
        time.sleep(LOOK_S)


def _newest_checkpoint(folder: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    return max((int(p.name.removeprefix("step_")) for p in folder.glob("checkpoints/step_*[0-9]")), default=0)


def main() -> int:
    """Do what the first argument says; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parsers = parser.add_subparsers(dest="what", required=True)
    watching = parsers.add_parser("watch")
    watching.add_argument("attempt", type=Path)
    watching.add_argument("--ranks", type=int, required=True)
    judging = parsers.add_parser("judge")
    judging.add_argument("folder", type=Path)
    judging.add_argument("attempt", type=Path)
    judging.add_argument("--code", type=int, required=True)
    judging.add_argument("--ended-by", default="")
    arguments = parser.parse_args()
    if arguments.what == "judge":
        return judge(arguments)
    watch(arguments)
    return 0


if __name__ == "__main__":
    run_main(main)
