"""The documents of a corpus by domain, year, licence and dialect of their source.

In: in `$DATA/corpus/<variant>/` the shards of filter_metadata, extract_latex and split_corpus, but not their
texts; the ledger of split_corpus; the index of the token shards. Out: a `Group` for each value. Only one tar
is in memory at a time.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.readers.ledgers import read_rows, stage_folders

_CREATIVE_COMMONS = re.compile(r"//creativecommons\.org/(?:licenses/)?([a-z-]+(?:/[a-z0-9.]+)?)")
_PAPER = ["domain", "created", "license"]


@dataclass
class Group:
    """The documents that share a value."""

    selected: int | None = 0  # by the metadata; None for dialects, which the metadata does not know
    extracted: int = 0
    documents: int = 0  # of the finished corpus
    n_bytes: int = 0  # of their texts
    n_tokens: int = 0


Groups = dict[str, dict[str, Group]]  # by what, by value


def read_groups(data: Path, variant: str, tokenizer: str) -> Groups:
    """All groups of a finished corpus, empty where it is not finished. Raises UserError for damaged files."""
    folders = stage_folders(data, variant, "corpus")
    if not {"filter_metadata", "extract_latex", "split_corpus"} <= folders.keys():
        return {}
    groups: defaultdict[str, defaultdict[str, Group]] = defaultdict(lambda: defaultdict(Group))
    for path in sorted(folders["filter_metadata"].glob("*.parquet")):
        for row in read_rows(path, _PAPER):
            for by, value in _values(row):
                group = groups[by][value]
                group.selected = (group.selected or 0) + 1
    for path in sorted(folders["extract_latex"].glob("*.parquet")):
        for row in read_rows(path, [*_PAPER, "record"]):
            for by, value in _values(row):
                groups[by][value].extracted += 1
    ledgers = stage_folders(data, variant)["split_corpus"]
    tokens = data / "tokens" / f"{variant}-{tokenizer}"
    for path in sorted(folders["split_corpus"].glob("*.parquet")):
        n_bytes = {row["id"]: row["bytes_out"] for row in read_rows(ledgers / path.name, ["id", "bytes_out"])}
        indices = tokens.glob(f"*/*/{path.stem}.idx.parquet")
        n_tokens = {
            row["id"]: row["n_tokens"] for index in indices for row in read_rows(index, ["id", "n_tokens"])
        }
        for row in read_rows(path, ["id", *_PAPER, "record"]):
            for by, value in _values(row):
                group = groups[by][value]
                group.documents += 1
                group.n_bytes += n_bytes[row["id"]]
                group.n_tokens += n_tokens.get(row["id"], 0)
    for group in groups["dialect"].values():
        group.selected = None
    return {by: dict(sorted(of.items())) for by, of in groups.items()}


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "domain", row["domain"]
    yield "year", row["created"][:4] or "unknown"
    yield "licence", licence_name(row["license"])
    if "record" in row:
        yield "dialect", json.loads(row["record"]).get("dialect", "unknown")


def licence_name(url: str) -> str:
    """A short name for the URL of a licence: `CC by/4.0`, `arXiv's own`, `none on record`."""
    if match := _CREATIVE_COMMONS.search(url):
        return f"CC {match[1]}"
    return "arXiv's own" if "arxiv.org/licenses" in url else url or "none on record"
