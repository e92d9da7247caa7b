"""What follows an attempt: finished, requeued or given up, and which node is to blame."""

import pytest

from train.restart.attempt import Hang, RankState
from train.restart.batch import END_S, START_S, TELLING_S, Watch
from train.restart.decide import (
    MAX_STARTS_WITHOUT_PROGRESS,
    MEASURED_STEPS,
    Ending,
    Past,
    Verdict,
    decide,
    ranks_behind,
    step_limit_s,
    stop_margin_s,
)

LOST = "RuntimeError: Connection closed by peer"


def rank(number: int, code: int | None = None, reason: str = "", step: int = 7, marks: int = 1) -> RankState:
    """Ranks 0 and 1 are on n0, ranks 2 and 3 on n1."""
    return RankState(
        rank=number, node=f"n{number // 2}", pid=1, step=step, marks=marks, code=code, reason=reason
    )


def end(*states: RankState, job: str = "9.1", **facts: object) -> Ending:
    plain = {
        "code": 1,
        "stop_asked": False,
        "saved": 5,
        "nodes": ("n0", "n1"),
        "node_codes": {"n0": 0, "n1": 0},
    }
    return Ending(attempt=job, states=states, **(plain | facts))  # type: ignore[arg-type]


def failed(step: int, saved: int, node: str = "", attempt: str = "9.0") -> Past:
    return Past(attempt=attempt, outcome="failed", step=step, saved=saved, node=node, why="before")


def judged(verdict: Verdict) -> tuple[str, int, bool]:
    return verdict.past.outcome, verdict.code, verdict.requeue


class TestWhatFollows:
    @pytest.mark.parametrize(
        ("ending", "expected"),
        [
            (end(rank(0, 0), rank(1, 0), code=0), ("finished", 0, False)),
            (end(rank(0, 0), rank(1, 0), code=137), ("finished", 0, False)),  # srun killed after the end
            (end(rank(0, 2, "no tokens"), rank(1, 2, "no tokens")), ("refused", 2, False)),
            (end(rank(0, 3, "law"), rank(1)), ("refused", 3, False)),
            (end(code=2), ("refused", 2, False)),  # a node's check
            (end(rank(0, 75), rank(1, 75), stop_asked=True), ("stopped", 75, True)),
            (end(rank(0, 75), rank(1, 75, "SIGTERM")), ("stopped", 75, True)),
            (end(rank(0, 75), rank(1, 75)), ("stopped", 75, False)),  # by the user's file STOP
            (end(rank(0, 1, LOST), rank(1)), ("failed", 75, True)),
            (end(rank(0, 1, LOST), rank(1), stop_asked=True), ("failed", 75, True)),
            (end(code=233), ("failed", 75, True)),
        ],
        ids=(
            "finished finished-then-killed user-error law-broken node-refused slurm-asked SIGTERM STOP"
            " rank-killed killed-while-stopping never-started"
        ).split(),
    )
    def test_of_an_ending(self, ending: Ending, expected: tuple[str, int, bool]) -> None:
        assert judged(decide(ending, [])) == expected

    def test_of_two_failures_at_one_step(self) -> None:
        verdict = decide(end(rank(0, 1, "ValueError: bad"), rank(1, 1, LOST)), [failed(step=7, saved=4)])
        assert judged(verdict) == ("failed", 1, False)
        assert "failed twice at step 7" in verdict.past.why
        assert "ValueError: bad" in verdict.past.why

    def test_of_a_failure_at_another_step(self) -> None:
        assert decide(end(rank(0, 1, LOST), rank(1)), [failed(step=6, saved=4)]).requeue

    def test_a_new_job_is_a_new_chance(self) -> None:
        assert decide(end(rank(0, 1, LOST), rank(1)), [failed(7, 4, attempt="8.0")]).requeue

    def test_starts_without_a_new_checkpoint_are_counted(self) -> None:
        history: list[Past] = []
        while (verdict := decide(end(rank(0, 1, LOST, step=9 + len(history))), history)).requeue:
            history.append(verdict.past)
        # The first of them had a new checkpoint; the starts that follow it are the ones without.
        assert len(history) == MAX_STARTS_WITHOUT_PROGRESS
        assert judged(verdict) == ("failed", 1, False)
        assert "5 starts without a new checkpoint" in verdict.past.why

    def test_progress_starts_the_count_again(self) -> None:
        history = [failed(step, saved=5) for step in range(20, 23 + MAX_STARTS_WITHOUT_PROGRESS)]
        assert decide(end(rank(0, 1, LOST), saved=6), history).requeue


class TestBlame:
    """The node on which a failure began."""

    @pytest.mark.parametrize(
        ("ending", "node"),
        [
            (end(rank(0), rank(1), rank(2), rank(3), node_codes={"n1": 1, "n0": 1}), "n1"),
            (end(rank(0, 1, LOST), rank(2), node_codes={"n0": 1, "n1": 0}), "n1"),
            (end(rank(0, 1, LOST), rank(2, 1, "AcceleratorError: CUDA error: ECC")), "n1"),
            (end(rank(0, 1, LOST), node_codes={"n0": 1}), "n1"),  # n1 has not answered
            (end(rank(0, 1), rank(2), hang=Hang(step=7, why=""), silent=(2,)), "n1"),
            (end(rank(0, 1), rank(2, 1, marks=0), hang=Hang(step=7, why="")), "n1"),
            (end(rank(0, 1, "ValueError"), rank(2, 1, "ValueError"), nodes=("n0", "n1")), ""),
            (end(rank(0, 1, "ValueError"), nodes=("n0",), node_codes={"n0": 1}), ""),
            (end(rank(0), rank(1), nodes=("n0",), node_codes={"n0": 1}), "n0"),
            (end(rank(0, 1, LOST), rank(1), nodes=("n0",), node_codes={"n0": 1}), "n0"),
        ],
        ids=(
            "killed-rank dead-node ECC absent silent behind everywhere program all-killed killed-alone"
        ).split(),
    )
    def test_of_an_ending(self, ending: Ending, node: str) -> None:
        assert decide(ending, []).past.node == node

    def test_a_second_failure_excludes_the_node(self) -> None:
        ending = end(rank(0, 1, LOST), rank(2))
        assert decide(ending, []).exclude == ()
        assert decide(ending, [failed(3, 2, "n0")]).exclude == ()
        assert decide(ending, [failed(3, 2, "n1")]).exclude == ("n1",)


class TestRanksBehind:
    def test_the_one_that_gives_no_sign_of_life(self) -> None:
        assert ranks_behind([rank(0, marks=1), rank(1, marks=2)], silent=[1]) == (1,)

    def test_the_one_at_the_earlier_place(self) -> None:
        assert ranks_behind([rank(0, marks=2), rank(1, marks=1), rank(2, marks=2)], silent=[]) == (1,)

    def test_nobody_if_all_wait_for_each_other(self) -> None:
        assert ranks_behind([rank(0), rank(1)], silent=[]) == ()


class TestLimits:
    def test_the_first_steps_have_none(self) -> None:
        assert step_limit_s([1.0] * (MEASURED_STEPS - 1), 60) is None

    def test_a_minute_or_ten_times_the_median(self) -> None:
        assert step_limit_s([1.0] * 9, 60) == 60
        assert step_limit_s([20.0] * 5 + [500.0], 60) == 200

    def test_a_day_leaves_five_minutes_and_a_minute_a_quarter(self) -> None:
        assert stop_margin_s(86_400, 4, 20) == 300
        assert stop_margin_s(86_400, 100, 200) == 600
        assert stop_margin_s(60, 1, 1) == 15


class TestWatch:
    """When the batch shell ends an attempt."""

    def test_a_rank_that_falls_silent_is_reported_and_the_attempt_ended_when_the_others_have_told(
        self,
    ) -> None:
        seen = Watch(ranks=2, least_s=60, began=0)
        beats = 0

        def states() -> list[RankState]:
            return [rank(0).model_copy(update={"beats": beats}), rank(1)]

        for now in range(0, 60, 2):
            beats += 1
            assert seen.look(states(), None, now) == ("", False)
        beats += 1
        assert seen.look(states(), None, 62) == ("no sign of life of rank 1 for 60 s", False)
        hang = Hang(step=7, why="w")
        assert seen.look(states(), hang, 64) == ("w", False)
        assert seen.look(states(), hang, 64 + TELLING_S + 1) == ("w", True)

    def test_no_rank_starts(self) -> None:
        seen = Watch(ranks=2, least_s=60, began=0)
        assert not seen.look([], None, START_S - 1)[1]
        assert seen.look([], None, START_S + 1)[1]

    def test_srun_does_not_notice_that_all_ranks_have_ended(self) -> None:
        seen = Watch(ranks=2, least_s=60, began=0)
        ended = [rank(0, 75), rank(1, 75)]
        assert seen.look(ended, None, 10) == ("", False)
        assert not seen.look(ended, None, 10 + END_S)[1]
        assert seen.look(ended, None, 11 + END_S)[1]

    def test_a_rank_fails_and_the_others_wait_for_it(self) -> None:
        seen = Watch(ranks=2, least_s=60, began=0)
        for now in range(0, 62, 2):
            states = [rank(0, 1, "x"), rank(1).model_copy(update={"beats": now})]
            assert not seen.look(states, None, now)[1]
        assert seen.look([rank(0, 1, "x"), rank(1).model_copy(update={"beats": 99})], None, 62)[1]
