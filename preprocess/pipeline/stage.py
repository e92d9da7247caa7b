"""Running a stage: make the shards that are missing or out of date.

For each input shard a stage writes one shard of documents and one of the ledger, both named after the input
tar. Shards do not depend on each other, so the output depends neither on the number of processes nor on how
a Slurm array divides the shards. A killed run leaves only complete shards; the next run makes the rest.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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
from preprocess.pipeline.parts import MADE_FROM, check_parts, hash_of
from preprocess.pipeline.process import prepare_process
from preprocess.pipeline.schema import LEDGER
from preprocess.pipeline.shard import (
    LEVEL_BETWEEN_STAGES,
    ParquetShard,
    content_hash,
    footer,
    n_rows,
    shards,
    temporary_beside,
)

DONE = "_DONE.json"  # beside the ledger of a corpus-wide stage, written after its last shard


class NothingKept(UserError):
    """A stage dropped every document of the corpus."""


@dataclass(frozen=True)
class Unit:
    """One shard of work. A change to `inputs` or `fingerprint` makes the shard be made again."""

    name: str
    inputs: tuple[Path, ...] = ()  # Parquet shards, the parts of the documents; a change to their rows counts
    fingerprint: str = ""  # of everything else that the output depends on
    n_bytes: int = 0  # for the progress bar and the order of the work
    newer_than: Path | None = None  # a raw file; the shard is made again if this file is newer
    work: Any = field(default=None, compare=False)  # further arguments for `process`


def units_of(*folders: Path) -> list[Unit]:
    """A unit for each tar that the stage before has finished, with the parts of its documents as inputs.

    `folders`: of the parts, as `Job.documents` returns them. Raises UserError if the last one holds no shard
    or if parts do not belong together.
    """
    units = []
    for path in shards(folders[-1]):
        parts = tuple(folder / path.name for folder in folders)
        check_parts(parts)
        units.append(Unit(path.stem, parts, n_bytes=parts[0].stat().st_size))
    return units


@dataclass(frozen=True)
class ShardStage(Generic[ConfigT]):
    """How a stage turns one unit into one shard. Worker processes receive it pickled."""

    name: str
    schema: pa.Schema
    process: Callable[[Unit, ConfigT, Documents], None]
    code: str  # code_hash of the modules that decide the output
    level: int = LEVEL_BETWEEN_STAGES  # of compression


def run(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> None:
    """Make the missing shards in this task's share of `units`, then check the ledger's laws on the share.

    Raises UserError if another process does the same work, NothingKept if every document was dropped,
    LawBroken if documents or bytes were lost.
    """
    with job.lock():
        make_shards(stage, job, config, units)


def make_shards(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> None:
    """As `run`, for a caller that already holds the job's lock."""
    out, ledger = job.corpus(stage.name), job.ledger(stage.name)
    _refuse_strays(out, units)
    if all(unit.inputs for unit in units) and not any(n_rows(unit.inputs[-1]) for unit in units):
        before = units[0].inputs[-1].parent
        raise UserError(f"{before}: holds no documents: the stage before dropped them all")
    share = share_of(job, units)
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
    # One task of an array may well keep nothing. The next stage sees all shards and complains if need be.
    if not kept and job.shard[1] == 1:
        raise NothingKept(
            f"{stage.name} kept none of {counts.total():,} documents ({reasons or 'none came in'}), so there "
            f"is nothing for the stages after it; {ledger} has a row with the reason for each, "
            f"python preprocess/{stage.name}.py --help lists the keys that decide"
        )


def share_of(job: Job, units: Sequence[Unit]) -> list[Unit]:
    """The units that this task of an array works on, sorted by name."""
    index, count = job.shard
    return sorted(units, key=lambda unit: unit.name)[index::count]


def progress(what: str, units: Sequence[Unit]) -> "tqdm[Any]":
    """A progress bar over the bytes of `units`; without a terminal it prints a line every 10 s."""
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
    """Raise UserError if a corpus-wide stage was started for a share of the shards."""
    if job.shard[1] != 1:
        raise UserError(f"{job.stage} looks at the whole corpus: run it as one task, without --shard")


def is_corpus_done(stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit]) -> bool:
    """Whether a corpus-wide stage has finished with these very inputs."""
    done = job.ledger(stage.name) / DONE
    if not done.is_file() or json.loads(done.read_text()) != corpus_hashes(stage, config, units):
        return False
    folders = (job.corpus(stage.name), job.ledger(stage.name))
    if not all((folder / f"{unit.name}.parquet").is_file() for folder in folders for unit in units):
        return False
    print(f"{stage.name}: finished, not made again")
    return True


def finish_corpus(
    stage: ShardStage[ConfigT], job: Job, config: ConfigT, units: Sequence[Unit], decisions: Mapping[str, Any]
) -> bool:
    """Write this task's shards of a corpus-wide stage; then, if all shards are there, `_DONE.json`.

    Returns whether all are there. The caller holds the job's lock. `decisions`: for each unit's name the
    value that `stage.process` finds in `unit.work`; JSON can hold it.
    """
    done = job.ledger(stage.name) / DONE
    done.unlink(missing_ok=True)  # until the end, old and new shards may lie side by side
    decided = []
    for unit in units:
        fingerprint = xxhash.xxh3_128_hexdigest(json.dumps(decisions[unit.name], sort_keys=True).encode())
        decided.append(replace(unit, fingerprint=fingerprint, work=decisions[unit.name]))
    make_shards(stage, job, config, decided)
    out, ledger = job.corpus(stage.name), job.ledger(stage.name)
    if not all(_is_done(out, ledger, unit, _input_hash(stage, config, unit)) for unit in decided):
        return False  # the last task of an array finds all
    write_json(done, corpus_hashes(stage, config, units))
    return True


def require_done(job: Job, stage: str) -> None:
    """Raise UserError if a corpus-wide stage has not finished."""
    if not (job.ledger(stage) / DONE).is_file():
        raise UserError(f"{job.corpus(stage)}: not finished; run preprocess/{stage}.py (or make preprocess)")


def require_bases(job: Job) -> None:
    """Raise UserError if a corpus that this one is based on has not chosen its validation papers yet."""
    for base in job.bases():
        ledger = base.ledger("split_corpus")
        if ledger != job.ledger("split_corpus") and not (ledger / DONE).is_file():
            raise UserError(
                f"corpus {job.variant!r} takes over the validation papers and the tokenizer of corpus "
                f"{base.variant!r}, which {job.data} does not hold yet: run make preprocess "
                f"VARIANT={base.variant} first (with the same DATA=, SRC=, METADATA=)"
            )


def corpus_hashes(stage: ShardStage[ConfigT], config: ConfigT, units: Sequence[Unit]) -> dict[str, str]:
    """For each unit's name a hash of what the output of a corpus-wide stage depends on."""
    return {unit.name: _input_hash(stage, config, unit) for unit in units}


def write_json(path: Path, value: Any) -> None:
    """Write a temporary JSON file and rename it to `path`; leave a file with the same content untouched."""
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ---------------------------------------------------------------- processes


@cache
def _processes(workers: int) -> ProcessPoolExecutor:
    # Cached, so that all steps of a stage share the processes: each takes a second to import its modules.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent)


def end_with_parent() -> None:
    """Let this worker process end whenever its parent ends, even by SIGKILL."""
    prepare_process()
    if (parent := parent_process()) is not None:
        watch = threading.Thread(target=_wait_for, args=(parent,), name="parent watch", daemon=True)
        watch.start()


def _wait_for(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def run_tasks(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Call `function(*task)` for each task in spawned processes; yield the results as they finish.

    Raises UserError if a worker process is killed; errors of `function` are passed on.
    """
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            yield function(*task)
        return
    pool = _processes(workers)
    try:
        # The futures are not kept in a variable, which would hold every result to the end.
        for future in as_completed(_submit(pool, function, tasks)):
            yield future.result()
    except BaseException as error:  # a failed task, a caller that stops iterating, Ctrl-C
        _processes.cache_clear()
        if isinstance(error, KeyboardInterrupt):  # do not wait: the next run repeats what is not finished
            for worker in active_children():
                worker.terminate()
        pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process was killed (out of memory?): run again with fewer --workers; "
                "finished shards are kept"
            ) from None
        raise


def _submit(
    pool: ProcessPoolExecutor, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
) -> "list[Future[Any]]":
    """Submit the tasks. Workers start here with SIGINT blocked, so Ctrl-C reaches this process alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return [pool.submit(function, *task) for task in tasks]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _make_shard(
    stage: ShardStage[ConfigT], config: ConfigT, unit: Unit, input_hash: str, out: Path, ledger: Path
) -> Unit:
    path = out / f"{unit.name}.parquet"
    # The ledger's file is renamed before the shard's, so a shard that exists has its ledger.
    with (
        writing(path),
        ParquetShard(path, stage.schema, input_hash, stage.level) as kept,
        ParquetShard(ledger / f"{unit.name}.parquet", LEDGER, input_hash) as rows,
    ):
        stage.process(unit, config, Documents(kept, rows, unit.name))
        kept.notes[MADE_FROM] = hash_of(unit.inputs)
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
    """Raise UserError if `out` holds shards without an input: the next stage would read them.

    The user decides about them; this function deletes nothing.
    """
    strays = sorted({path.stem for path in out.glob("*.parquet")} - {unit.name for unit in units})
    if strays:
        raise UserError(
            f"{out}: {len(strays)} shards ({strays[0]}, …) have no input any more; "
            "delete them, or use another DATA folder for another source"
        )
