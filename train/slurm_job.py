"""What a job asks of Slurm about itself: its nodes, and to start again without some of them."""

import os
import re
import signal
import subprocess
from collections.abc import Sequence

from configs.script import UserError

CLIENT_S = 60.0  # a busy controller answers late; one that is gone, never


def job_nodes() -> list[str]:
    """The names of this job's nodes, in the order of their numbers; outside a job, this machine's."""
    if "SLURM_JOB_NODELIST" not in os.environ:
        return [node_name()]
    return _scontrol("show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()


def node_name() -> str:
    """This node's name for Slurm, which may differ from its host name; outside a job the host name."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def requeue_without(nodes: Sequence[str]) -> None:
    """Start this job again, on other nodes than these and those that it excluded before.

    Slurm takes a new list of excluded nodes only while a job is pending, so the requeue comes first. It ends
    this job's processes with SIGTERM, which this process ignores until the list is set; the batch shell must
    survive it, too (`trap : TERM`), because all else is killed when that shell ends. The job cannot start
    again meanwhile: Slurm lets a requeued job wait some seconds. Raises UserError with what Slurm says.
    """
    job = os.environ["SLURM_JOB_ID"]
    shown = _scontrol("show", "job", "-o", job)
    before = re.search(r"\bExcNodeList=(\S+)", shown)
    excluded = [before[1]] if before and before[1] != "(null)" else []
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _scontrol("requeue", job)
    if nodes:
        _scontrol("update", f"JobId={job}", f"ExcNodeList={','.join([*excluded, *nodes])}")


def _scontrol(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, timeout=CLIENT_S, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"scontrol {' '.join(arguments)}: no answer from Slurm ({error})") from error
    if done.returncode:
        raise UserError(f"scontrol {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
