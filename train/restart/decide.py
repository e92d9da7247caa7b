"""Decide what follows an attempt to train: nothing here reads a file or a clock."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from configs.loader import EXIT_LAW_BROKEN, EXIT_REQUEUE, EXIT_USER_ERROR, Config
from train.restart.attempt import Hang, RankState

MAX_STARTS_WITHOUT_PROGRESS = 5
FAILURES_TO_EXCLUDE_A_NODE = 2
# A step hangs if it takes 10 x the median: validation and checkpoints do not count as steps, and a slow file
# server or a neighbour's load does not slow a step down that much. Fewer steps say too little.
HANG_TIMES_MEDIAN, MEASURED_STEPS = 10, 5
# What torch says on a rank whose peer has died: the fault is not on this rank's node.
PEER_IS_LOST = (
    "Connection closed",
    "Connection reset",
    "DistNetworkError",
    "DistBackendError",
    "gloo",
    "NCCL",
)

Outcome = Literal["finished", "stopped", "refused", "failed"]


class Past(Config):
    """One line of history.jsonl: an attempt that ended."""

    attempt: str
    outcome: Outcome
    step: int  # the step at which it ended
    saved: int  # the newest checkpoint's step, then
    node: str = ""  # the node that is to blame for a failure
    why: str


@dataclass(frozen=True)
class Ending:
    """All that is known when an attempt has ended."""

    attempt: str
    states: Sequence[RankState]
    code: int  # srun's exit code
    stop_asked: bool  # by Slurm, through the batch shell
    saved: int
    nodes: Sequence[str]  # those of the job
    node_codes: dict[str, int]  # torchrun's exit codes of those that answered, the first failure first
    ended_by: str = ""  # why the batch shell ended it; empty if it ended by itself
    hang: Hang | None = None
    silent: tuple[int, ...] = ()  # ranks that gave no sign of life while others did


@dataclass(frozen=True)
class Verdict:
    """What the batch shell does now."""

    past: Past
    code: int  # its exit code
    requeue: bool
    exclude: tuple[str, ...]  # nodes that the job must not use again


def step_limit_s(steps_s: Sequence[float], at_least_s: float) -> float | None:
    """How long a step may take, from the durations of earlier ones; None while they are too few."""
    if len(steps_s) < MEASURED_STEPS:
        return None
    return max(at_least_s, HANG_TIMES_MEDIAN * median(steps_s))


def stop_margin_s(job_s: float, step_s: float, pause_s: float) -> float:
    """How long before the end of a job of `job_s` a run stops by itself, should no signal have come.

    Two of the longest steps and pauses (checkpoint, validation), and 5 minutes at least, since a checkpoint
    is written after its pause: later than the signal of the sbatch files, 10 minutes before the end. A short
    job keeps three quarters of its time.
    """
    return min(max(300.0, 2 * (step_s + pause_s)), job_s / 4)


def ranks_behind(states: Sequence[RankState], silent: Collection[int]) -> tuple[int, ...]:
    """The ranks for which all others wait; empty if all stand at the same place.

    A rank that gives no sign of life is behind wherever it stands, because it marks its place beforehand.
    """
    running = [state for state in states if state.code in (None, 1)]
    if mute := tuple(state.rank for state in running if state.rank in silent):
        return mute
    places = {state.rank: (state.step, state.marks) for state in running}
    last = min(places.values(), default=(0, 0))
    behind = tuple(rank for rank, place in places.items() if place == last)
    return behind if len(behind) < len(places) else ()


def describe_behind(states: Sequence[RankState], silent: Collection[int]) -> str:
    """Who is behind, in words."""
    behind = ranks_behind(states, silent)
    if not behind:
        return "no rank is behind the others: their stacks tell where they wait"
    words = []
    for state in (state for state in states if state.rank in behind):
        mute = ", gives no sign of life" if state.rank in silent else ""
        words.append(f"rank {state.rank} on {state.node} (step {state.step}, {state.doing}{mute})")
    return f"behind: {', '.join(words)}"


def node_to_blame(ending: Ending) -> str:
    """The one node on which a failure began; empty if it cannot be told or the job has no other."""
    if absent := [node for node in ending.nodes if node not in ending.node_codes]:
        return absent[0] if len(absent) == 1 else ""
    own = _own_errors(ending.states)
    if ending.hang:
        behind = ranks_behind(ending.states, ending.silent)
        own = [state for state in ending.states if state.rank in behind]
    elif own and len(ending.nodes) == 1 and not any("CUDA" in state.reason for state in own):
        return ""  # an error of Python on the only node: rather the program's fault
    if len(nodes := {state.node for state in own}) == 1:
        return nodes.pop()
    # A killed rank or a dead node leaves no reason. If srun has ended others as well, the torchrun of the
    # killed rank was the first to fail.
    gone = {state.node for state in ending.states if state.code is None}
    if len(gone) == 1:
        return gone.pop()
    return next((node for node, code in ending.node_codes.items() if code), "")


def decide(ending: Ending, history: Sequence[Past]) -> Verdict:
    """Whether the job starts again, and why (not)."""
    states = ending.states
    codes = [state.code for state in states]
    step = max((state.step for state in states), default=0)

    job = ending.attempt.partition(".")[0]
    history = [past for past in history if past.attempt.partition(".")[0] == job]  # a new job is a new chance

    def verdict(outcome: Outcome, code: int, why: str, node: str = "", requeue: bool = False) -> Verdict:
        past = Past(
            attempt=ending.attempt, outcome=outcome, step=step, saved=ending.saved, node=node, why=why
        )
        return Verdict(past, code, requeue, nodes_to_exclude([*history, past]) if requeue else ())

    main = next((state for state in states if state.rank == 0), None)
    if main and main.code == 0:
        return verdict("finished", 0, "finished")
    for code in (EXIT_USER_ERROR, EXIT_LAW_BROKEN):
        told = (state.reason for state in states if state.code == code)
        said = next(told, "the first 'error:' above says why")
        if code in codes or (not states and ending.code == code):
            return verdict("refused", code, said)
    if EXIT_REQUEUE in codes:
        asked = next((state.reason for state in states if state.code == EXIT_REQUEUE and state.reason), "")
        if not ending.stop_asked and not asked:
            return verdict("stopped", EXIT_REQUEUE, "stopped by the file STOP: submit it again to go on")
        asked = asked or "Slurm asked"
        again = verdict("stopped", EXIT_REQUEUE, f"stopped at step {step}: {asked}", requeue=True)
    else:
        node = node_to_blame(ending)
        again = verdict("failed", EXIT_REQUEUE, _why_failed(ending, step), node, requeue=True)
        last = next((past for past in reversed(history) if past.outcome == "failed"), None)
        if step and last and last.step == step:
            return verdict("failed", 1, f"failed twice at step {step}: {again.past.why}", node)
    starts = _starts_without_progress([*history, again.past])
    if starts >= MAX_STARTS_WITHOUT_PROGRESS:
        return verdict(
            "failed", 1, f"{starts} starts without a new checkpoint: {again.past.why}", again.past.node
        )
    return again


def nodes_to_exclude(history: Sequence[Past]) -> tuple[str, ...]:
    """Nodes that are to blame for two failures or more, by name."""
    blamed = [past.node for past in history if past.node]
    return tuple(sorted({node for node in blamed if blamed.count(node) >= FAILURES_TO_EXCLUDE_A_NODE}))


def _starts_without_progress(history: Sequence[Past]) -> int:
    """How many of the last attempts ended with the same newest checkpoint as the one before them."""
    count = 0
    for before, past in zip(reversed([None, *history[:-1]]), reversed(history), strict=True):
        if past.saved > (before.saved if before else 0):
            break
        count += 1
    return count


def _own_errors(states: Sequence[RankState]) -> list[RankState]:
    """The ranks that crashed for a reason of their own, not because a peer was lost."""
    crashed = [state for state in states if state.code == 1]
    return [state for state in crashed if not any(words in state.reason for words in PEER_IS_LOST)]


def _why_failed(ending: Ending, step: int) -> str:
    """What is known about a failure, in a sentence."""
    crashed = [state for state in ending.states if state.code == 1]
    own = _own_errors(crashed)
    gone = [state for state in ending.states if state.code is None]
    if hang := ending.hang:
        told = (state.reason for state in ending.states if state.reason.startswith(hang.why))
        what = next(told, f"{hang.why}; {describe_behind(ending.states, ending.silent)}")
    elif own:
        what = f"rank {own[0].rank} on {own[0].node}: {own[0].reason}"
    elif gone and len(gone) < len(ending.states):
        what = f"{', '.join(f'rank {s.rank} on {s.node}' for s in gone)} ended without a word (killed?)"
    elif crashed:
        what = f"rank {crashed[0].rank} on {crashed[0].node}: {crashed[0].reason}"
    elif not ending.states:
        what = f"no rank has started (srun's exit code {ending.code})"
    else:
        what = f"all ranks ended without a word (srun's exit code {ending.code})"
    return f"step {step}: {what}{f'; {ending.ended_by}' if ending.ended_by and not ending.hang else ''}"
