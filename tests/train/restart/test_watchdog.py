"""A run whose step does not end names the rank behind and ends itself; ranks leave their last words."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from configs.loader import EXIT_REQUEUE, EXIT_USER_ERROR, UserError
from tests.conftest import ROOT
from tests.support.slurm import wait_until
from tests.support.training import pretrain, pretrain_command, read_rows, write_corpus
from train.restart.attempt import ENTRY_BYTES, RankState, explain_error, read_states, write_state
from train.restart.decide import MEASURED_STEPS

LONG = {"tokens_total": 4000 * 8 * 32, "validate_every_tokens": 4000 * 8 * 32}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


def states_of(out: Path) -> list[RankState]:
    """What the ranks of the newest attempt said last."""
    return read_states(max(out.glob("attempts/*"), key=lambda path: path.stat().st_mtime))


@pytest.mark.slow
def test_a_stopped_rank_is_named_by_its_peer_which_tells_where_it_waits(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["--shutdown-timeout", "1", *pretrain_command(corpus, tmp_path, **LONG)]
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HANG_LEAST_S": "10"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = tmp_path / "log.0.jsonl"
    wait_until(lambda: log.is_file() and f'"train", "step": {MEASURED_STEPS + 2},' in log.read_text())
    ranks = psutil.Process(running.pid).children()
    next(rank for rank in ranks if rank.environ()["RANK"] == "1").suspend()
    said = running.communicate()[0]
    step = read_rows(tmp_path, "train")[-1]["step"]
    assert f"step {step + 1} takes longer than" in said, said
    named = rf"behind: rank 1 on {os.uname().nodename} \(step \d+, .*, gives no sign of life\)"
    assert re.search(named, said), said
    attempt = next(tmp_path.glob("attempts/*/hang.json")).parent
    assert "pretrain.py" in (attempt / "rank_0.stack.txt").read_text()
    assert not (attempt / "rank_1.stack.txt").exists()
    first, second = read_states(attempt)
    assert (first.code, second.code) == (1, None)
    assert "behind: rank 1" in first.reason


@pytest.mark.slow
def test_a_run_stops_before_the_end_of_its_job_though_no_signal_came_and_says_why_it_does_not_go_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    with monkeypatch.context() as slurm:
        slurm.setenv("SLURM_JOB_START_TIME", str(now - 7200))
        slurm.setenv("SLURM_JOB_END_TIME", str(now + 240))  # a run stops five minutes before it
        pretrain(corpus, tmp_path, **LONG)
    assert [row["event"] for row in read_rows(tmp_path, "event")] == ["checkpoint", "preempt"]
    said = {(state.code, state.reason) for state in states_of(tmp_path)}
    assert said == {(EXIT_REQUEUE, "the job's time limit is near")}

    done = pretrain(corpus, tmp_path, **(LONG | {"lr": 0.5}))
    assert done.returncode == 1  # torchrun hides that it is the user's error
    codes = [(state.code, "another configuration" in state.reason) for state in states_of(tmp_path)]
    assert codes == [(EXIT_USER_ERROR, True)] * 2


class TestLastWords:
    def test_are_written_over_the_ones_before_and_fit(self, tmp_path: Path) -> None:
        state = RankState(rank=3, node="n1", pid=1)
        write_state(tmp_path, state)
        for reason in ("x" * 9 * ENTRY_BYTES, "\u2192" * ENTRY_BYTES, "short"):
            write_state(tmp_path, state.model_copy(update={"code": 1, "reason": reason}))
            assert (tmp_path / "rank_3.json").stat().st_size == ENTRY_BYTES
            assert read_states(tmp_path)[0].code == 1
        assert read_states(tmp_path)[0].reason == "short"

    def test_that_are_being_written_are_left_out(self, tmp_path: Path) -> None:
        write_state(tmp_path, RankState(rank=0, node="n0", pid=1))
        (tmp_path / "rank_1.json").write_text('{"rank": 1, "no')
        assert [state.rank for state in read_states(tmp_path)] == [0]

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (UserError("no tokens"), 2),
            (FileNotFoundError(2, "No such file", "a"), 2),
            (OSError(28, "No space left on device", "a"), 2),
            (BrokenPipeError(32, "Broken pipe"), 1),
            (OSError(116, "Stale file handle", "a"), 1),
            (RuntimeError("Connection closed by peer\nmore"), 1),
        ],
        ids="user missing full pipe stale peer".split(),
    )
    def test_say_whether_the_user_can_help(self, error: Exception, code: int) -> None:
        assert explain_error(error)[0] == code
        assert "\n" not in explain_error(error)[1]
