"""Predict what preprocessing needs, before a job is submitted: CPU-hours, disk, files, days.

    python preprocess/budget.py --src src --metadata snapshot.json --months 2101-2112 --cores 64

In:  the manifest, some of its tars, the metadata snapshot. Nothing is written but below a temporary folder.
Out: a table with a row for each stage. A small and a larger sample of the tars that are here go through all
     stages on one core each; what a stage costs is a fixed part and a part that grows with the bytes of its
     input (of the tars; for filter_metadata, of the snapshot). The samples are spread over the months.
Training a tokenizer takes what it takes on the larger sample: the vocabulary decides, and text beyond the
sample of 2 GB is not read. The number of files grows with the number of tars. Days assume that arrays keep
all cores busy; stages that look at the whole corpus run on one node (--node-cores).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, format_bytes, run_main
from configs.stages import TABLE
from preprocess.fetch.choice import in_time, of_months
from preprocess.pipeline.identifiers import month_of
from preprocess.pipeline.manifest import MANIFEST, ManifestEntry, in_order
from preprocess.pipeline.snapshot import check_snapshot
from preprocess.validate_archives import find_archives

SCRIPTS = Path(__file__).resolve().parent
# A sample may hold few papers of a domain and too little text for the vocabulary.
VALUES = {"split_corpus": ["min_val_papers=1"], "train_tokenizer": ["allow_smaller=true"]}
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True)
class Cost:
    """What a stage takes and leaves."""

    cpu_s: float
    n_bytes: float  # written
    n_files: float


@dataclass(frozen=True)
class Sample:
    """What the stages cost on some tars."""

    n_tars: int
    tar_bytes: int
    snapshot_bytes: int
    costs: Mapping[str, Cost]  # by stage


def measure(src: Path, metadata: Path, tars: Sequence[str], scale: str) -> Sample:
    """Run all stages on some tars, one core each.

    Raises UserError with what a stage said if it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        (data / "raw/src").mkdir(parents=True)
        shutil.copy(src / MANIFEST, data / "raw/src")
        for tar in tars:
            (data / "raw/src" / tar).symlink_to((src / tar).absolute())
        months = {in_order(tar[10:14]) for tar in tars}
        with metadata.open("rb") as lines, (data / "raw/metadata.json").open("wb") as some:
            some.writelines(line for line in lines if _month(line) in months)
        costs = {}
        seen = _files(data)
        for stage in TABLE:
            cpu_s = _run(stage.name, data, scale, VALUES.get(stage.name, []))
            now = _files(data)
            new = {path: now[path] for path in now.keys() - seen.keys()}
            costs[stage.name] = Cost(cpu_s, sum(new.values()), len(new))
            seen = now
        snapshot_bytes = (data / "raw/metadata.json").stat().st_size
    tar_bytes = sum((src / tar).stat().st_size for tar in tars)
    return Sample(len(tars), tar_bytes, snapshot_bytes, costs)


def _month(line: bytes) -> str:
    match = _ID.search(line)
    return in_order((match and month_of(match[1].decode("latin-1"))) or "0000")


def _files(data: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in data.rglob("*") if path.is_file()}


def _run(stage: str, data: Path, scale: str, values: Sequence[str]) -> float:
    """CPU seconds of a stage's script, user and system, with all its processes."""
    command = [sys.executable, str(SCRIPTS / f"{stage}.py"), "--data", str(data), "--scale", scale]
    command += ["--workers", "1", "--shard", "0/1", *values]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise UserError(f"{stage} fails on the sample; take more tars with --sample ({''.join(last)})")
    return used.ru_utime + used.ru_stime


def extrapolate(small: float, large: float, from_bytes: tuple[int, int], to_bytes: float) -> float:
    """A fixed part and one that grows with bytes, through two measured points, at `to_bytes`."""
    first, second = from_bytes
    if small == large or first == second:
        return large
    slope = max(large - small, 0.0) / (second - first)
    fixed = small - slope * first
    if fixed < 0 or not slope:  # noise: then all of it grows
        return large * to_bytes / second
    return fixed + slope * to_bytes


def predict(
    samples: tuple[Sample, Sample],
    n_tars: int,
    tar_bytes: int,
    snapshot_bytes: int,
) -> dict[str, Cost]:
    """The cost of each stage for so many tars and bytes, from a small and a larger sample."""
    small, large = samples
    predicted = {}
    for stage in TABLE:
        to_bytes: float = tar_bytes
        sizes = (small.tar_bytes, large.tar_bytes)
        if stage.kind == "metadata":
            to_bytes, sizes = snapshot_bytes, (small.snapshot_bytes, large.snapshot_bytes)
        elif stage.kind == "tokenizer":
            to_bytes = large.tar_bytes
        one, two = small.costs[stage.name], large.costs[stage.name]
        cpu_s = extrapolate(one.cpu_s, two.cpu_s, sizes, to_bytes)
        n_files = two.n_files
        if stage.kind != "metadata":  # whose files are months
            n_files = extrapolate(one.n_files, two.n_files, (small.n_tars, large.n_tars), n_tars)
        n_bytes = extrapolate(one.n_bytes, two.n_bytes, sizes, to_bytes)
        predicted[stage.name] = Cost(cpu_s, n_bytes, n_files)
    return predicted


def spread(entries: Sequence[ManifestEntry], n: int) -> list[ManifestEntry]:
    """`n` of the tars, evenly over time."""
    n = min(n, len(entries))
    return [entries[(2 * i + 1) * len(entries) // (2 * n)] for i in range(n)]


def table(costs: Mapping[str, Cost], cores: int, node_cores: int) -> str:
    """The prediction as text."""
    lines = [f"{'stage':<20}{'CPU-hours':>12}{'written':>12}{'files':>12}{'days':>9}"]
    days = 0.0
    for stage in TABLE:
        cost = costs[stage.name]
        one_task = stage.kind in ("metadata", "corpus", "tokenizer") and not stage.rounds
        of_stage = cost.cpu_s / 86400 / (min(cores, node_cores) if one_task else cores)
        days += of_stage
        lines.append(_line(stage.name, cost, of_stage))
    total = [sum(getattr(cost, key) for cost in costs.values()) for key in ("cpu_s", "n_bytes", "n_files")]
    return "\n".join([*lines, _line("all", Cost(*total), days)])


def _line(name: str, cost: Cost, days: float) -> str:
    written = format_bytes(cost.n_bytes)
    return f"{name:<20}{cost.cpu_s / 3600:>12,.3f}{written:>12}{round(cost.n_files):>12,}{days:>9,.3f}"


def main() -> None:
    """Measure two samples and print the prediction."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--src", type=Path, required=True, help="folder with the manifest and some of its tars"
    )
    parser.add_argument("--metadata", type=Path, required=True, help="metadata snapshot")
    parser.add_argument("--months", help="YYMM, ranges and commas (default: all of the manifest)")
    parser.add_argument("--sample", type=int, default=6, help="tars of the larger sample (default: 6)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of all array tasks together")
    parser.add_argument("--node-cores", type=int, default=16, help="of one node (default: 16)")
    parser.add_argument("--scale", default="full", help="full, mini or demo: sets the vocabulary")
    args = parser.parse_args()
    if args.sample < 3 or args.cores < 1 or args.node_cores < 1:
        raise UserError("--sample: at least 3; --cores and --node-cores: at least 1")
    check_snapshot(args.metadata)
    tars, manifest = find_archives(args.src)
    chosen = of_months(manifest, args.months) if args.months else in_time(manifest.values())
    here = in_time([manifest[path.name] for path in tars if path.name in manifest])
    if len(here) < 3:
        raise UserError(f"{args.src}: holds fewer than three tars of the manifest; fetch some of the months")
    large = spread(here, args.sample)
    small = spread(large, max(2, len(large) // 3))
    one, two = (
        measure(args.src, args.metadata, [entry.name for entry in some], args.scale)
        for some in (small, large)
    )
    n_bytes = sum(entry.size for entry in chosen)
    costs = predict((one, two), len(chosen), n_bytes, args.metadata.stat().st_size)
    print(f"budget: {len(chosen):,} tars, {format_bytes(n_bytes)}; samples of {len(small)}, {len(large)}")
    print(table(costs, args.cores, args.node_cores))
    print(f"The tars take {format_bytes(n_bytes)} more; days: {args.cores} cores, {args.node_cores} a node.")


if __name__ == "__main__":
    run_main(main)
