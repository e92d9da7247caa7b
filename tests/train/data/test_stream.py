"""Text as a source: every document once in an epoch, exact resumes in place, and storage that fails."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import UserError
from tests.support.storage import serve, serve_s3
from train.data.documents import JsonlDocuments, ParquetDocuments, read_jsonl, write_jsonl
from train.data.ranges import ATTEMPTS
from train.data.stream import START, TextStream, through_buffer
from train.model.loss import IGNORE

EOD, T, BUFFER = 2, 16, 4
SHARDS, ROWS, ROW_GROUP = 5, 12, 5


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def text_of(shard: int, row: int) -> str:
    return chr(0x100 + shard * ROWS + row) * (3 + 7 * row)  # its own character, its own length


def write_shard(path: Path, shard: int, rows: int = ROWS) -> None:
    table = {
        "text": pa.array([text_of(shard, row) for row in range(rows)], pa.string()),
        "split": pa.array(["val" if row % 4 == 3 else "train" for row in range(rows)], pa.string()),
    }
    pq.write_table(pa.table(table), path, row_group_size=ROW_GROUP)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for shard in range(SHARDS):
        write_shard(folder / f"{shard}.parquet", shard)
    write_shard(folder / "empty.parquet", 0, rows=0)
    return folder


TRAIN = [text_of(shard, row) for shard in range(SHARDS) for row in range(ROWS) if row % 4 != 3]


def stream_of(location: object, rank: int = 0, world_size: int = 1, **values: bool) -> TextStream:
    documents = ParquetDocuments(str(location))
    return TextStream(documents, encode, EOD, T, (0,), rank, world_size, buffer_documents=BUFFER, **values)


# ---------------------------------------------------------------- order


@given(n=st.integers(0, 300), buffer=st.integers(1, 50), key=st.integers())
def test_a_buffer_gives_out_every_row_once_and_none_before_it_came_in(n: int, buffer: int, key: int) -> None:
    order = through_buffer(n, buffer, key)
    assert sorted(order) == list(range(n))
    assert (order < np.arange(n) + buffer).all()


def test_an_epoch_holds_every_training_document_once_over_all_ranks(corpus: Path) -> None:
    seen: Counter[str] = Counter()
    for rank in range(2):
        for window, behind in stream_of(corpus, rank, 2, truncates=True).samples():
            if behind.epoch:
                break
            seen[chr(window[0])] += 1
    assert seen == Counter(text[0] for text in TRAIN)


def test_windows_are_the_documents_joined_by_end_of_document_tokens(corpus: Path) -> None:
    stream = stream_of(corpus)
    n_tokens = sum(len(text) + 1 for text in TRAIN)
    windows = [window for window, _ in islice(stream.samples(), (n_tokens - 1) // T)]
    assert all(one[-1] == other[0] for one, other in pairwise(windows))
    joined = np.concatenate([windows[0][:1], *(window[1:] for window in windows)])
    documents = "".join(map(chr, joined)).split(chr(EOD))[:-1]
    assert len(documents) > len(TRAIN) - 3
    assert set(documents) <= set(TRAIN)
    assert len(set(documents)) == len(documents)
    assert documents != [text for text in TRAIN if text in set(documents)]  # shuffled


# ---------------------------------------------------------------- resume


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("stop", [1, 7, 40, 90])
def test_a_resumed_stream_gives_the_same_batches(corpus: Path, stop: int, truncates: bool) -> None:
    whole = list(islice(stream_of(corpus, 1, 2, truncates=truncates).batches(3), 120))
    assert whole[-1][1].epoch >= 1  # the comparison crosses an epoch
    resumed = stream_of(corpus, 1, 2, truncates=truncates).batches(3, whole[stop - 1][1], workers=0)
    for (one, behind), (other, behind_other) in zip(whole[stop:], resumed, strict=False):
        assert behind == behind_other
        assert one.input_ids_BT.equal(other.input_ids_BT)
        assert one.targets_BT.equal(other.targets_BT)


def test_a_resume_reads_only_what_the_buffer_and_the_rest_need(corpus: Path) -> None:
    positions = [behind for _, behind in islice(stream_of(corpus, truncates=True).samples(), len(TRAIN) - 5)]
    late = stream_of(corpus, truncates=True)
    opening = late.documents.storage.bytes_read  # type: ignore[attr-defined]
    next(late.samples(positions[-1]))
    early = stream_of(corpus, truncates=True)
    list(islice(early.samples(), len(TRAIN) - 4))
    read = [s.documents.storage.bytes_read - opening for s in (late, early)]  # type: ignore[attr-defined]
    assert read[0] < read[1] / 2


def test_a_replaced_shard_changes_the_fingerprint(corpus: Path) -> None:
    before = ParquetDocuments(str(corpus)).fingerprint
    assert ParquetDocuments(str(corpus)).fingerprint == before
    shutil.copy(corpus / "1.parquet", corpus / "2.parquet")
    assert ParquetDocuments(str(corpus)).fingerprint != before


def test_a_shard_that_is_replaced_while_it_is_read_is_named(corpus: Path) -> None:
    stream = stream_of(corpus)
    for shard in range(SHARDS):
        path = corpus / f"{shard}.parquet"
        path.write_bytes(os.urandom(path.stat().st_size))
    with pytest.raises(UserError, match=r"\d.parquet: row group 0 cannot be read .* replaced"):
        next(stream.batches(1))


def test_two_processes_read_one_folder_at_the_same_time(corpus: Path) -> None:
    alone = [window.tolist() for window, _ in islice(stream_of(corpus).samples(), 30)]
    one, other = stream_of(corpus).samples(), stream_of(corpus).samples()
    for expected in alone:
        assert next(one)[0].tolist() == expected == next(other)[0].tolist()


def test_more_processes_than_shards_are_refused(corpus: Path) -> None:
    with pytest.raises(UserError, match="5 shards with rows are too few for 6 processes"):
        next(stream_of(corpus, 0, 6).batches(1, workers=0))


def test_a_cut_off_shard_is_named(corpus: Path) -> None:
    path = corpus / "3.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"3.parquet: is no whole Parquet file"):
        ParquetDocuments(str(corpus))


def test_a_corpus_without_text_of_the_split_is_refused(corpus: Path) -> None:
    documents = ParquetDocuments(str(corpus), split="test")
    with pytest.raises(UserError, match=r"corpus: holds no text to train on"):
        next(TextStream(documents, encode, EOD, T, (0,)).samples())


def test_a_folder_of_empty_shards_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.parquet", 0, rows=0)
    with pytest.raises(UserError, match="its 1 shards hold no rows"):
        ParquetDocuments(str(tmp_path))


# ---------------------------------------------------------------- remote


@pytest.mark.remote
def test_a_remote_stream_gives_the_batches_of_the_local_one_despite_faults(corpus: Path) -> None:
    local = [batch.input_ids_BT.tolist() for batch, _ in islice(stream_of(corpus).batches(2), 20)]
    with serve(corpus) as (server, url):
        stream = stream_of(url)
        stream.documents.storage.pause = lambda _: None  # type: ignore[attr-defined]
        batches = stream.batches(2, workers=0)
        remote = [next(batches)[0].input_ids_BT.tolist()]
        server.errors_left, server.short_left = ATTEMPTS - 2, 1
        remote += [batch.input_ids_BT.tolist() for batch, _ in islice(batches, 19)]
        assert stream.documents.storage.retries >= ATTEMPTS - 1  # type: ignore[attr-defined]
    assert remote == local


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """An S3 server on this machine, which clients find by the environment, as they find any other."""
    with serve_s3() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in endpoint.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def bucket(corpus: Path, s3: None) -> str:
    """URL of the corpus in a bucket of its own."""
    filesystem, name = fsspec.filesystem("s3"), uuid4().hex
    filesystem.mkdir(name)
    filesystem.put(str(corpus), f"{name}/corpus", recursive=True)
    return f"s3://{name}/corpus"


@pytest.mark.remote
def test_a_stream_from_s3_reads_ranges_and_gives_the_batches_of_the_local_one(
    corpus: Path, bucket: str
) -> None:
    local = stream_of(corpus)
    expected = [batch.input_ids_BT.tolist() for batch, _ in islice(local.batches(2), 20)]
    stream = stream_of(bucket)
    assert stream.documents.fingerprint == local.documents.fingerprint
    storage = stream.documents.storage  # type: ignore[attr-defined]
    opened = storage.bytes_read
    batches = stream.batches(2, workers=0)
    assert [next(batches)[0].input_ids_BT.tolist()] == expected[:1]
    sizes = sorted(path.stat().st_size for path in corpus.glob("*.parquet"))
    assert storage.bytes_read - opened < sizes[0]  # row groups, no whole file
    assert [batch.input_ids_BT.tolist() for batch, _ in islice(batches, 19)] == expected[1:]


@pytest.mark.remote
def test_a_bucket_that_is_missing_is_named(s3: None) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere/corpus: (cannot be listed|holds no \*.parquet)"):
        stream_of("s3://nowhere/corpus")


@pytest.mark.remote
def test_a_shard_that_vanishes_from_s3_is_named(bucket: str) -> None:
    stream = stream_of(bucket)
    fsspec.filesystem("s3").rm(bucket, recursive=True)
    with pytest.raises(UserError, match=r"corpus/\d.parquet: is gone"):
        next(stream.batches(1))


@pytest.mark.remote
@pytest.mark.parametrize(("fault", "says"), [("errors_left", "503"), ("short_left", "bytes came instead of")])
def test_storage_that_keeps_failing_ends_in_a_sentence(corpus: Path, fault: str, says: str) -> None:
    with serve(corpus) as (server, url):
        stream = stream_of(url)
        stream.documents.storage.pause = lambda _: None  # type: ignore[attr-defined]
        setattr(server, fault, 10**6)
        with pytest.raises(UserError, match=f"could not be read in {ATTEMPTS} attempts .*{says}"):
            next(stream.batches(1))


# ---------------------------------------------------------------- JSONL


def test_jsonl_holds_what_was_written_and_an_epoch_every_line_once(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    texts = [*TRAIN, "line\nbreak\u2028\u0000NUL\u0085", "𝒜"]
    write_jsonl(iter(texts), path)
    assert list(read_jsonl(path)) == texts
    stream = TextStream(JsonlDocuments(path), encode, EOD, T, (0,), truncates=True)
    epoch = [tuple(window) for window, _ in islice(stream.samples(START), len(texts))]
    assert sorted(epoch) == sorted(tuple([*encode(text), EOD][: T + 1]) for text in texts)


def test_a_short_document_is_padded(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_jsonl(iter(["abc"]), path)
    batch, _ = next(TextStream(JsonlDocuments(path), encode, EOD, T, (0,), truncates=True).batches(1))
    assert batch.targets_BT[0].tolist() == [*encode("bc"), EOD] + [IGNORE] * (T - 3)


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "cut',
        b'{"text": "a\0b"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'["a"]',
        b'{"id": 1}',
    ],
    ids=["cut off", "raw NUL", "lone surrogate", "no UTF-8", "no object", "no text"],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b'{"text": "good"}\n\n' + line + b"\n")
    with pytest.raises(UserError, match=r"corpus.jsonl, line 3: .*correct or delete the line"):
        JsonlDocuments(path)


def test_a_line_of_100_mb_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"text": "x" * 100_000_000}) + "\n")
    assert [len(text) for text in read_jsonl(path)] == [100_000_000]
