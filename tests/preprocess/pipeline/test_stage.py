"""The stage runner: whole or absent shards, laws, work done once, the same output for any division."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from configs.loader import LawBroken
from configs.stages import CORPUS_STAGES
from preprocess.pipeline import schema
from preprocess.pipeline.ledger import Documents, check_laws
from preprocess.pipeline.shard import (
    MACHINERY,
    ParquetShard,
    content_hash,
    footer,
    imported_modules,
    read_rows,
)
from tests.conftest import ROOT, run_script
from tests.support.corpus import document, ledger, write_shard

FILTER = "preprocess/filter_quality.py"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(5):
        rows = [document(f"0704.{i}{k:03}") for k in range(6)] + [document(f"0704.{i}999", "too short")]
        write_shard(tmp_path / "d/corpus/main/normalize_text" / f"tar{i}.parquet", rows)
    return tmp_path / "d"


def test_output_is_the_same_for_any_workers_and_shards(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    run_script(FILTER, "--data", data, "--workers", 1)
    for i in range(3):
        run_script(FILTER, "--data", other, "--workers", 2, "--shard", f"{i}/3")
    assert _bytes(data) == _bytes(other)
    assert len(ledger(data, "filter_quality")) == 35


def test_slurm_array_task_takes_its_share(data: Path) -> None:
    array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "5"}
    run_script(FILTER, "--data", data, "--workers", 1, **array)
    made = [path.stem for path in (data / "corpus/main/filter_quality").glob("*.parquet")]
    assert made == ["tar2"]


def test_finished_shards_are_not_made_again(data: Path) -> None:
    run_script(FILTER, "--data", data, "--workers", 1)
    before = {p: p.stat().st_mtime_ns for p in data.rglob("*.parquet")}
    again = run_script(FILTER, "--data", data, "--workers", 1)
    assert "5 of 5 shards are finished" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in data.rglob("*.parquet")}


def test_only_what_changed_is_made_again(data: Path) -> None:
    run_script(FILTER, "--data", data, "--workers", 1)
    write_shard(data / "corpus/main/normalize_text/tar3.parquet", [document("0704.3000")])
    (data / "ledger/main/filter_quality/tar1.parquet").unlink()
    again = run_script(FILTER, "--data", data, "--workers", 1)
    assert "3 of 5 shards are finished" in again.stdout
    assert "29 documents in" in again.stdout


def test_another_threshold_makes_everything_again(data: Path) -> None:
    run_script(FILTER, "--data", data, "--workers", 1)
    again = run_script(FILTER, "--data", data, "--workers", 1, "min_words=0")
    assert "finished" not in again.stdout
    assert "too_short" not in ledger(data, "filter_quality").values()


def test_damaged_shard_is_named(data: Path) -> None:
    (data / "corpus/main/normalize_text/tar3.parquet").write_bytes(b"PAR1 not a shard")
    failed = run_script(FILTER, "--data", data, check=False)
    assert failed.returncode == 2
    assert "tar3.parquet" in failed.stderr
    assert "normalize_text again" in failed.stderr


def test_shard_without_input_is_refused(data: Path) -> None:
    run_script(FILTER, "--data", data, "--workers", 1)
    (data / "corpus/main/normalize_text/tar3.parquet").unlink()
    failed = run_script(FILTER, "--data", data, check=False)
    assert failed.returncode == 2
    assert "tar3" in failed.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--shard", "5/5"], "--shard '5/5'"),
        (["--workers", "0"], "--workers 0"),
        (["--variant", "nonsense"], "nonsense.yaml: no such file"),
        (["min_wordz=3"], "min_wordz: unknown key"),
    ],
)
def test_user_error_has_one_sentence_and_code_2(data: Path, flags: list[str], says: str) -> None:
    failed = run_script(FILTER, "--data", data, *flags, check=False)
    assert failed.returncode == 2
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


def test_exception_leaves_neither_shard_nor_temporary_file(tmp_path: Path) -> None:
    shard = ParquetShard(tmp_path / "a.parquet", schema.PAPERS, "")
    with pytest.raises(ZeroDivisionError), shard:
        shard.append(document("0704.0001") | {"id": 1 / 0})
    assert list(tmp_path.iterdir()) == []


def test_content_hash_is_of_the_rows_alone(tmp_path: Path) -> None:
    rows = [document(f"0704.{i:04}") for i in range(3)]
    write_shard(tmp_path / "a.parquet", rows)
    write_shard(tmp_path / "b.parquet", rows)
    write_shard(tmp_path / "c.parquet", [*rows[:2], document("0704.0002", "other")])
    assert content_hash(tmp_path / "a.parquet") == content_hash(tmp_path / "b.parquet")
    assert content_hash(tmp_path / "a.parquet") != content_hash(tmp_path / "c.parquet")
    assert footer(tmp_path / "a.parquet", "input_hash") == "hash"


def test_footer_is_of_the_file_that_lies_there_now(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for shard_hash in ("one", "two"):  # hashes of the same length: the files have the same size
        with ParquetShard(path, schema.PAPERS, shard_hash):
            pass
        assert footer(path, "input_hash") == shard_hash
    path.unlink()
    assert footer(path, "input_hash") is None


def test_large_shard_is_written_in_row_groups_and_read_back(tmp_path: Path) -> None:
    rows = [document(f"0704.{i:04}", f"{i} " * 500_000) for i in range(40)]
    path = write_shard(tmp_path / "a.parquet", rows)
    assert [row["text"] for row in read_rows(path, ("text",))] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("stage", "needs"),
    [
        (
            "validate_archives",
            {"latex/extraction/archive.py", "pipeline/dropped.py", "pipeline/identifiers.py"},
        ),
        ("extract_latex", {"latex/extraction/flatten.py", "latex/core/wasm.py", "compat/redpajama.py"}),
        ("normalize_text", {"latex/core/wasm.py", "compat/pes2o.py"}),
        ("filter_quality", {"quality/perplexity.py", "latex/plain_text.py", "dedup/ngrams.py"}),
        ("deduplicate", {"dedup/minhash.py", "dedup/ngrams.py"}),
        ("train_tokenizer", {"tokenizer/text_units.py", "tokenizer/training_text.py", "latex/plain_text.py"}),
    ],
)
def test_a_change_of_a_module_that_decides_a_stage_makes_it_again(stage: str, needs: set[str]) -> None:
    modules = imported_modules(f"{stage}.py")
    assert needs | {f"{stage}.py"} <= modules
    assert not any(module in modules for module in ("pipeline/stage.py", "pipeline/job.py"))


@pytest.mark.parametrize("stage", [*CORPUS_STAGES, "train_tokenizer", "tokenize_corpus"])
def test_no_module_that_a_stage_loads_is_missing_from_its_hash(stage: str) -> None:
    """Python itself is asked which modules an import brings in."""
    code = f"import sys, preprocess.{stage}; print(*[m for m in sys.modules if m.startswith('preprocess.')])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = {name.replace(".", "/").removeprefix("preprocess/") + ".py" for name in loaded.stdout.split()}
    files = {path for path in paths if (ROOT / "preprocess" / path).is_file()}
    assert files - MACHINERY <= imported_modules(f"{stage}.py")


class TestLaws:
    def _documents(self, folder: Path) -> tuple[ParquetShard, ParquetShard]:
        return (
            ParquetShard(folder / "k.parquet", schema.PAPERS, ""),
            ParquetShard(folder / "l.parquet", schema.LEDGER, ""),
        )

    def test_laws_hold_for_a_real_stage(self, tmp_path: Path) -> None:
        kept, rows = self._documents(tmp_path)
        with kept, rows:
            documents = Documents(kept, rows, "tar")
            documents.keep(document("0704.0001"), 100, 70, {"comments": 40, "macros": -10})
            documents.drop("0704.0002", "language", 50)
        assert check_laws(tmp_path, ["l"]) == {"kept": 1, "language": 1}

    def test_bytes_that_vanish_are_noticed(self, tmp_path: Path) -> None:
        kept, rows = self._documents(tmp_path)
        with pytest.raises(LawBroken, match=r"0704\.0001"), kept, rows:
            Documents(kept, rows, "tar").keep(document("0704.0001"), 100, 70, {"comments": 29})

    def test_document_judged_twice_is_noticed(self, tmp_path: Path) -> None:
        kept, rows = self._documents(tmp_path)
        documents = Documents(kept, rows, "tar")
        documents.drop("0704.0001", "language", 1)
        with pytest.raises(LawBroken, match="twice"), kept, rows:
            documents.drop("0704.0001", "language", 1)
