"""The folder of the finished corpus, read as it is by the programs that people read corpora with."""

import random
from pathlib import Path

import pandas as pd
import pytest

from preprocess.pipeline import schema
from tests.conftest import ROOT
from tests.support.corpus import document, run_stage, write_done, write_parts
from tests.support.duplicates import write_words

DOCUMENTS = {
    f"0704.{i:04}": f"{' '.join(write_words(random.Random(i), 200))}: Nümber $a_{i} \\le \\frac12$\n\n% {i}"
    for i in range(40)
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of a corpus that split_corpus has finished."""
    data = tmp_path_factory.mktemp("data")
    rows = [document(paper_id, text) for paper_id, text in DOCUMENTS.items()]
    for k in range(2):
        write_parts(data, f"t{k}", rows[k::2], "deduplicate")
    (data / "corpus/main/deduplicate/relatives.json").write_text("{}")
    write_done(data, "deduplicate")
    run_stage("split_corpus", "--data", data, "min_val_papers=4", "val_share=0.1")
    return data / "corpus/main/split_corpus"


def test_pandas_reads_the_folder(corpus: Path) -> None:
    frame = pd.read_parquet(corpus)
    assert dict(zip(frame["id"], frame["text"], strict=True)) == DOCUMENTS
    assert frame["split"].value_counts().to_dict() == {"train": 36, "val": 4}


@pytest.mark.readers
def test_datasets_reads_the_folder(corpus: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset(str(corpus), split="train", cache_dir=str(tmp_path))  # its one split holds all files
    assert dict(zip(rows["id"], rows["text"], strict=True)) == DOCUMENTS
    assert rows.column_names == schema.SPLIT.names


@pytest.mark.readers
def test_duckdb_reads_the_folder(corpus: Path) -> None:
    import duckdb

    rows = duckdb.sql(f"select id, text from '{corpus}/*.parquet'").fetchall()
    assert dict(rows) == DOCUMENTS


@pytest.mark.readers
def test_datatrove_reads_the_folder(corpus: Path) -> None:
    from datatrove.pipeline.readers import ParquetReader

    documents = list(ParquetReader(str(corpus))())
    assert {document.id: document.text for document in documents} == DOCUMENTS
    assert {document.metadata["domain"] for document in documents} == {"math"}


def test_the_table_of_columns_is_up_to_date() -> None:
    committed = (ROOT / "docs/columns.md").read_text(encoding="utf-8")
    assert committed == schema.as_markdown(), "python -m preprocess.pipeline.schema > docs/columns.md"
