"""Small document shards, and ways to run stages on them, for the tests of preprocessing."""

import contextlib
import io
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from configs.stages import parts_after
from preprocess.dedup.minhash import sketch
from preprocess.dedup.ngrams import text_key, word_bytes
from preprocess.pipeline import schema
from preprocess.pipeline.parts import MADE_FROM, hash_of
from preprocess.pipeline.shard import ParquetShard, read_rows

PROSE = (
    "We study the behaviour of solutions near the boundary and show that every bounded sequence has a "
    "limit which depends continuously on the data. The proof uses a compactness argument that goes back "
    "to the last century, and it extends without difficulty to the case of several variables. "
)
PARTS = {
    "normalize_text": schema.DOCUMENTS,
    "filter_quality": schema.MEASURED,
    "deduplicate": schema.DEDUPLICATED,
}


def document(paper_id: str, text: str = PROSE * 8, **values: Any) -> dict[str, Any]:
    """A row with all columns of all document schemas; `values` replace defaults."""
    row: dict[str, Any] = {
        "id": paper_id,
        "domain": "math",
        "categories": "math.CA",
        "license": "",
        "created": "2007-04-01",
        "title": "A title",
        "abstract": "An abstract.",
        "source_tar": "arXiv_src_0704_001",
        "main_file": "main.tex",
        "record": "{}",
        "text": text,
        "language": "en",
        "language_score": 1.0,
        "n_words": 100,
        "letter_share": 0.9,
        "math_share": 0.1,
        "repetition": 0.0,
        "slide_share": 0.0,
        "blocked_share": 0.0,
        "ngram_bits_per_byte": None,
        "split": "train",
        "component": paper_id,
    }
    return row | values


def write_shard(path: Path, rows: list[dict[str, Any]], columns: pa.Schema = schema.DOCUMENTS) -> Path:
    """Write a shard as the stage before would."""
    with ParquetShard(path, columns, "hash") as shard:
        for row in rows:
            shard.append(row)
    return path


def write_parts(
    data: Path,
    tar: str,
    rows: list[dict[str, Any]],
    upto: str = "filter_quality",
    variant: str = "main",
    only_last: bool = False,
) -> None:
    """Write the documents of a tar, texts and added columns, as if all stages up to `upto` had kept them.

    `only_last`: write the part of `upto`, from the parts that are there.
    """
    parts: list[Path] = []
    for stage in parts_after(upto):
        path = data / "corpus" / variant / stage / f"{tar}.parquet"
        if only_last and stage != upto:
            parts.append(path)
            continue
        with ParquetShard(path, PARTS[stage], "hash") as shard:
            for row in rows:
                words = word_bytes(row["text"])
                text_bytes = len(row["text"].encode())
                shard.append(
                    row | {"text_bytes": text_bytes, "text_key": text_key(words), "sketch": sketch(words)}
                )
            shard.notes[MADE_FROM] = hash_of(parts)
        parts.append(path)


def write_done(data: Path, stage: str, variant: str = "main") -> None:
    """Write the marker of a finished corpus-wide stage."""
    done = data / "ledger" / variant / stage / "_DONE.json"
    done.parent.mkdir(parents=True, exist_ok=True)
    done.write_text("{}")


def run_stage(stage: str, *args: object) -> str:
    """Run a stage with one worker in this process, a second faster than in a new one; return its output.

    Raises what the stage raises.
    """
    said = io.StringIO()
    argv = [f"preprocess/{stage}.py", "--workers", "1", *map(str, args)]
    with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(said):
        import_module(f"preprocess.{stage}").main()
    return said.getvalue()


def ledger(data: Path, stage: str, variant: str = "main") -> dict[str, str]:
    """Outcome or reason of each document in a stage's ledger."""
    return {
        row["id"]: row["reason"] or row["outcome"]
        for path in sorted((data / "ledger" / variant / stage).glob("*.parquet"))
        for row in read_rows(path)
    }


def detail(data: Path, stage: str, paper_id: str) -> Any:
    """The ledger's detail of a kept document."""
    for path in (data / "ledger" / "main" / stage).glob("*.parquet"):
        for row in read_rows(path):
            if row["id"] == paper_id:
                return json.loads(row["detail"])
    raise KeyError(paper_id)
