"""Documents as text, for the sources that tokenize while they train: Parquet shards, or one JSONL file.

Parquet is the corpus as split_corpus writes it. JSONL is the authors' format: a JSON object a line whose
`text` is a document, the whole file in memory of every process.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from configs.loader import UserError
from train.data.order import permutation
from train.data.ranges import RangeFile, open_storage

FOOTER_READERS = 16  # threads that read the shards' footers when a run starts: each waits for one request
FOOTER_BYTES = 1 << 16  # read from a file's end at first; a longer footer takes a second request


@dataclass(frozen=True)
class Group:
    """Documents that are read together."""

    n_rows: int
    read: Callable[[], list[str | None]]  # None for a row that is not of the split


class Documents(Protocol):
    """A split's documents, in groups."""

    fingerprint: str  # of the content: same fingerprint, same documents in the same order
    location: str  # folder, URL or file

    def groups(self, rank: int, world_size: int, key: object) -> list[Group]:
        """A rank's groups of one epoch, in an order that depends on `key` alone.

        Raises UserError if there are fewer shares than ranks.
        """
        ...


class ParquetDocuments:
    """Shards of Parquet with columns `text` and `split`, local or remote."""

    def __init__(self, location: str, split: str = "train") -> None:
        """Read the footers. Raises UserError if there are no rows or a shard is damaged."""
        self.split, self.location = split, location
        self.storage, files = open_storage(location, "*.parquet")
        with ThreadPoolExecutor(FOOTER_READERS) as pool:
            footers = list(pool.map(lambda file: self._footer(*file), files))
        digest = hashlib.sha256()
        self._shards: list[tuple[str, int, pq.FileMetaData]] = []
        for (path, size), (metadata, footer_sha256) in zip(files, footers, strict=True):
            # The footer holds the rows' content_hash (preprocess), or else each column's size and extremes.
            digest.update(f"{path.rsplit('/', 1)[-1]} {size} {footer_sha256}\n".encode())
            if metadata.num_rows:
                self._shards.append((path, size, metadata))
        if not self._shards:
            raise UserError(f"{location}: its {len(files)} shards hold no rows; run `make preprocess` again")
        self.fingerprint = digest.hexdigest()

    def groups(self, rank: int, world_size: int, key: object) -> list[Group]:
        """Every epoch permutes the shards anew; rank r of w reads shards r, r + w, … of the permutation."""
        if len(self._shards) < world_size:
            raise UserError(
                f"{self.location}: {len(self._shards)} shards with rows are too few for {world_size} "
                f"processes, each of which reads its own: start fewer"
            )
        mine = permutation(len(self._shards), key)[rank::world_size]
        return [
            Group(metadata.row_group(number).num_rows, self._reader(path, size, metadata, number))
            for path, size, metadata in (self._shards[i] for i in mine)
            for number in range(metadata.num_row_groups)
        ]

    def _footer(self, path: str, size: int) -> tuple[pq.FileMetaData, str]:
        start = max(0, size - FOOTER_BYTES)
        end = self.storage.fetch(path, start, size)
        n_bytes = int.from_bytes(end[-8:-4], "little") + 8
        if end[-4:] != b"PAR1" or n_bytes > size:
            raise UserError(f"{path}: is no whole Parquet file; delete it and run `make preprocess`")
        if n_bytes > len(end):
            end = self.storage.fetch(path, size - n_bytes, size)
        try:
            metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + end[-n_bytes:]))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: {error}; delete it and run `make preprocess`") from None
        if missing := {"text", "split"} - set(metadata.schema.names):
            raise UserError(f"{path}: has no column {' and '.join(sorted(missing))}: it is no corpus shard")
        return metadata, hashlib.sha256(end[-n_bytes:]).hexdigest()

    def _reader(
        self, path: str, size: int, metadata: pq.FileMetaData, number: int
    ) -> Callable[[], list[str | None]]:
        def read() -> list[str | None]:
            file = pa.PythonFile(RangeFile(self.storage, path, size), mode="r")
            try:
                parquet = pq.ParquetFile(file, metadata=metadata, pre_buffer=True)
                table = parquet.read_row_group(number, columns=["text", "split"], use_threads=False)
            except (pa.ArrowException, OSError) as error:
                reason = " ".join(str(error).split())
                raise UserError(
                    f"{path}: row group {number} cannot be read ({reason}): the file was damaged or replaced "
                    f"since the run started; restore it and start again"
                ) from None
            rows = zip(table["text"].to_pylist(), table["split"].to_pylist(), strict=True)
            return [text if split == self.split else None for text, split in rows]

        return read


class JsonlDocuments:
    """One file with a JSON object a line. All of it is in memory."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises UserError naming the line if one is no object with a text in Unicode."""
        self.location = str(path)
        self._texts = list(read_jsonl(path))
        if not self._texts:
            raise UserError(f"{path}: holds no document")
        digest = hashlib.sha256()
        for text in self._texts:
            digest.update(text.encode() + b"\n")
        self.fingerprint = digest.hexdigest()

    def groups(self, rank: int, world_size: int, key: object) -> list[Group]:
        """Rank r of w takes lines r, r + w, … of the epoch's permutation."""
        if len(self._texts) < world_size:
            raise UserError(
                f"{self.location}: {len(self._texts)} lines are too few for {world_size} processes"
            )
        mine = permutation(len(self._texts), key)[rank::world_size]
        return [Group(len(mine), lambda: [self._texts[i] for i in mine])]


class _Line(msgspec.Struct):
    text: str


def read_jsonl(path: Path) -> Iterator[str]:
    """The text of each line; empty lines are skipped.

    Raises UserError naming file and line for a line that is no JSON object with a string `text`: cut off, not
    UTF-8, with a raw NUL, with half a surrogate pair (no Unicode character, and no tokenizer can encode it).
    """
    decoder = msgspec.json.Decoder(_Line)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                try:
                    yield decoder.decode(line).text
                except (msgspec.DecodeError, UnicodeError) as error:
                    raise UserError(
                        f"{path}, line {number:,}: {error}: each line must be a JSON object with a string "
                        f'"text"; correct or delete the line'
                    ) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def write_jsonl(documents: Iterator[str], path: Path) -> None:
    """Write documents as `read_jsonl` reads them."""
    with path.open("w", encoding="utf-8") as file:
        for text in documents:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
