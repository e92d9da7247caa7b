"""Training jobs on the two-node development cluster, submitted as a user submits them."""

import json
from pathlib import Path

import pytest

from tests.support.slurm import Cluster, awkward_checkout, job_log, wait_until
from tests.support.training import SMALL, pretrain, read_rows, write_corpus

pytestmark = pytest.mark.slurm

SBATCH_FILES = (
    "evaluate.sh",
    "export.sh",
    "figures.sh",
    "preflight.sh",
    "preprocess.sh",
    "train_run.sh",
    "train_run20.sh",
    "train_run23.sh",
    "train_run24.sh",
    "train_sweep.sh",
)
STEPS = 12
VALUES = [f"{key}={value}" for key, value in (SMALL | {"tokens_total": STEPS * 8 * 32}).items()]

# A rank's place as torchrun tells it, and a sum over all ranks: that they have met.
RANK_TABLE = """
import os, socket
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
ranks = torch.tensor(dist.get_rank())
dist.all_reduce(ranks)
place = (socket.gethostname(), *(int(os.environ[name]) for name in ("GROUP_RANK", "LOCAL_RANK", "RANK")))
print(f"place {place}, {dist.get_world_size()} ranks, sum {ranks.item()}\\n", end="", flush=True)
dist.barrier()
os._exit(0)  # as train/parallel/world.py: torch may abort while it tears the group down
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with tokens in its data/demo; its path has a space and a `$`."""
    checkout = awkward_checkout(tmp_path_factory.mktemp("slurm"))
    write_corpus(checkout / "data" / "demo")
    return checkout


def losses(folder: Path, restart: int = 0) -> dict[int, float]:
    return {row["step"]: row["loss_nats"] for row in read_rows(folder, "train", restart)}


@pytest.mark.parametrize("name", SBATCH_FILES)
def test_the_cluster_grants_what_the_file_asks_for(cluster: Cluster, checkout: Path, name: str) -> None:
    cluster.call("sbatch", "--test-only", f"slurm/{name}", cwd=checkout)


def test_four_ranks_compute_the_same_on_one_node_and_on_two(cluster: Cluster, checkout: Path) -> None:
    jobs = {}
    for nodes in (1, 2):
        shape = (f"--nodes={nodes}", f"--gres=gpu:a100:{4 // nodes}")
        where = {"SCALE": "demo", "ARXIV_RUNS": f"runs {nodes}"}
        jobs[nodes] = cluster.submit(*shape, "slurm/train_run20.sh", *VALUES, cwd=checkout, **where)
    logs = {nodes: cluster.finish(job, checkout) for nodes, job in jobs.items()}
    assert "n0: ranks 0 to 1," in logs[2]
    assert "n1: ranks 2 to 3," in logs[2]
    assert "n0: ranks 0 to 3," in logs[1] or "n1: ranks 0 to 3," in logs[1]
    folders = {nodes: checkout / f"runs {nodes}" / "demo" / "run20" / "seed0" for nodes in jobs}
    for nodes, folder in folders.items():
        header = json.loads((folder / "log.0.jsonl").read_text().splitlines()[0])
        assert (header["world_size"], header["slurm_job_id"]) == (4, jobs[nodes])
    assert len(losses(folders[1])) == STEPS
    assert losses(folders[2]) == pytest.approx(losses(folders[1]), rel=1e-5)


def test_ranks_stand_where_torchrun_puts_them(cluster: Cluster, checkout: Path) -> None:
    (checkout / "rank_table.py").write_text(RANK_TABLE)
    body = ". slurm/lib.sh; look_at_allocation; torchrun_everywhere rank_table.py"
    job = cluster.submit(
        "--nodes=2", "--gres=gpu:a100:4", "--output=%x-%j.out", "--wrap", f"bash -c '{body}'", cwd=checkout
    )
    log = cluster.finish(job, checkout)
    for rank in range(8):
        place = (f"n{rank // 4}", rank // 4, rank % 4, rank)
        assert f"place {place}, 8 ranks, sum 28" in log


def test_the_file_as_it_is_stopped_at_its_limit_goes_on_and_is_drawn(
    cluster: Cluster, checkout: Path
) -> None:
    values = [*VALUES, f"tokens_total={4 * STEPS * 8 * 32}"]
    job = cluster.submit("slurm/train_run20.sh", *values, cwd=checkout, SCALE="demo", SEED="1")
    folder = checkout / "runs" / "demo" / "run20" / "seed1"
    wait_until(lambda: any(folder.glob("checkpoints/step_*")))
    cluster.call("scancel", "--batch", "--signal=USR1", job)  # as Slurm does before the time limit
    log = cluster.finish(job, checkout)
    assert cluster.job(job)["Restarts"] == "1"
    stopped = read_rows(folder, "event")[-1]
    assert stopped["event"] == "preempt"
    assert list(losses(folder, restart=1)) == list(range(stopped["step"] + 1, 4 * STEPS + 1))
    assert "start 1: 1 x 2 ranks" in log
    assert "start 2: 1 x 2 ranks" in log
    assert (folder / "DONE").is_file()
    assert not (folder / "STOP").exists()

    drawing = cluster.submit("slurm/figures.sh", cwd=checkout, SCALE="demo")
    cluster.finish(drawing, checkout)
    assert list((checkout / "analysis" / "out" / "demo").glob("*.png"))


def test_a_sweep_is_an_array_with_a_task_for_each_run_and_seed(cluster: Cluster, checkout: Path) -> None:
    env = {"SCALE": "demo", "RUNS_LIST": "run20 run23", "SEEDS": "4 5"}
    said = cluster.call("bash", "slurm/train_sweep.sh", "--gres=gpu:a100:1", *VALUES, cwd=checkout, **env)
    assert said.splitlines()[1:] == ["run20 4", "run23 4", "run20 5", "run23 5"]
    folders = [checkout / "runs/demo" / run / f"seed{seed}" for run in ("run20", "run23") for seed in (4, 5)]
    wait_until(lambda: all((folder / "DONE").is_file() for folder in folders))
    assert all(len(losses(folder)) == STEPS for folder in folders)


class TestRefusals:
    """A job that cannot be what it should stops at once and says why."""

    def test_nodes_with_different_numbers_of_gpus(self, cluster: Cluster, checkout: Path) -> None:
        shape = ("--nodes=2", "--gres=none", "--gpus=3")
        log = self.fails(cluster, checkout, *shape, "slurm/train_run20.sh", *VALUES)
        assert "n1 has 1 GPUs, the first node 2: request the same number on every node" in log

    def test_a_heterogeneous_job(self, cluster: Cluster, checkout: Path) -> None:
        one, other = ("--nodes=1", "--gres=gpu:a100:1"), ("--nodes=1", "--gres=gpu:a100:2")
        log = self.fails(cluster, checkout, *one, ":", *other, "slurm/train_run20.sh", *VALUES)
        assert "slurm: this job is heterogeneous, with 2 components" in log

    def test_no_gpu(self, cluster: Cluster, checkout: Path) -> None:
        log = self.fails(cluster, checkout, "--gres=none", "slurm/train_run20.sh", *VALUES)
        assert "slurm: this job has no GPU: submit with --gres=gpu:2" in log

    def test_ranks_that_do_not_divide_the_batch(self, cluster: Cluster, checkout: Path) -> None:
        log = self.fails(cluster, checkout, "--gres=gpu:a100:3", "slurm/train_run20.sh", *VALUES)
        assert "global_batch_size 8 is not a multiple of 3 processes" in log

    def test_a_world_that_lacks_ranks(
        self, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EXPECTED_WORLD_SIZE", "4")  # as slurm/lib.sh sets it on two nodes
        done = pretrain(checkout / "data" / "demo", tmp_path, processes=1)  # that do not find each other
        assert done.returncode == 2
        assert "1 processes have met instead of 4" in done.stderr

    def fails(self, cluster: Cluster, checkout: Path, *arguments: str) -> str:
        job = cluster.submit(*arguments, cwd=checkout, SCALE="demo", SEED="9")
        ended = cluster.wait(job)
        assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "2:0")
        return job_log(job, checkout)
