"""Read the ledgers that preprocessing writes and check the laws within and between stages.

In: `$DATA/ledger/<variant>/<stage>/<tar>.parquet`, a row for each document that entered a stage. Out: a
`StageYield` for each stage. Only the ids of one tar are in memory at a time.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.loader import CONFIGS, UserError, default_data_root, read_yaml
from configs.stages import CORPUS_STAGES, TAR_STAGES

COLUMNS = ["id", "outcome", "reason", "bytes_in", "bytes_out", "bytes_removed", "detail"]


def corpus_arguments(doc: str | None, out: str) -> argparse.ArgumentParser:
    """The parser of a script about one corpus: --data, --variant, --tokenizer, --out.

    `doc`: the script's docstring. `out`: the folder below analysis/out that holds a folder for each variant.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_data_root(), help="data root ($ARXIV_DATA)")
    parser.add_argument("--variant", default="main", help="corpus (default: main)")
    parser.add_argument("--tokenizer", default="main", help="whose tokens are counted (default: main)")
    parser.add_argument("--out", type=Path, help=f"default: analysis/out/{out}/<variant>")
    return parser


@dataclass
class StageYield:
    """Documents and bytes of one stage, summed over its shards."""

    stage: str
    n_in: int = 0
    n_kept: int = 0
    bytes_in: int = 0
    bytes_kept_in: int = 0
    bytes_out: int = 0
    bytes_removed: int = 0  # from kept documents; negative where a stage made them longer
    dropped: Counter[str] = field(default_factory=Counter)  # documents by reason
    bytes_dropped: Counter[str] = field(default_factory=Counter)  # by reason
    removed: Counter[str] = field(default_factory=Counter)  # bytes by cause; sums to bytes_removed

    def add(self, other: "StageYield") -> None:
        """Add another shard's counts."""
        for name in ("n_in", "n_kept", "bytes_in", "bytes_kept_in", "bytes_out", "bytes_removed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("dropped", "bytes_dropped", "removed"):
            for key, n in getattr(other, name).items():  # Counter's own += would lose what is negative
                getattr(self, name)[key] += n

    def broken_law(self) -> str | None:
        """The first law of the ledger that does not hold, in a sentence; None where all do."""
        if self.n_in != self.n_kept + self.dropped.total():
            return (
                f"{self.n_in} documents in, {self.n_kept} kept, {self.dropped.total()} dropped for a reason"
            )
        dropped = self.bytes_dropped.total()
        if self.bytes_in != self.bytes_out + dropped + self.bytes_removed:
            return (
                f"{self.bytes_in} bytes in, but {self.bytes_out} out + {dropped} dropped + "
                f"{self.bytes_removed} removed"
            )
        if self.bytes_removed != self.removed.total():
            return f"{self.bytes_removed} bytes removed, but {self.removed.total()} by cause"
        return None


@dataclass
class Corpus:
    """A yield for each stage that has run, and whatever does not add up."""

    stages: dict[str, StageYield]
    broken: list[str]  # laws, each in a sentence that names stage and shard
    unfinished: list[str]  # shards that a later stage has not taken yet


def read_corpus(data: Path, variant: str) -> Corpus:
    """The ledgers of a corpus, checked. Raises UserError where there is none."""
    folders = stage_folders(data, variant)
    corpus = Corpus({stage: StageYield(stage) for stage in folders}, [], [])
    for path in sorted(folders.get("filter_metadata", Path("/nonexistent")).glob("*.parquet")):
        _take(corpus, "filter_metadata", path)
    tar_folders = {stage: folder for stage, folder in folders.items() if stage in TAR_STAGES}
    tars = {path.stem for folder in tar_folders.values() for path in folder.glob("*.parquet")}
    for tar in sorted(tars):
        _follow(corpus, tar, tar_folders)
    return corpus


def stage_folders(data: Path, variant: str, kind: str = "ledger") -> dict[str, Path]:
    """Folder of each stage's ledger, in the order of the stages; with kind `corpus` of its documents.

    Raises UserError where there is no ledger.
    """
    variants = list(bases(variant))
    folders = {}
    for stage in CORPUS_STAGES:
        # A stage whose recipe is its base's is not computed again: its files lie with the base.
        homes = (data / kind / base / stage for base in variants)
        folder = next((home for home in homes if any(home.glob("*.parquet"))), None)
        if folder:
            folders[stage] = folder
    if not folders and kind == "ledger":
        raise UserError(
            f"{data / 'ledger' / variant}: no ledgers here; write them: make preprocess DATA={data}"
        )
    return folders


def bases(variant: str) -> Iterator[str]:
    """The corpus, then those that its recipe is based on; `main` is the last."""
    while variant != "main":
        yield variant
        variant = read_yaml(CONFIGS / "corpora" / f"{variant}.yaml").get("base", "main")
    yield "main"


def _follow(corpus: Corpus, tar: str, folders: dict[str, Path]) -> None:
    """Follow one tar through its stages: each stage must receive what the one before kept."""
    before: tuple[str, StageYield, set[str]] | None = None
    for stage, folder in folders.items():
        path = folder / f"{tar}.parquet"
        if not path.exists():
            corpus.unfinished.append(f"{tar} has not passed {stage}")
            return
        shard, ids, kept = _take(corpus, stage, path)
        if before:
            last, last_shard, last_kept = before
            if lost := last_kept - ids:
                corpus.broken.append(
                    f"{stage}: {min(lost)} was kept by {last} and never judged; run it again ({path})"
                )
            if strays := ids - last_kept:
                corpus.broken.append(f"{stage}: {min(strays)} was not kept by {last}; run it again ({path})")
            if (
                last != "validate_archives"
                and not lost
                and not strays
                and shard.bytes_in != last_shard.bytes_out
            ):
                corpus.broken.append(
                    f"{stage}: {shard.bytes_in} bytes in, but {last} put out {last_shard.bytes_out}; "
                    f"run it again ({path})"
                )
        before = stage, shard, kept


def _take(corpus: Corpus, stage: str, path: Path) -> tuple[StageYield, set[str], set[str]]:
    """Add a shard to its stage; returns its yield, the ids that entered and the ids that were kept."""
    shard, ids, kept = StageYield(stage), set(), set()
    for row in read_rows(path, COLUMNS):
        shard.n_in += 1
        shard.bytes_in += row["bytes_in"]
        ids.add(row["id"])
        if row["outcome"] == "kept":
            kept.add(row["id"])
            shard.n_kept += 1
            shard.bytes_kept_in += row["bytes_in"]
            shard.bytes_out += row["bytes_out"]
            shard.bytes_removed += row["bytes_removed"]
            if row["detail"]:
                for cause, n_bytes in json.loads(row["detail"]).items():
                    shard.removed[cause] += n_bytes
        elif row["outcome"] == "dropped" and row["reason"]:
            shard.dropped[row["reason"]] += 1
            shard.bytes_dropped[row["reason"]] += row["bytes_in"]
    if len(ids) != shard.n_in:
        corpus.broken.append(f"{stage}: {shard.n_in - len(ids)} documents were judged twice ({path})")
    if broken := shard.broken_law():
        corpus.broken.append(f"{stage}: {broken} ({path})")
    corpus.stages[stage].add(shard)
    return shard, ids, kept


def read_rows(path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file of preprocessing. Raises UserError where it is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096, columns=columns):
                yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run its stage again") from None
