"""Parquet shards: a file is complete or it does not exist, and its footer says what it was made from.

`input_hash` covers the content of the inputs, the configuration and the stage's own source; `content_hash`
covers the rows. A stage makes a shard again if its `input_hash` changes. The inputs enter that hash by their
`content_hash`, so a stage that runs again and writes the same rows does not cause the next stages to run.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from configs.loader import UserError

PREPROCESS = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^[ \t]*from preprocess([\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)
MACHINERY = {
    f"pipeline/{name}.py" for name in ("job", "ledger", "parts", "process", "schema", "shard", "stage")
}
ABANDONED_S = 86_400  # after this long without a write a temporary file is left over: no shard takes a day
ROW_GROUP_BYTES = 16 << 20  # of text; limits a worker's memory, whatever the size of the tar
# Levels of zstd, for what the next stages read and for the finished corpus. Level 1 takes two thirds of the
# time of level 3, and a tenth more space.
LEVEL_BETWEEN_STAGES, LEVEL_FINISHED = 1, 3
HASHES = ("input_hash", "content_hash", "made_from")  # in a footer; parts.py writes the last one
# Names of columns whose values repeat, and of those with long values.
REPEATED = {"domain", "categories", "license", "source_tar", "language", "outcome", "reason", "split"}
LONG = {"title", "abstract", "record", "text", "sketch", "detail"}


def code_hash(script: str) -> str:
    """Hash of a stage's script and of every module of `preprocess/` that it imports, directly or indirectly.

    `script`: its file name ("extract_latex.py"). The modules in MACHINERY run a stage but do not affect its
    rows. They are left out, so that no shard is made again when they change.
    """
    digest = xxhash.xxh3_128()
    for module in sorted(imported_modules(script)):
        digest.update(module.encode() + b"\0" + (PREPROCESS / module).read_bytes())
    return digest.hexdigest()


def imported_modules(script: str) -> set[str]:
    """The script and the modules that `code_hash` covers, as paths below `preprocess/`."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        module = waiting.pop()
        if module in found or module in MACHINERY:
            continue
        found.add(module)
        waiting += _imports(module)
    return found


@cache
def _imports(module: str) -> list[str]:
    """The modules of `preprocess/` that a module imports, at its head or in a function.

    A pattern finds them in a tenth of the time that Python's parser takes, which would be a twentieth of the
    time for 600 papers.
    """
    modules = []
    for match in _IMPORT.finditer((PREPROCESS / module).read_text(encoding="utf-8")):
        # `from preprocess.a import b` imports the module a, or the module b of the package a.
        package = match[1].replace(".", "/").removeprefix("/")
        names = (f"{package}/{name}.py".removeprefix("/") for name in re.findall(r"\w+", match[2]))
        modules += [path for path in (f"{package}.py", *names) if (PREPROCESS / path).is_file()]
    return modules


def footer(path: Path, key: str) -> str | None:
    """One of HASHES in a shard's footer, None if the shard is missing, unreadable or has no such value."""
    try:
        status = path.stat()
        return _footer_of(path, status.st_ino, status.st_size, status.st_mtime_ns).get(key)
    except (OSError, pa.ArrowInvalid):
        return None


@lru_cache(maxsize=1 << 14)
def _footer_of(path: Path, *_: int) -> dict[str, str]:
    """The hashes in a footer, which a stage asks for several times. `_`: numbers that a new file changes."""
    values = pq.read_metadata(path).metadata or {}
    return {name: values[name.encode()].decode() for name in HASHES if name.encode() in values}


def content_hash(path: Path) -> str:
    """Hash of a shard's rows, from its footer. Raises UserError if the shard is missing or damaged."""
    value = footer(path, "content_hash")
    if value is None:
        raise _damaged(path)
    return value


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: missing or damaged; run the stage {path.parent.name} again")


def n_rows(path: Path) -> int:
    """Number of rows, from a shard's footer. Raises UserError if the shard is missing or damaged."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowInvalid):
        raise _damaged(path) from None


def shards(folder: Path) -> list[Path]:
    """The finished shards of a stage, sorted by name. Raises UserError if there are none."""
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise UserError(
            f"{folder}: holds no shards; run preprocess/{folder.name}.py first (or make preprocess)"
        )
    return found


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a shard (all columns, or those given); holds one row group in memory at a time."""
    with open_shard(path) as file:
        wanted = list(columns) if columns else None
        for batch in file.iter_batches(batch_size=256, columns=wanted, use_threads=False):
            yield from batch.to_pylist()


def open_shard(path: Path) -> pq.ParquetFile:
    """A shard to read from, with `use_threads=False`: the stages keep all cores busy with processes."""
    return pq.ParquetFile(path, pre_buffer=False)  # which would start threads, too


def temporary_beside(path: Path) -> Path:
    """The name under which this process writes `path` before it renames it.

    Deletes such files that dead processes left. Those of living processes stay: a process on this host is
    asked for by its number, one on another host counts as dead after ABANDONED_S without a write.
    """
    host = os.uname().nodename
    begin = f".{path.name}."
    with os.scandir(path.parent) as entries:  # a folder has thousands of shards: `glob` and Path take long
        found = [entry.name for entry in entries if entry.name.startswith(begin)]
    for other in (path.with_name(name) for name in found if name.endswith(".tmp")):
        match = re.fullmatch(r"(.+)-(\d+)", other.name.removeprefix(begin).removesuffix(".tmp"))
        with contextlib.suppress(FileNotFoundError):
            if match and match[1] == host:
                abandoned = not _is_alive(int(match[2]))
            else:
                abandoned = time.time() - other.stat().st_mtime > ABANDONED_S
            if abandoned:
                other.unlink()
    return path.parent / f".{path.name}.{host}-{os.getpid()}.tmp"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


class ParquetShard:
    """Writes rows to a temporary file and renames it to `path` if the block ends without an exception.

    Use as a context manager. The footer holds `input_hash`, `content_hash` and the `notes`.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, input_hash: str, level: int = LEVEL_BETWEEN_STAGES
    ) -> None:
        self.path, self.schema, self.input_hash = path, schema, input_hash
        self.notes: dict[str, str] = {}  # further values of the footer
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._digest = xxhash.xxh3_128()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = temporary_beside(path)
        try:
            self._writer = pq.ParquetWriter(
                self._temporary,
                schema,
                compression="zstd",
                compression_level=level,
                # A dictionary of values that do not repeat only takes time.
                use_dictionary=[name for name in schema.names if name in REPEATED],
                # Statistics of a long column would be two of its values, in the footer of every row group.
                write_statistics=[name for name in schema.names if name not in LONG],
            )
        except BaseException:  # the file is there already if the disk has no room for its first bytes
            self._temporary.unlink(missing_ok=True)
            raise

    def append(self, row: dict[str, Any]) -> None:
        """Add a row, of which the columns of the schema are written, in groups of about ROW_GROUP_BYTES."""
        row = {name: row[name] for name in self.schema.names}
        self._rows.append(row)
        self._bytes += 64 + sum(len(value) for value in row.values() if isinstance(value, str))
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        self._write(pa.Table.from_pylist(self._rows, self.schema))
        self._rows, self._bytes = [], 0

    def append_table(self, table: pa.Table) -> None:
        """Add rows as a row group of their own. `table`: the columns of the schema, in any order."""
        self._flush()
        if table.num_rows:
            self._write(table.select(self.schema.names).cast(self.schema))

    def _write(self, table: pa.Table) -> None:
        for column in table.combine_chunks().columns:
            for buffer in column.chunk(0).buffers():
                self._digest.update(buffer if buffer is not None else b"\0")
        self._writer.write_table(table)

    def __enter__(self) -> "ParquetShard":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
                self._writer.add_key_value_metadata(
                    self.notes | {"input_hash": self.input_hash, "content_hash": self._digest.hexdigest()}
                )
                self._writer.close()
                self._temporary.replace(self.path)
            else:
                self._writer.close()
        finally:
            self._temporary.unlink(missing_ok=True)
