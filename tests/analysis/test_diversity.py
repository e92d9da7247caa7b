"""Distinct n-grams before and after each filter, from sketches that add up over shards."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.readers import distinct_ngrams as reader
from preprocess.pipeline import schema
from preprocess.quality import diversity as writer

REASONS = ("language", "repetitive", "")


def _write(path: Path, sketch: writer.Diversity) -> None:
    empty = pa.Table.from_pylist([], schema.LEDGER)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(empty.replace_schema_metadata({writer.FOOTER: sketch.to_json(REASONS)}), path)


def test_the_reader_expects_what_the_writer_writes() -> None:
    assert (reader.FOOTER.decode(), reader.K) == (writer.FOOTER, writer.K)


def test_small_sets_are_counted_exactly_over_shards(tmp_path: Path) -> None:
    hashes = np.arange(1, 101, dtype=np.uint64)
    for name, kept, foreign, repeated in (
        ("a", hashes[:60], hashes[50:80], hashes[:0]),
        ("b", hashes[40:70], hashes[75:90], np.tile(hashes[:10], 3)),
    ):
        sketch = writer.Diversity()
        sketch.add("", kept)
        sketch.add("language", foreign)
        sketch.add("repetitive", repeated)
        _write(tmp_path / f"{name}.parquet", sketch)
    language, repetitive = reader.read_diversity(tmp_path)
    # Of the foreign 50..90, 70..90 stand nowhere else; the repeated ones all stand in kept text.
    assert (language.distinct_before, language.distinct_after) == (90, 70)
    assert language.distinct_lost == pytest.approx(20 / 90)
    assert (language.ngrams_before, language.ngrams_after) == (165, 120)
    assert repetitive.distinct_lost == 0
    assert repetitive.ngrams_after == 90


def test_large_sets_are_estimated(tmp_path: Path) -> None:
    hashes = np.random.default_rng(1).integers(0, 2**64, 200_000, dtype=np.uint64)
    for i, part in enumerate(np.split(hashes, 10)):
        sketch = writer.Diversity()
        for piece in np.split(part[:18_000], 20):
            sketch.add("", piece)
        sketch.add("language", part[18_000:])
        _write(tmp_path / f"{i}.parquet", sketch)
    (row,) = reader.read_diversity(tmp_path)
    assert row.distinct_before == pytest.approx(200_000, rel=0.1)
    assert row.distinct_lost == pytest.approx(0.1, abs=0.03)


def test_ledger_without_sketches_has_no_report(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([], schema.LEDGER), tmp_path / "a.parquet")
    assert reader.read_diversity(tmp_path) == []
