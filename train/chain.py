"""Which jobs of the path from archives to figures are missing? For slurm/submit_all.sh, which submits them.

    squeue --noheader --format '%F|%T|%u|%k' | python train/chain.py --scale mini --runs "run20 run08" [lr=…]

In:  Slurm's queue on standard input, and the data root and run folders.
Out: on standard output a line for each job, with fields that the character 0x1F separates: index, action
     (done, queued, submit), jobs that make it (or that must be cancelled first), name, script, run, flags,
     environment, indices of the jobs to wait for, result. With --dry-run a table for people.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import default_data_root, default_runs_root, format_bytes, run_main
from train.chain_links import Step, decide, is_done, make_links, parse_queue
from train.config import Run
from train.planning.devices import DEVICES
from train.planning.disk import TEXT_BYTES_PER_TOKEN, disk_bytes
from train.planning.hours import CPU_FLOP_PER_S, gpu_hours, training_hours
from train.study_plan import chosen_runs, run_parser

SEPARATOR = "\x1f"  # unlike a tab, bash's `read` keeps empty fields between such characters
# Cleaned text that one core takes through all stages in a second: 6.5 MB up to the split (of 7.2 MB of TeX),
# 12.4 MB in tokenize_corpus (analysis/measurements/corpus.json and tokenizer.json).
TEXT_BYTES_PER_CORE_S = 1e6 / (1 / 6.5 + 1 / 12.4)
MFU = 0.4  # assumed; `make step-time` shows what a run reaches


def main() -> None:
    """Print the jobs. Raises UserError for unknown runs or values, and if a running job lacks its input."""
    arguments = run_parser(__doc__, "run20").parse_intermixed_args()
    runs = chosen_runs(arguments, ["run20"])
    data = default_data_root(arguments.scale).absolute()
    src = Path(os.environ.get("SRC") or data / "raw" / "src")
    tars = {path.stem for path in src.glob("*.tar")}
    figures = Path("analysis", "out", arguments.scale).absolute()
    links = make_links(runs, data, default_runs_root().absolute(), figures)
    steps = decide(links, lambda link: is_done(link, tars), parse_queue(sys.stdin.read()))
    if arguments.dry_run:
        print(describe(steps, runs))
        return
    index = {step.link.result: str(number) for number, step in enumerate(steps)}
    for number, step in enumerate(steps):
        link, action, jobs = step
        if action != "submit":
            print(f"{link.name}: {state(step)} ({link.result})", file=sys.stderr)
        flags = [name for name in ("is_array", "on_gpu", "trains") if getattr(link, name)]
        fields = [str(number), action, " ".join(job.number for job in jobs), link.name, link.script, link.run]
        fields += [" ".join(flags), " ".join(f"{key}={value}" for key, value in link.environment.items())]
        fields += [" ".join(index[result] for result in link.after), str(link.result)]
        print(SEPARATOR.join(fields))


def state(step: Step) -> str:
    """`done`, `submit`, or who makes it: `job 12 of ada, RUNNING`."""
    if step.action != "queued":
        return step.action
    return " and ".join(f"job {job.number} of {job.user}, {job.state}" for job in step.jobs)


def describe(steps: Sequence[Step], runs: Sequence[Run]) -> str:
    """The plan as a table, with hours and disk space of what is missing."""
    lines = [f"{len(steps)} jobs and arrays of jobs at scale {runs[0].scale}"]
    lines += [f"  {step.link.name:<18} {state(step):<10}  {step.link.result}" for step in steps]
    missing = [step.link for step in steps if step.action == "submit"]
    if corpora := {link.environment["VARIANT"] for link in missing if link.script == "preprocess.sh"}:
        text = max(run.recipe.unique_tokens for run in runs) * TEXT_BYTES_PER_TOKEN
        hours = len(corpora) * text / TEXT_BYTES_PER_CORE_S / 3600
        lines.append(
            f"  preprocessing  about {hours:,.1f} hours of one core, apart from reading the archives"
        )
    untrained = {(link.run, link.environment["SEED"]) for link in missing if link.trains}
    if left := [run for run in runs if (run.name, str(run.seed)) in untrained]:
        lines.append(f"  training       about {training_time(left)}")
    lines += ["  disk space in all, for a corpus of just the tokens that the runs need:"]
    lines += [f"    {name:<20} {format_bytes(size)}" for name, size in disk_space(runs).items()]
    return "\n".join(lines)


def disk_space(runs: Sequence[Run]) -> dict[str, float]:
    """Bytes of each part. The runs share a corpus as large as the largest needs; each has its checkpoints."""
    parts = [disk_bytes(run) for run in runs]
    shared = {name: max(part[name] for part in parts) for name in parts[0]}
    return shared | {"checkpoints": sum(part["checkpoints"] for part in parts)}


def training_time(runs: Sequence[Run]) -> str:
    """How long the runs train, one after the other, in words."""
    if runs[0].scale != "full":
        hours = sum(training_hours(run, CPU_FLOP_PER_S) for run in runs)
        return f"{hours:,.1f} hours of one CPU core for all runs"
    device = DEVICES["a100-80gb"]
    hours = sum(gpu_hours(run, device, 2, MFU) for run in runs)
    return f"{hours:,.0f} hours on 2 x {device.name} at an MFU of {MFU:.0%} for all runs"


if __name__ == "__main__":
    run_main(main)
