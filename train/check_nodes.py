"""Are this job's nodes fit for training?

    torchrun … train/check_nodes.py REPORTS --runs DIR        every process looks and measures
    python train/check_nodes.py REPORTS --runs DIR --judge    then: the verdict

In:  the folder REPORTS, empty, on a file system that all nodes see; slurm/preflight.sh makes it.
Out: a report of each process in REPORTS; a line in RUNS/node_check.jsonl; exit code 0 if all nodes are fit,
2 if not. With --requeue a job with a sick node starts again without it, and the exit code is 75.
"""

import argparse
import faulthandler
import json
import os
import shutil
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import EXIT_REQUEUE, UserError, default_data_root, run_main
from train.node_check import gpus, history, host, transport
from train.node_check.verdict import Verdict, judge
from train.slurm_job import job_nodes, node_name, requeue_without

LIMIT_S = 240.0  # then a process writes its stack and exits, so that the others' waiting ends, too
MEETING_S = (
    120.0  # processes start within seconds of each other, Python on a busy file server within a minute
)
CHECKS_IN_A_ROW = 3  # a job that found a sick node in so many starts has another problem than its nodes


class Looking:
    """This process's report, written after each part: of a process that hangs it tells how far it came."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{node_name()}: does not see {folder}: it must lie on a shared file system")
        self.began = time.monotonic()
        self.rank, self.local_rank, self.size, per_node = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
        )
        self.per_node = per_node
        self.path = folder / f"rank{self.rank}.json"
        self.report: dict[str, Any] = {
            "node": node_name(),
            "rank": self.rank,
            "local_rank": self.local_rank,
            "device": "cpu",
            "faults": [],
            "notes": [],
        }
        self.reached("started")

    def reached(self, stage: str) -> None:
        """Write the report."""
        self.report |= {"stage": stage, "seconds": round(time.monotonic() - self.began, 3)}
        aside = self.path.with_suffix(".tmp")
        aside.write_text(json.dumps(self.report), encoding="utf-8")
        aside.replace(self.path)

    def found(self, kind: str, sentences: list[str]) -> None:
        """Add faults of one kind."""
        self.report["faults"] += [(kind, sentence) for sentence in sentences]


def look(reports: Path, data: Path, runs: Path) -> None:
    """Look at this process's node and measure, together with all other processes of the job."""
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)
    looking = Looking(reports)
    if looking.local_rank == 0:  # before any process of this node touches a GPU: they wait for this one below
        found, faults, notes = gpus.read_gpus()
        looking.found("gpu", faults + (gpus.gpu_faults(found, looking.per_node) if found else []))
        xids, more = gpus.read_xids(found)
        looking.found("xid", xids)
        disks = {"data": host.look_at_disk(data), "runs": host.look_at_disk(runs)}
        looking.report |= {"gpus": gpus.as_rows(found), "disks": disks, "memory_bytes": host.memory_bytes()}
        looking.report["notes"] += notes + more
        if found and (topology := gpus.ask(["nvidia-smi", "topo", "-m"])):
            looking.report["nvlinks"] = transport.count_nvlinks(topology[1], [g.index for g in found])
    looking.reached("looked")
    nccl_log = reports / f"nccl.rank{looking.rank}.log"
    os.environ |= {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": str(nccl_log)}

    import torch
    import torch.distributed as dist

    from train.model.flops import peak_flop_per_s
    from train.node_check import speed

    alone = looking.size == 1
    if not alone:
        # gloo, to agree on things though NCCL may not work
        dist.init_process_group("gloo", timeout=timedelta(seconds=MEETING_S))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", looking.local_rank)
        torch.cuda.set_device(device)
        looking.report["device"] = torch.cuda.get_device_name()
    elif torch.version.cuda and looking.report.get("gpus"):
        looking.found("gpu", ["torch sees no GPU, nvidia-smi does: is the driver too old for this torch?"])
    product = {"flop_per_s": speed.product_flop_per_s(device)}
    peak = peak_flop_per_s(looking.report["device"])
    looking.report["product"] = product | ({"peak_flop_per_s": peak} if peak else {})
    looking.reached("met")
    if not alone:
        looking.report["clock_s"] = speed.clock_offset_s()
        everyone = dist.new_group(backend="nccl") if device.type == "cuda" else None
        timings = speed.time_collectives(device, everyone, speed.SIZES[device.type])
        if looking.rank == 0:
            looking.report["collectives"] = [(t.kind, t.n_bytes, t.seconds) for t in timings]
        if looking.size > looking.per_node:
            firsts = list(range(0, looking.size, looking.per_node))
            of_nodes = dist.new_group(firsts, backend="nccl" if device.type == "cuda" else "gloo")
            if looking.rank in firsts:
                looking.report["link_bytes_per_s"] = speed.link_bytes_per_s(device, of_nodes)
        looking.report["transport"] = "gloo"
        if device.type == "cuda":
            chosen = transport.parse_nccl(nccl_log.read_text(errors="replace") if nccl_log.is_file() else "")
            looking.report["transport"] = chosen.describe()
            n_nodes = looking.size // looking.per_node
            looking.found(
                "transport", transport.transport_faults(chosen, transport.infiniband_ports(), n_nodes)
            )
    looking.reached("done")
    if not alone:
        dist.barrier()
        os._exit(0)  # as train/parallel/world.py: torch may abort while it tears the group down


def read_reports(folder: Path) -> list[dict[str, Any]]:
    """The reports of all processes by rank; half-written ones have another name."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("rank*.json")]
    return sorted(reports, key=lambda report: report["rank"])


def tell(verdict: Verdict, numbers: dict[str, Any]) -> None:
    """Print the verdict and the numbers."""
    shown = (f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in numbers.items())
    print("nodes:", ", ".join(shown))
    for note in verdict.notes:
        print(f"nodes: {note}")
    for node, faults in verdict.sick.items():
        print(f"nodes: {node} is unfit: {'; '.join(faults)}")
    for fault in verdict.shared:
        print(f"nodes: {fault}")
    if verdict.is_fit:
        print("nodes: all are fit")


def settle(reports_folder: Path, runs: Path, requeue: bool) -> int:
    """Judge the reports, write the history, and act; return the exit code."""
    reports = read_reports(reports_folder)
    verdict = judge(reports, job_nodes())
    line = history.append(runs, reports, verdict)
    tell(verdict, line["numbers"])
    if verdict.is_fit:
        shutil.rmtree(reports_folder)
        return 0
    print(f"nodes: the reports are in {reports_folder}", flush=True)
    if verdict.shared:
        raise UserError(f"{verdict.shared[0]}; PREFLIGHT=0 starts the run all the same")
    names = ",".join(verdict.sick)
    if not requeue:
        raise UserError(f"unfit: {names}; sbatch --exclude={names} starts on other nodes")
    recent = history.of_this_job(runs)[-CHECKS_IN_A_ROW:]
    if len(recent) == CHECKS_IN_A_ROW and not any(check["fit"] for check in recent):
        raise UserError(
            f"unfit: {names}; the {CHECKS_IN_A_ROW}rd start in a row without fit nodes, so the job ends. "
            f"{runs / history.FILE} tells what was found; PREFLIGHT=0 starts the run all the same"
        )
    print(f"nodes: starting again without {names}", flush=True)
    requeue_without(list(verdict.sick))
    return EXIT_REQUEUE


def main() -> int:
    """Parse the command line; look or judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reports", type=Path, help="empty folder for the reports")
    parser.add_argument("--scale", default="full", help="of the run, whose data root is looked at")
    parser.add_argument("--runs", type=Path, required=True, help="the run's folder")
    parser.add_argument("--judge", action="store_true", help="judge the reports instead of measuring")
    parser.add_argument("--requeue", action="store_true", help="with --judge: start again without sick nodes")
    args = parser.parse_args()
    if args.judge:
        return settle(args.reports, args.runs, args.requeue)
    look(args.reports, default_data_root(args.scale), args.runs)
    return 0


if __name__ == "__main__":
    run_main(main)
