"""Reading documents whose columns lie in several shards of the same tar.

A filter does not write the texts again: its shard holds the ids of the documents that stay, and the columns
that it adds (`writes` in configs/stages.py). So a document is found in several parts: in a shard with
complete rows, and in one shard of each stage after it. Every part holds documents of the part before, in the
same order, and its footer has the hash of the parts that it was made from.
"""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from configs.loader import UserError
from preprocess.pipeline.shard import content_hash, footer, open_shard

MADE_FROM = "made_from"  # key in the footer: `hash_of` the inputs


def hash_of(paths: Sequence[Path]) -> str:
    """Hash of the rows of some shards, from their footers. Raises UserError if one is missing or damaged."""
    return xxhash.xxh3_128_hexdigest("\0".join(map(content_hash, paths)).encode())


def check_parts(parts: Sequence[Path]) -> None:
    """Raise UserError if a part was made from other rows than the parts before it hold now."""
    for n in range(1, len(parts)):
        if footer(parts[n], MADE_FROM) != hash_of(parts[:n]):
            raise UserError(
                f"{parts[n]}: was not made from what {parts[n - 1].parent} holds now; "
                f"run preprocess/{parts[n].parent.name}.py again (or make preprocess)"
            )


def document_tables(parts: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The documents that are in all `parts`, with all columns or those given.

    Yields one row group of the first part at a time; the columns of the other parts are in memory as a whole.
    """
    first, *others = map(open_shard, parts)
    added: pa.Table | None = None
    for file in reversed(others):
        table = file.read(_wanted(file, columns), use_threads=False)
        added = table if added is None else _beside(table, added, parts)
    wanted = _wanted(first, columns)
    if added is None:
        for group in range(first.num_row_groups):
            yield first.read_row_group(group, wanted, use_threads=False)
    elif wanted == ["id"]:  # the other parts have all that is asked for
        yield added
    else:
        ids, at = added["id"].combine_chunks(), 0
        for group in range(first.num_row_groups):
            table = first.read_row_group(group, wanted, use_threads=False)
            is_in = pc.is_in(table["id"], value_set=ids)
            n_rows = pc.sum(is_in).as_py() or 0
            yield _beside(table, added.slice(at, n_rows), parts)
            at += n_rows
        if at < len(ids):
            raise _differ(parts)


def document_rows(parts: Sequence[Path], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of `document_tables`."""
    for table in document_tables(parts, columns):
        for batch in table.to_batches(max_chunksize=256):
            yield from batch.to_pylist()


def texts_of(shard: Path, ids: Container[str]) -> Iterator[tuple[str, str]]:
    """(id, text) of some documents in a shard with complete rows; reads only the row groups with them."""
    with open_shard(shard) as file:
        for group in range(file.num_row_groups):
            here = file.read_row_group(group, ["id"], use_threads=False)["id"].to_pylist()
            found = [paper_id in ids for paper_id in here]
            if any(found):
                table = file.read_row_group(group, ["id", "text"], use_threads=False).filter(pa.array(found))
                yield from zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)


def _wanted(file: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    """The names of a file's columns that are read: `id` and those in `columns`."""
    names = file.schema_arrow.names
    return [name for name in names if columns is None or name in columns or name == "id"]


def _beside(table: pa.Table, added: pa.Table, parts: Sequence[Path]) -> pa.Table:
    """The rows of `table` whose ids are in `added`, with the columns of both."""
    is_in = pc.is_in(table["id"], value_set=added["id"].combine_chunks())
    if not pc.all(is_in).as_py():
        table = table.filter(is_in)
    if table["id"] != added["id"]:
        raise _differ(parts)
    for name in added.column_names:
        if name not in table.column_names:
            table = table.append_column(name, added[name])
    return table


def _differ(parts: Sequence[Path]) -> UserError:
    return UserError(
        f"{parts[-1]}: holds other documents than {parts[0]}, or in another order; delete both and run "
        "make preprocess again"
    )
