"""Token shards on disk: $DATA/tokens/<corpus>-<tokenizer>/<split>/<domain>/<tar>.{bin,idx.parquet,json}.

`.bin` holds the tokens, where an end-of-document token ends every document; `.idx.parquet` has a row for each
document; `.json` holds counts and fingerprints. A domain is the stream of its shards in order of their names.

A token is stored as a little-endian uint32, or packed, eight tokens in 17 bytes: their low 16 bits, then one
byte with their 17th bits (preprocess/tokenize_corpus.py). Both forms have the same fingerprint.
"""

import bisect
import contextlib
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import xxhash

from configs.loader import UserError
from train.config import DOMAINS

DTYPE = np.dtype("<u4")
PACKED_GROUP = 8
_GROUP = np.dtype([("low", "<u2", PACKED_GROUP), ("high", "u1")])  # 17 bytes
REMEDY = "run `make preprocess` (for the demo: `make demo`)"
# Memory maps that a domain keeps open. A large corpus has more shards than the 1,024 file descriptors that
# Linux allows a process by default.
OPEN_SHARDS = 128


@dataclass(frozen=True)
class Documents:
    """Documents of a domain in stream order: one-dimensional arrays with one number a document."""

    id_hash: np.ndarray  # uint64, xxh3_64 of the arXiv id
    start: np.ndarray  # int64, position of the first token in the domain's stream
    n_tokens: np.ndarray  # int64, including the end-of-document token
    n_bytes: np.ndarray  # int64, UTF-8 bytes of the text
    math_share: np.ndarray  # float32, share of the bytes that is mathematics


class DomainTokens:
    """One domain's stream of tokens."""

    def __init__(self, folder: Path) -> None:
        """Open the shards of a folder. Raises UserError that names a missing or truncated file."""
        self.folder = folder
        self.shards = sorted(folder / path.name.removesuffix(".bin") for path in folder.glob("*.bin"))
        self.facts: list[dict[str, Any]] = []
        for shard in self.shards:
            facts = _read_json(Path(f"{shard}.json"), f"delete the shard and {REMEDY}")
            if not Path(f"{shard}.idx.parquet").is_file():
                raise UserError(f"{shard}.idx.parquet: is missing; {REMEDY}")
            size = Path(f"{shard}.bin").stat().st_size
            expected = _bytes_of(facts["n_tokens"], facts["dtype"])
            if size != expected:
                raise UserError(
                    f"{shard}.bin: {size:,} bytes, but its .json counts {facts['n_tokens']:,} tokens in "
                    f"{expected:,}: the file is truncated; delete it and {REMEDY}"
                )
            self.facts.append(facts)
        self._ends = np.cumsum([facts["n_tokens"] for facts in self.facts], dtype=np.int64)
        self._ends_list = self._ends.tolist()
        self._copies = [""] * len(self.shards)  # where else a shard's tokens lie
        self._map = functools.lru_cache(maxsize=OPEN_SHARDS)(self._open)

    @property
    def n_tokens(self) -> int:
        """Length of the stream."""
        return int(self._ends[-1]) if self.shards else 0

    @property
    def totals(self) -> dict[str, int]:
        """Documents, tokens and bytes of text, as `_DONE.json` counts them."""
        keys = ("n_documents", "n_tokens", "n_bytes")
        return {key: sum(facts[key] for facts in self.facts) for key in keys}

    def read(self, start: int, n_tokens: int) -> np.ndarray:
        """`n_tokens` tokens (uint32) from position `start` of the stream, across shards if necessary."""
        parts = []
        shard = bisect.bisect_right(self._ends_list, start)  # np.searchsorted is three times slower for one
        while n_tokens:
            in_shard = self.facts[shard]["n_tokens"]
            first = start - (self._ends_list[shard] - in_shard)
            part = _tokens(self._map(shard, self._copies[shard]), first, min(first + n_tokens, in_shard))
            parts.append(part)
            start, n_tokens, shard = start + len(part), n_tokens - len(part), shard + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @functools.cached_property
    def documents(self) -> Documents:
        """Index of all documents (36 bytes each)."""
        ids: list[np.ndarray] = []
        columns: dict[str, list[np.ndarray]] = {"start": [], "n_tokens": [], "n_bytes": [], "math_share": []}
        for shard, end, facts in zip(self.shards, self._ends, self.facts, strict=True):
            names = ["id", "offset", "n_tokens", "n_bytes", "math_share"]
            table = pq.read_table(f"{shard}.idx.parquet", columns=names)
            hashes = [xxhash.xxh3_64_intdigest(paper_id.encode()) for paper_id in table["id"].to_pylist()]
            ids.append(np.array(hashes, np.uint64))
            columns["start"].append(table["offset"].to_numpy() + (end - facts["n_tokens"]))
            columns["n_tokens"].append(table["n_tokens"].to_numpy())
            columns["n_bytes"].append(table["n_bytes"].to_numpy())
            columns["math_share"].append(table["math_share"].to_numpy())
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return Documents(id_hash=np.concatenate(ids), **joined)

    def bin_path(self, shard: int) -> Path:
        """The file with the tokens of a shard (its number in `shards`), in this stream's folder."""
        return Path(f"{self.shards[shard]}.bin")

    def read_from_copy(self, shard: int, copy: Path) -> None:
        """From now on read a shard's tokens from a file with the same bytes. Any thread may call this."""
        self._copies[shard] = str(copy)

    def _open(self, shard: int, copy: str) -> np.ndarray:
        dtype = DTYPE if self.facts[shard]["dtype"] == "uint32" else _GROUP
        if copy:
            with contextlib.suppress(OSError):  # a clean-up of the node's disk may have removed it
                return np.memmap(copy, dtype=dtype, mode="r").view(np.ndarray)
        # A view as a plain array: slicing a memmap makes a memmap object, which costs a microsecond.
        return np.memmap(self.bin_path(shard), dtype=dtype, mode="r").view(np.ndarray)


def _tokens(mapped: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Tokens `start` to `stop` (uint32) of a memory-mapped shard, packed or not."""
    if mapped.dtype == DTYPE:
        return mapped[start:stop]
    first = start // PACKED_GROUP
    groups = mapped[first : -(-stop // PACKED_GROUP)]
    high = np.unpackbits(groups["high"][:, None], axis=1, bitorder="little")
    tokens = groups["low"] | high.astype(DTYPE) << 16
    return tokens.ravel()[start - first * PACKED_GROUP : stop - first * PACKED_GROUP]


def _bytes_of(n_tokens: int, dtype: str) -> int:
    if dtype == "uint32":
        return n_tokens * DTYPE.itemsize
    return -(-n_tokens // PACKED_GROUP) * _GROUP.itemsize


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; {remedy}") from None


@dataclass(frozen=True)
class TokenSet:
    """All domains of one split, and the tokenizer that made them."""

    folder: Path
    domains: dict[str, DomainTokens]
    vocab_size: int
    eod_id: int
    tokenizer_sha256: str
    fingerprint: str  # of the tokens themselves: same fingerprint, same batches

    def shard_hashes(self) -> dict[str, str]:
        """SHA-256 of each shard's tokens by `<split>/<domain>/<tar>`; the fingerprint is their hash."""
        return {
            f"{self.folder.name}/{name}/{shard.name}": facts["data_sha256"]
            for name, tokens in self.domains.items()
            for shard, facts in zip(tokens.shards, tokens.facts, strict=True)
        }


def open_tokens(data: Path, corpus: str, tokenizer: str, split: str) -> TokenSet:
    """Open the shards of a split.

    Raises UserError if shards are unfinished or missing, or if different tokenizers made them.
    """
    root = data / "tokens" / f"{corpus}-{tokenizer}"
    done = root / "_DONE.json"
    if not done.is_file():
        state = "is unfinished" if root.is_dir() else "is missing"
        raise UserError(f"{root}: {state}: there are no tokens to read; {REMEDY}")
    promised = _read_json(done, f"delete it and {REMEDY}")
    found = {name: DomainTokens(root / split / name) for name in DOMAINS}
    for name, tokens in found.items():
        _check_totals(tokens, promised.get(f"{split}/{name}", dict.fromkeys(tokens.totals, 0)), done)
    domains = {name: tokens for name, tokens in found.items() if tokens.n_tokens}
    if not domains:
        raise UserError(f"{root / split}: holds no tokens of {', '.join(DOMAINS)}; {REMEDY}")
    digest = hashlib.sha256()
    made_with: dict[tuple[int, int, str], Path] = {}
    for name, tokens in domains.items():
        for shard, facts in zip(tokens.shards, tokens.facts, strict=True):
            made_with[(facts["vocab_size"], facts["eod_id"], facts["tokenizer_sha256"])] = shard
            digest.update(f"{split}/{name}/{shard.name} {facts['data_sha256']}\n".encode())
    if len(made_with) > 1:
        one, other, *_ = made_with.values()
        raise UserError(f"{one} and {other} were made with different tokenizers; delete {root} and {REMEDY}")
    vocab_size, eod_id, sha256 = next(iter(made_with))
    model = data / "tokenizers" / tokenizer / "tokenizer.model"
    if model.is_file() and hashlib.sha256(model.read_bytes()).hexdigest() != sha256:
        raise UserError(
            f"{model}: is not the tokenizer that {root} was made with; delete {root} and {REMEDY}"
        )
    return TokenSet(root / split, domains, vocab_size, eod_id, sha256, digest.hexdigest())


def _check_totals(tokens: DomainTokens, promised: dict[str, int], done: Path) -> None:
    """Raise UserError if a shard was removed or added after the last one was made."""
    if tokens.totals == promised:
        return
    # `make preprocess` adds missing shards, but does not remove surplus ones.
    remedy = REMEDY if tokens.n_tokens < promised["n_tokens"] else f"delete {done.parent} and {REMEDY}"
    raise UserError(
        f"{tokens.folder}: its {len(tokens.shards)} shards hold {tokens.n_tokens:,} tokens, "
        f"but {done} counts {promised['n_tokens']:,}; {remedy}"
    )
