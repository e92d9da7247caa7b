"""A run on two nodes comes back from whatever happens to it, with the bits of an undisturbed one.

Each start costs seconds, so several things happen to one run; `make prove-slurm` is the long form.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.comeback import Training, crash, fill, restart_controller, small_disk
from tests.support.slurm import Cluster, awkward_checkout, dev_cluster
from tests.support.training import write_corpus
from train.checkpoint.load import list_checkpoints

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

TWO_NODES, ONE_NODE = ("--nodes=2", "--gres=gpu:a100:1"), ("--nodes=1", "--gres=gpu:a100:2")
STEPS = 300
MEGABYTES = 120  # three checkpoints take 30


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk. It is there before the cluster, whose nodes have mounts of their own."""
    with small_disk(tmp_path_factory.mktemp("disk") / "small", MEGABYTES) as folder:
        yield folder


@pytest.fixture(scope="module")
def cluster(disk: Path) -> Iterator[Cluster]:
    with dev_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = awkward_checkout(tmp_path_factory.mktemp("slurm"))
    write_corpus(checkout / "data" / "demo")
    return checkout


@pytest.fixture(scope="module")
def straight(cluster: Cluster, checkout: Path) -> Training:
    """An undisturbed run on two nodes. Two ranks on one node compute the same bits."""
    run = Training(cluster, checkout, "undisturbed", TWO_NODES, STEPS)
    cluster.finish(run.submit(), checkout)
    return run


def test_preemption_dead_processes_a_dead_node_and_a_restarted_controller(
    cluster: Cluster, checkout: Path, straight: Training
) -> None:
    run = Training(cluster, checkout, "disturbed", TWO_NODES, STEPS)
    job = run.submit()
    run.wait_for_step(10)
    urgent = cluster.submit(
        *("--partition=urgent", "--nodes=2", "--gres=gpu:a100:8", "--output=/dev/null", "--wrap=true"),
        cwd=checkout,
    )
    run.comes_back(1)
    assert cluster.job(urgent)["JobState"] == "COMPLETED"

    run.wait_for_step(60)
    run.rank("n1", job).kill()
    run.comes_back(2)
    run.wait_for_step(110)
    run.step_daemon("n1", job).kill()
    run.comes_back(3)
    restart_controller(cluster)
    run.wait_for_step(160)
    crash(cluster, "n0", job)  # the node of the batch shell
    run.comes_back(4)
    cluster.finish(job, checkout)

    decided = [(past["outcome"], past["why"]) for past in run.past()]
    assert decided[0][0] == "stopped"
    assert decided[1][0] == "failed"
    assert "rank 1 on n1 ended without a word" in decided[1][1]
    assert decided[2][1].endswith("the step daemon (slurmstepd) died")
    assert decided[3] == ("finished", "finished")
    run.assert_equals(straight)


def test_a_stopped_rank_a_bad_node_a_second_job_a_full_disk_and_a_damaged_checkpoint(
    cluster: Cluster, checkout: Path, disk: Path, straight: Training
) -> None:
    run = Training(cluster, checkout, "disk", ONE_NODE, STEPS, disk)
    job, refused = run.submit_twice(HANG_LEAST_S="10")
    assert f"Slurm job {job} trains here" in refused
    run.wait_for_step(10)
    first = cluster.job(job)["NodeList"]
    run.rank(first, job, 1).suspend()
    run.comes_back(1)
    assert "rank 1" in run.past()[-1]["why"]
    assert list(run.folder.glob("attempts/*/rank_0.stack.txt"))

    run.wait_for_step(60)
    run.rank(first, job).kill()
    run.comes_back(2)
    assert cluster.job(job)["NodeList"] != first
    assert f"node {first} is to blame for two failures: the job does not use it again" in run.log(job)

    run.wait_for_step(110)
    filler = fill(disk)
    assert cluster.wait(job)["ExitCode"] == "2:0"
    assert "No space left on device" in run.past()[-1]["why"]
    filler.unlink()
    newest = list_checkpoints(run.folder / "checkpoints")[-1]
    with (newest / "weights.safetensors").open("r+b") as file:
        file.write(bytes(100))
    again = run.submit()
    assert "renamed a damaged checkpoint" in cluster.finish(again, checkout)
    run.assert_equals(straight)
