"""The ledger: one row for each document that entered a stage, and the laws that its rows obey.

Documents: number in = number kept + number dropped, summed over the reasons.
Bytes: bytes in = bytes of kept documents as written + bytes of dropped documents + bytes removed from kept
documents. The code that removes bytes counts them; they are not computed as a difference.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from configs.loader import LawBroken
from preprocess.pipeline.schema import LEDGER
from preprocess.pipeline.shard import ParquetShard, open_shard


class Documents:
    """Collects a shard's documents: a row of the shard for each that stays, a ledger row for every one."""

    def __init__(self, kept: ParquetShard, ledger: ParquetShard, source_tar: str) -> None:
        self._kept, self._ledger, self._source_tar = kept, ledger, source_tar
        self._ids: set[str] = set()
        self.counts: Counter[str] = Counter()  # documents by reason, "kept" among them

    def keep(self, row: dict[str, Any], bytes_in: int, bytes_out: int, removed: Mapping[str, int]) -> None:
        """Keep a document. `removed`: bytes by cause, negative for bytes that were added.

        Raises LawBroken if the id was seen before or bytes_in != bytes_out + removed.
        """
        causes = {cause: n for cause, n in sorted(removed.items()) if n}
        self._book(
            row["id"],
            "kept",
            "",
            bytes_in,
            bytes_out,
            sum(causes.values()),
            _compact(causes) if causes else "",
        )
        self._kept.append(row)

    def drop(self, paper_id: str, reason: str, bytes_in: int, detail: str = "") -> None:
        """Drop a document for a named reason. Raises LawBroken if the id was seen before."""
        self._book(paper_id, "dropped", reason, bytes_in, 0, 0, detail)

    def choose(
        self,
        table: pa.Table,
        dropped: Sequence[tuple[str, str] | None],
        added: Mapping[str, Sequence[Any]],
    ) -> None:
        """Keep or drop the documents of a table, none of whose texts is changed.

        `table`: at least the columns that are written and are not in `added`, and `text` or `text_bytes`.
        `dropped`: for each row the reason and its detail, None if it stays. `added`: further columns, with a
        value for each row. Raises LawBroken if an id was seen before.
        """
        has_text = "text" in table.column_names
        n_bytes = (pc.binary_length(table["text"]) if has_text else table["text_bytes"]).to_pylist()
        ids = table["id"].to_pylist()
        for paper_id, n, verdict in zip(ids, n_bytes, dropped, strict=True):
            if verdict:
                self.drop(paper_id, verdict[0], n, verdict[1])
            else:
                self._book(paper_id, "kept", "", n, n, 0, "")
        carried = [name for name in self._kept.schema.names if name not in added]
        kept = table.select(carried).filter(pa.array([verdict is None for verdict in dropped], pa.bool_()))
        for name, values in added.items():
            field = self._kept.schema.field(name)
            of_kept = [value for value, verdict in zip(values, dropped, strict=True) if verdict is None]
            kept = kept.append_column(field, pa.array(of_kept, field.type))
        self._kept.append_table(kept)

    def note(self, key: str, value: str) -> None:
        """Write a value to the footer of the ledger's shard."""
        self._ledger.notes[key] = value

    def _book(
        self, paper_id: str, outcome: str, reason: str, n_in: int, n_out: int, n_removed: int, detail: str
    ) -> None:
        if paper_id in self._ids:
            raise LawBroken(f"{self._ledger.path}: {paper_id} has two rows")
        if outcome == "kept" and n_in != n_out + n_removed:
            raise LawBroken(
                f"{self._ledger.path}: {paper_id}: {n_in} bytes in, {n_out} out, removed {detail or 'none'}"
            )
        self._ids.add(paper_id)
        self.counts[reason or outcome] += 1
        self._ledger.append(
            {
                "id": paper_id,
                "source_tar": self._source_tar,
                "outcome": outcome,
                "reason": reason,
                "bytes_in": n_in,
                "bytes_out": n_out,
                "bytes_removed": n_removed,
                "detail": detail,
            }
        )


def _compact(value: Mapping[str, int]) -> str:
    return json.dumps(value, separators=(",", ":"))


def check_laws(folder: Path, names: Iterable[str]) -> Counter[str]:
    """Documents by reason ("kept" among them) in the ledger shards `names` of a stage.

    Raises LawBroken if one of the laws at the top of this module does not hold.
    """
    counts: Counter[str] = Counter()
    for name in names:
        with open_shard(folder / f"{name}.parquet") as file:
            table = file.read(LEDGER.names[2:7], use_threads=False)
        kept = pc.equal(table["outcome"], "kept")
        total = {c: pc.sum(table[c]).as_py() or 0 for c in ("bytes_in", "bytes_out", "bytes_removed")}
        dropped = pc.sum(table.filter(pc.invert(kept))["bytes_in"]).as_py() or 0
        if total["bytes_in"] != total["bytes_out"] + dropped + total["bytes_removed"]:
            raise LawBroken(f"{folder / name}: bytes do not add up: {total}, of dropped documents {dropped}")
        by_reason = table["reason"].value_counts().to_pylist()
        for entry in by_reason:
            counts[entry["values"] or "kept"] += entry["counts"]
        if sum(entry["counts"] for entry in by_reason) != table.num_rows:
            raise LawBroken(f"{folder / name}: a document has no verdict")
    return counts
