"""What reading costs: token shards, a Parquet stream, JSONL in memory, truncated and padded.

    make bench-io [SCALE=mini] [DATA=data/mini] [VARIANT=main]

In:  corpus, tokenizer and token shards below DATA (make preprocess).
Out: a table; analysis/measurements/io.json, which analysis/io_report.py draws.

A run trains from each of them with `source=` (docs/io.md). Here every source is read twice: as fast as it
goes, and by a consumer that takes as long for a micro-batch as an H100 would, which shows how long it waits
for data. Local files are in the page cache. Throttled storage is a
local HTTP server (tests/support/storage.py): every request waits for a latency, all share one bandwidth; the
token source asks for one range a window, on eight threads, the stream for one range a row group. The two
sources alternate. The authors' JSONL is read whole before the first step, so throttling only delays that.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.coverage import Epoch, epoch_of_text, epoch_of_tokens, epoch_samples
from benchmarks.loader import own_mib
from benchmarks.measure import record, token_arguments
from configs.loader import run_main
from tests.support.training import ROOT
from train.config import Run, load_run
from train.data.batches import READ_AHEAD, Batch, TrainingData, rank_batches
from train.data.documents import JsonlDocuments, ParquetDocuments, write_jsonl
from train.data.ranges import Storage, open_storage
from train.data.shards import DTYPE, TokenSet, open_tokens
from train.data.stream import TextStream, load_encoder
from train.model.loss import IGNORE

T, MICRO_BATCH = 768, 16  # of the full run
H100_TOKENS_PER_S = 48_910  # MPT-1b, 1.31 B parameters, T = 1,024, on 8 x H100: tokens/s of one GPU
BUFFER_DOCUMENTS = 64  # of 348 training papers; 1,024 would hold the whole corpus
# Seconds that a source is read as fast as it goes; steps of the slow consumer. What was read ahead while the
# consumer started serves the first steps, which are not timed.
LOCAL_S, STEPS, UNTIMED_STEPS = 4.0, 30, READ_AHEAD
THREADS = 8
# (name, latency in s, bytes/s)
STORAGES = (
    ("100 MB/s, 1 ms", 0.001, 100e6),
    ("1 MB/s, 30 ms", 0.03, 1e6),
    ("0.15 MB/s, 30 ms", 0.03, 0.15e6),
    ("0.05 MB/s, 30 ms", 0.03, 0.05e6),
)
PROJECTED_BYTES = 200e9  # of text
Sources = dict[str, Callable[[], tuple[Iterator[Batch], Storage | None]]]


class RemoteArray:
    """A token shard on remote storage, as far as DomainTokens uses an array: each slice is one request."""

    dtype = DTYPE

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage, self._path = storage, path

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop = part.start * DTYPE.itemsize, part.stop * DTYPE.itemsize
        return np.frombuffer(self._storage.fetch(self._path, start, stop), DTYPE)


def token_batches(
    data: Path, run: Run, url: str | None = None, **values: Any
) -> tuple[Iterator[Batch], Storage | None]:
    """Batches of token shards, local or from a server of the data root."""
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train")
    storage = None
    if url:
        storage = open_storage(f"{url}/{quote(str(tokens.folder.relative_to(data)))}/cs", "*.bin")[0]
        for stream in tokens.domains.values():
            stream._map = remote_map(storage, url, data, stream.shards)  # type: ignore[assignment]
    training = TrainingData(tokens, run.with_recipe(**values))
    return rank_batches(training, run, 0, 1, 0, workers=THREADS if url else 1), storage


def remote_map(storage: Storage, url: str, data: Path, shards: list[Path]) -> Callable[[int], RemoteArray]:
    """Opens a domain's shards by number."""
    return lambda number: RemoteArray(storage, f"{url}/{shards[number].relative_to(data)}.bin")


def text_stream(documents: Any, data: Path, run: Run, truncates: bool = False) -> TextStream:
    """One process's stream of a corpus's text."""
    encode = load_encoder(data / "tokenizers" / run.recipe.tokenizer)
    eod = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train").eod_id
    return TextStream(documents, encode, eod, T, (0,), 0, 1, truncates, BUFFER_DOCUMENTS)


def text_batches(stream: TextStream) -> Iterator[Batch]:
    """The stream's batches without positions."""
    return (batch for batch, _ in stream.batches(MICRO_BATCH))


def corpus_of(data: Path, run: Run) -> Path:
    """Folder of the corpus's last stage."""
    return data / "corpus" / run.recipe.corpus / "split_corpus"


def sources_of(data: Path, run: Run, jsonl: Path) -> Sources:
    """Each source on local files."""

    def parquet() -> tuple[Iterator[Batch], Storage | None]:
        documents = ParquetDocuments(str(corpus_of(data, run)))
        return text_batches(text_stream(documents, data, run)), documents.storage

    return {
        "tokens": lambda: token_batches(data, run),
        "parquet stream": parquet,
        "jsonl, packed": lambda: (text_batches(text_stream(JsonlDocuments(jsonl), data, run)), None),
        "jsonl, padded": lambda: (text_batches(text_stream(JsonlDocuments(jsonl), data, run, True)), None),
    }


def read_locally(name: str, data: Path, run: Run, jsonl: Path) -> dict[str, float]:
    """In a process of its own: speed, processor time and memory of a source on local files."""
    before, began, cpu = own_mib(), time.perf_counter(), time.process_time()
    batches, _ = sources_of(data, run, jsonl)[name]()
    first = next(batches)
    start_s = time.perf_counter() - began
    useful, peak = 0, own_mib()
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < LOCAL_S:
        useful += int((next(batches).targets_BT != IGNORE).sum())
        peak = max(peak, own_mib())
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    assert len(first.input_ids_BT) == MICRO_BATCH
    return {
        "first_batch_s": start_s,
        "useful_tokens_per_s": useful / wall_s,
        "useful_tokens_per_cpu_s": useful / cpu_s,
        "memory_mib": peak - before,
    }


def slow_consumer(batches: Iterator[Batch]) -> dict[str, float]:
    """Wait for data in each step of a consumer as fast as an H100."""
    began = time.perf_counter()
    step = next(batches)
    first_s, waits, positions = time.perf_counter() - began, [], step.input_ids_BT.numel()
    began = time.perf_counter()
    for batch in islice(batches, UNTIMED_STEPS + STEPS):
        waits.append(time.perf_counter() - began)
        time.sleep(positions / H100_TOKENS_PER_S)
        positions = batch.input_ids_BT.numel()
        began = time.perf_counter()
    compute_s = positions / H100_TOKENS_PER_S
    waits = waits[UNTIMED_STEPS:]
    return {
        "first_batch_s": first_s,
        "wait_s_per_step": sum(waits) / STEPS,
        "median_wait_s": median(waits),
        "wait_share": sum(waits) / (sum(waits) + STEPS * compute_s),
    }


def throttled(data: Path, run: Run, latency_s: float, bytes_per_s: float) -> dict[str, dict[str, float]]:
    """Token shards and Parquet stream from a server of its own for each."""
    figures = {}
    for name in ("tokens", "parquet stream"):
        command = ["-m", "tests.support.storage", str(data.resolve()), str(latency_s), str(bytes_per_s)]
        server = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            if name == "tokens":
                batches, storage = token_batches(data, run, url)
            else:
                documents = ParquetDocuments(f"{url}/{corpus_of(data, run).relative_to(data)}")
                batches, storage = text_batches(text_stream(documents, data, run)), documents.storage
            assert storage
            before = storage.bytes_read, storage.requests
            figures[name] = slow_consumer(batches)
            figures[name]["bytes_read"] = storage.bytes_read - before[0]
            figures[name]["requests"] = storage.requests - before[1]
        finally:
            server.kill()
            server.wait()
    return figures


def bytes_below(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def disk(data: Path, run: Run, tokens: TokenSet, jsonl_bytes: int) -> dict[str, Any]:
    """Bytes of each stage's files, and what they project to for PROJECTED_BYTES of text."""
    totals = json.loads((tokens.folder.parent / "_DONE.json").read_text())
    text_bytes = sum(counts["n_bytes"] for counts in totals.values())
    train_bytes = sum(stream.totals["n_bytes"] for stream in tokens.domains.values())
    name = f"{run.recipe.corpus}-{run.recipe.tokenizer}"
    stages = (data / "corpus" / run.recipe.corpus).iterdir()
    sizes = {f"corpus/{path.name}": bytes_below(path) for path in sorted(stages)}
    sizes["ledger"] = bytes_below(data / "ledger" / run.recipe.corpus)
    sizes["jsonl"] = round(jsonl_bytes * text_bytes / train_bytes)  # as if it held the validation papers, too
    sizes["tokens"] = bytes_below(data / "tokens" / name)
    n_tokens = sum(path.stat().st_size for path in (data / "tokens" / name).rglob("*.bin")) // DTYPE.itemsize
    sizes["tokens, packed"] = sizes["tokens"] - 4 * n_tokens + n_tokens * 17 // 8
    return {
        "text_bytes": text_bytes,
        "bytes": sizes,
        "projected_gb": {key: size / text_bytes * PROJECTED_BYTES / 1e9 for key, size in sizes.items()},
    }


def coverage(data: Path, run: Run, tokens: TokenSet, parquet: ParquetDocuments) -> dict[str, Any]:
    """Padding and share of the corpus seen, by source, and bytes read for each useful token."""
    n_tokens = sum(stream.n_tokens for stream in tokens.domains.values())
    before = parquet.storage.bytes_read
    epochs: dict[str, tuple[Epoch, float]] = {}
    packed = epoch_of_tokens(TrainingData(tokens, run), epoch_samples(tokens, T, False))
    truncating = TrainingData(tokens, run.with_recipe(packing="truncate"))
    padded = epoch_of_tokens(truncating, epoch_samples(tokens, T, True))
    stream = epoch_of_text(text_stream(parquet, data, run))
    epochs["tokens"] = packed, packed.samples * (T + 1) * DTYPE.itemsize
    epochs["parquet stream"] = stream, parquet.storage.bytes_read - before
    text_bytes = sum(each.totals["n_bytes"] for each in tokens.domains.values())
    epochs["jsonl, packed"] = stream, text_bytes
    epochs["jsonl, padded"] = padded, text_bytes
    return {
        name: {
            "samples": epoch.samples,
            "targets": epoch.targets,
            "padding": epoch.padding,
            "seen": epoch.seen(n_tokens),
            "passes_in_the_budget": epoch.passes(n_tokens),
            "bytes_per_useful_token": n_bytes / epoch.targets,
        }
        for name, (epoch, n_bytes) in epochs.items()
    }


def main() -> None:
    """Measure, print, record."""
    arguments, data = token_arguments(__doc__)
    values = {"corpus": arguments.variant, "sequence_length": 256}
    run = load_run(ROOT / "configs/runs/run20.yaml", arguments.scale, 0, values)
    sizes = {"sequence_length": T, "micro_batch_size": MICRO_BATCH, "global_batch_size": 4 * MICRO_BATCH}
    run = run.with_recipe(**sizes, tokens_total=52_180_000_000)
    tokens = open_tokens(data, run.recipe.corpus, run.recipe.tokenizer, "train")
    parquet = ParquetDocuments(str(corpus_of(data, run)))
    figures: dict[str, Any] = {
        "command": f"make bench-io SCALE={arguments.scale} VARIANT={arguments.variant}",
        "documents": sum(len(stream.documents.start) for stream in tokens.domains.values()),
        "corpus_tokens": sum(stream.n_tokens for stream in tokens.domains.values()),
        "corpus_bytes": sum(stream.totals["n_bytes"] for stream in tokens.domains.values()),
        "sequence_length": T,
        "micro_batch_size": MICRO_BATCH,
        "consumer_tokens_per_s": H100_TOKENS_PER_S,
        "steps": STEPS,
        "projected_text_bytes": PROJECTED_BYTES,
    }
    with tempfile.TemporaryDirectory() as folder:
        jsonl = Path(folder) / "corpus.jsonl"
        groups = parquet.groups(0, 1, 0)
        texts = chain.from_iterable(group.read() for group in groups)
        write_jsonl((text for text in texts if text is not None), jsonl)
        figures["disk"] = disk(data, run, tokens, jsonl.stat().st_size)
        print("counting an epoch of each source", flush=True)
        figures["epoch"] = coverage(data, run, tokens, parquet)
        figures["local"] = {}
        for name in figures["epoch"]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures["local"][name] = pool.apply(read_locally, (name, data, run, jsonl))
            print(name, json.dumps(figures["local"][name]), flush=True)
    figures["throttled"] = {}
    for name, latency_s, bytes_per_s in STORAGES:
        measured = throttled(data, run, latency_s, bytes_per_s)
        storage = {"latency_s": latency_s, "bytes_per_s": bytes_per_s}
        figures["throttled"][name] = storage | {"sources": measured}
        print(name, json.dumps(measured), flush=True)
    record("io", figures, ("numpy", "pyarrow", "fsspec", "aiohttp", "kitoken"))


if __name__ == "__main__":
    run_main(main)
