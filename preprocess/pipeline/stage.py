"""Running a stage: from shards that stand, the shards that are missing.

A stage reads one shard and writes one shard of documents and one of the ledger, both named after the input
tar. Shards are independent, so output depends neither on the number of processes nor on how a Slurm array
divides them. A killed run leaves only whole shards; the next run makes the rest.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic

import pyarrow as pa
import xxhash
from tqdm import tqdm

from configs.loader import ConfigT, UserError, writing
from preprocess.pipeline.job import Job
from preprocess.pipeline.ledger import Documents, check_laws
from preprocess.pipeline.schema import LEDGER
from preprocess.pipeline.shard import ParquetShard, content_hash, footer, n_rows, shards

DONE = "_DONE.json"  # beside the ledger of a corpus-wide stage, written after its last shard


class NothingKept(UserError):
    """A stage dropped every document of the corpus."""


@dataclass(frozen=True)
class Unit:
    """One shard of work. `inputs` and `fingerprint` decide whether it is done again."""

    name: str
    inputs: tuple[Path, ...] = ()  # Parquet shards; their rows count
    fingerprint: str = ""  # of whatever else the output depends on
    n_bytes: int = 0  # for the progress bar
    newer_than: Path | None = None  # a raw file: done again when it is newer than the shard
    work: Any = field(default=None, compare=False)  # what `process` needs to know besides


def units_of(folder: Path) -> list[Unit]:
    """A unit for each finished shard of the stage before."""
    return [Unit(path.stem, (path,), n_bytes=path.stat().st_size) for path in shards(folder)]


@dataclass(frozen=True)
class ShardStage(Generic[ConfigT]):
    """How a stage turns one unit into one shard. All of it is pickled to worker processes."""

    name: str
    schema: pa.Schema
    process: Callable[[Unit, ConfigT, Documents], None]
    code: str  # code_hash of the modules that decide the output


def run(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> None:
    """Make the missing shards among this task's share of `units`, then check the laws on it.

    Raises UserError where another process does the same, LawBroken where documents were lost.
    """
    with job.lock():
        make_shards(stage, job, config, units)


def make_shards(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> None:
    """`run` for a caller that holds the job's lock."""
    out, ledger = job.corpus(stage.name), job.ledger(stage.name)
    _refuse_strays(out, units)
    if all(unit.inputs for unit in units) and not any(n_rows(path) for unit in units for path in unit.inputs):
        raise UserError(f"{units[0].inputs[0].parent}: holds no documents: the stage before dropped them all")
    index, count = job.shard
    share = [unit for i, unit in enumerate(sorted(units, key=lambda unit: unit.name)) if i % count == index]
    hashes = {unit.name: _input_hash(stage, config, unit) for unit in share}
    todo = [unit for unit in share if not _is_done(out, ledger, unit, hashes[unit.name])]
    if len(todo) < len(share):
        print(f"{stage.name}: {len(share) - len(todo)} of {len(share)} shards are finished, not made again")
    tasks = [
        (stage, config, unit, hashes[unit.name], out, ledger)
        for unit in sorted(todo, key=lambda unit: -unit.n_bytes)  # large ones first: no long tail
    ]
    with progress(stage.name, todo) as bar:
        for unit in run_tasks(_make_shard, tasks, job.workers):
            bar.update(unit.n_bytes)
            bar.set_postfix_str(f"{unit.name}", refresh=False)
    counts = check_laws(ledger, [unit.name for unit in share])
    kept = counts.pop("kept", 0)
    reasons = ", ".join(f"{reason} {n}" for reason, n in counts.most_common())
    print(
        f"{stage.name}: {kept + counts.total():,} documents in, {kept:,} kept"
        + (f"; dropped: {reasons}" if reasons else "")
    )
    # A task of an array may well keep nothing; the next stage looks at all shards.
    if not kept and count == 1:
        raise NothingKept(
            f"{stage.name} kept none of {counts.total():,} documents ({reasons or 'none came in'}), so there "
            f"is nothing for the stages after it; {ledger} has a row with the reason for each, "
            f"python preprocess/{stage.name}.py --help lists the keys that decide"
        )


def progress(what: str, units: Sequence[Unit]) -> "tqdm[Any]":
    """A progress bar over the bytes of `units`; a job's log gets a line every 10 s."""
    return tqdm(
        total=sum(unit.n_bytes for unit in units),
        unit="B",
        unit_scale=True,
        desc=f"{what:>19}",
        disable=not units,
        mininterval=0.1 if sys.stderr.isatty() else 10,
    )


# ---------------------------------------------------------------- stages that look at the whole corpus


def require_one_task(job: Job) -> None:
    """Raises UserError where a corpus-wide stage was given a share of the shards."""
    if job.shard[1] != 1:
        raise UserError(f"{job.stage} looks at the whole corpus: run it as one task, without --shard")


def is_corpus_done(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> bool:
    """Whether a corpus-wide stage has finished with just these inputs. Raises UserError in an array task."""
    require_one_task(job)
    done = job.ledger(stage.name) / DONE
    if not done.is_file() or json.loads(done.read_text()) != _corpus_hashes(stage, config, units):
        return False
    folders = (job.corpus(stage.name), job.ledger(stage.name))
    if not all((folder / f"{unit.name}.parquet").is_file() for folder in folders for unit in units):
        return False
    print(f"{stage.name}: finished, not made again")
    return True


def finish_corpus(
    stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit], decisions: Mapping[str, Any]
) -> None:
    """Write the shards of a corpus-wide stage from what was decided for each, then `_DONE.json`.

    The caller holds the job's lock.
    """
    done = job.ledger(stage.name) / DONE
    done.unlink(missing_ok=True)  # from here to the end the documents are not the whole corpus
    decided = []
    for unit in units:
        fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(decisions[unit.name], sort_keys=True).encode())
        decided.append(replace(unit, fingerprint=fingerprint, work=decisions[unit.name]))
    make_shards(stage, job, config, decided)
    write_json(done, _corpus_hashes(stage, config, units))


def require_done(job: Job, stage: str) -> None:
    """Raises UserError where a corpus-wide stage has not finished."""
    if not (job.ledger(stage) / DONE).is_file():
        raise UserError(f"{job.corpus(stage)}: not finished; run preprocess/{stage}.py (or make preprocess)")


def require_bases(job: Job) -> None:
    """Raises UserError where a corpus that this one is based on has not chosen its validation papers yet."""
    for base in job.bases():
        ledger = base.ledger("split_corpus")
        if ledger != job.ledger("split_corpus") and not (ledger / DONE).is_file():
            raise UserError(
                f"corpus {job.variant!r} takes over the validation papers and the tokenizer of corpus "
                f"{base.variant!r}, which {job.data} does not hold yet: run make preprocess "
                f"VARIANT={base.variant} first (with the same DATA=, SRC=, METADATA=)"
            )


def _corpus_hashes(stage: ShardStage[ConfigT], config: ConfigT, units: Sequence[Unit]) -> dict[str, str]:
    return {unit.name: _input_hash(stage, config, unit) for unit in units}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file aside and rename it; one that says the same already is left alone."""
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ---------------------------------------------------------------- processes


@cache
def _processes(workers: int) -> ProcessPoolExecutor:
    # Kept from one step of a stage to the next: a process takes a second to import what it needs.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent)


def end_with_parent() -> None:
    """Let this worker process end without a word on Ctrl-C, and with its parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if (parent := parent_process()) is not None:
        watch = threading.Thread(target=_wait_for, args=(parent,), name="parent watch", daemon=True)
        watch.start()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def run_tasks(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """`function(*task)` for each task in spawned processes; results in the order in which they finish."""
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(*task)
        return
    pool = _processes(workers)
    try:
        # No list of the futures is kept: it would hold every result to the end.
        for future in as_completed([pool.submit(function, *task) for task in tasks]):
            yield future.result()
    except BaseException as error:  # a failed task, a reader that wants no more, Ctrl-C
        _processes.cache_clear()
        if isinstance(error, KeyboardInterrupt):  # a task may take minutes, and what it began is made again
            for worker in active_children():
                worker.terminate()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process was killed (out of memory?): run again with fewer --workers; "
                "finished shards are kept"
            ) from None
        raise


def _make_shard(
    stage: ShardStage[ConfigT], config: ConfigT, unit: Unit, input_hash: str, out: Path, ledger: Path
) -> Unit:
    path = out / f"{unit.name}.parquet"
    # The ledger's name appears before the shard's: a shard that is there has its ledger.
    with (
        writing(path),
        ParquetShard(path, stage.schema, input_hash) as kept,
        ParquetShard(ledger / f"{unit.name}.parquet", LEDGER, input_hash) as rows,
    ):
        stage.process(unit, config, Documents(kept, rows, unit.name))
    return unit


def _input_hash(stage: ShardStage[ConfigT], config: ConfigT, unit: Unit) -> str:
    parts = [stage.name, stage.code, config.model_dump_json(), unit.fingerprint]
    parts += [content_hash(path) for path in unit.inputs]
    return xxhash.xxh3_128_hexdigest("\0".join(parts).encode())


def _is_done(out: Path, ledger: Path, unit: Unit, input_hash: str) -> bool:
    shard, rows = (folder / f"{unit.name}.parquet" for folder in (out, ledger))
    if footer(shard, "input_hash") != input_hash or footer(rows, "input_hash") != input_hash:
        return False
    return unit.newer_than is None or unit.newer_than.stat().st_mtime_ns <= shard.stat().st_mtime_ns


def _refuse_strays(out: Path, units: Sequence[Unit]) -> None:
    """Shards without an input would be read by the next stage: the user decides, nothing is deleted here."""
    strays = sorted({path.stem for path in out.glob("*.parquet")} - {unit.name for unit in units})
    if strays:
        raise UserError(
            f"{out}: {len(strays)} shards ({strays[0]}, …) have no input any more; "
            "delete them, or use another DATA folder for another source"
        )
