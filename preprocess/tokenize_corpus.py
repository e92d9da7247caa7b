"""Turn the corpus into flat token shards.

    python preprocess/tokenize_corpus.py --data data --tokenizer main [packed=true]

In:  split_corpus's shards and $DATA/tokenizers/<tokenizer>/.
Out: $DATA/tokens/<corpus>-<tokenizer>/<split>/<domain>/: <tar>.bin (the documents' tokens, each document
     followed by an end-of-document token), <tar>.idx.parquet (offset and length of each document) and
     <tar>.json (counts, hashes); `_DONE.json` once every shard is finished.
A token is a little-endian uint32. If packed, eight tokens take 17 bytes: their low 16 bits as little-endian
uint16, then one byte with their 17th bits, the first token's in the lowest bit; the last group is filled up
with zeros. Both forms have the same `data_sha256`, and training reads the same batches from them
(train/data/shards.py).
"""

import functools
import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm
import xxhash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import Config, LawBroken, UserError, run_main, writing
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.schema import TOKEN_INDEX
from preprocess.pipeline.shard import (
    ParquetShard,
    code_hash,
    content_hash,
    n_rows,
    read_rows,
    temporary_beside,
)
from preprocess.pipeline.stage import DONE, Unit, progress, require_done, run_tasks, units_of, write_json
from preprocess.tokenizer.encoders import Encode, load_encoder

DTYPE = np.dtype("<u4")
PACKED_BITS, PACKED_GROUP = 17, 8  # 17 bits hold 131,072 pieces; eight tokens fill whole bytes


class TokenizeCorpusConfig(Config):
    """The file format; the corpus and the tokenizer decide everything else."""

    packed: bool = False  # 2.125 bytes a token instead of 4


def pack(tokens: np.ndarray) -> np.ndarray:
    """Pack tokens below 2^17, uint32 [tokens], into bytes, uint8 [groups of eight tokens, 17]."""
    groups = np.zeros((-(-len(tokens) // PACKED_GROUP), PACKED_GROUP), DTYPE)
    groups.ravel()[: len(tokens)] = tokens
    low = groups.astype("<u2").view(np.uint8)
    high = np.packbits((groups >> 16).astype(bool), axis=1, bitorder="little")
    return np.concatenate([low, high], axis=1)


@dataclass(frozen=True)
class _Tokenizer:
    model: spm.SentencePieceProcessor
    encode: Encode
    piece_bytes: np.ndarray  # int64 [vocabulary], UTF-8 bytes that each id spells


@functools.lru_cache(maxsize=1)  # loaded once per process
def _load(model_file: Path, _sha256: str) -> _Tokenizer:
    model, encode, _ = load_encoder(model_file)
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    spelt = [
        1 if model.is_byte(i) else len(piece.replace("\u2581", " ").encode())
        for i, piece in enumerate(pieces)
    ]
    return _Tokenizer(model, encode, np.array(spelt))


@dataclass
class _Part:
    """Tokens of one split and domain of a shard."""

    tokens: list[np.ndarray] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    n_tokens: int = 0


def tokenize_shard(
    unit: Unit, model_file: Path, model_sha256: str, out: Path, config: TokenizeCorpusConfig, input_hash: str
) -> tuple[Unit, dict[str, Any]]:
    """Write the token shards of one shard of documents, then a marker that they are complete.

    Returns (unit, marker). Raises LawBroken if decoding a document's tokens does not give its text.
    """
    tokenizer = _load(model_file, model_sha256)
    eod = tokenizer.model.eos_id()
    parts: dict[tuple[str, str], _Part] = {}
    for row in read_rows(unit.inputs[0], ("id", "domain", "split", "license", "math_share", "text")):
        tokens = np.array(tokenizer.encode(row["text"]), DTYPE)
        n_bytes = len(row["text"].encode())
        part = parts.setdefault((row["split"], row["domain"]), _Part())
        # Count the bytes of every document, which costs nothing, and decode the first document of each part.
        if tokenizer.piece_bytes[tokens].sum() != n_bytes or (
            not part.rows and tokenizer.model.decode(tokens.tolist()) != row["text"]
        ):
            raise LawBroken(f"{unit.inputs[0]}: {row['id']}: decoding its tokens does not give its text")
        part.rows.append(
            {
                "id": row["id"],
                "offset": part.n_tokens,
                "n_tokens": len(tokens) + 1,
                "n_bytes": n_bytes,
                "math_share": row["math_share"],
                "license": row["license"],
            }
        )
        part.tokens.append(np.append(tokens, DTYPE.type(eod)))
        part.n_tokens += len(tokens) + 1
    facts = {
        "dtype": f"packed{PACKED_BITS}" if config.packed else "uint32",
        "vocab_size": tokenizer.model.get_piece_size(),
        "eod_id": eod,
        "tokenizer_sha256": model_sha256,
    }
    marker_file = _marker_file(out, unit)
    marker_file.unlink(missing_ok=True)  # until the end, the parts do not match the old marker
    for suffix in (".bin", ".idx.parquet", ".json"):  # also of splits and domains that the unit no longer has
        for left_from_before in out.glob(f"*/*/{unit.name}{suffix}"):
            left_from_before.unlink(missing_ok=True)
    written = {}
    for (split, domain), part in sorted(parts.items()):
        folder = out / split / domain
        with writing(folder / unit.name):
            written[f"{split}/{domain}"] = _write_part(folder, unit.name, part, facts, input_hash)
    marker = {"input_hash": input_hash, "parts": written}
    write_json(marker_file, marker)
    return unit, marker


def _write_part(
    folder: Path, name: str, part: _Part, facts: dict[str, Any], input_hash: str
) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    tokens = np.concatenate(part.tokens)
    temporary = temporary_beside(folder / f"{name}.bin")
    try:
        # ndarray.tofile would report a full disk without errno and file name.
        temporary.write_bytes((tokens if facts["dtype"] == "uint32" else pack(tokens)).data)
        temporary.replace(folder / f"{name}.bin")
    finally:
        temporary.unlink(missing_ok=True)
    with ParquetShard(folder / f"{name}.idx.parquet", TOKEN_INDEX, input_hash) as index:
        for row in part.rows:
            index.append(row)
    counts = {
        "n_documents": len(part.rows),
        "n_tokens": len(tokens),
        "n_bytes": sum(row["n_bytes"] for row in part.rows),
    }
    data = {"data_sha256": hashlib.sha256(tokens.data).hexdigest()}
    write_json(folder / f"{name}.json", facts | counts | data)
    return counts


def main() -> None:
    """Run the stage."""
    parser = arguments(__doc__ or "", "tokenize_corpus", TokenizeCorpusConfig)
    parser.add_argument("--tokenizer", default="main", help="a folder in DATA/tokenizers (default: main)")
    job = parse(parser, "tokenize_corpus")
    name = parser.parse_args().tokenizer
    with job.lock(name):
        tokenize(job, name)


def tokenize(job: Job, name: str) -> None:
    """Encode this task's share of the corpus with the tokenizer `name`; write _DONE.json if all is finished.

    Raises UserError if the corpus or the tokenizer is not finished or does not fit, LawBroken if decoding
    tokens does not give their text or a document is missing.
    """
    config = job.config(TokenizeCorpusConfig)
    tokenizer, corpus = job.data / "tokenizers" / name, job.corpus("split_corpus")
    require_done(job, "split_corpus")
    report = tokenizer / "report.json"
    if not report.is_file():
        raise UserError(f"{tokenizer}: no finished tokenizer; run preprocess/train_tokenizer.py first")
    if json.loads(report.read_text())["config"]["model_type"] != "bpe":
        raise UserError(
            f"{tokenizer}: is not a BPE tokenizer, so encoders may give different ids; it is only for "
            "analysis/tokenizer_report.py. Choose another with --tokenizer (make: TOKENIZER=)"
        )
    model_file = tokenizer / "tokenizer.model"
    sha256 = hashlib.sha256(model_file.read_bytes()).hexdigest()
    n_pieces = spm.SentencePieceProcessor(model_file=str(model_file)).get_piece_size()
    if config.packed and n_pieces > 1 << PACKED_BITS:
        raise UserError(
            f"{model_file}: {n_pieces:,} pieces do not fit into {PACKED_BITS} bits: leave out packed=true"
        )
    out = job.data / "tokens" / f"{job.variant}-{name}"

    units = units_of(corpus)
    _refuse_strays(out, units)
    fixed = code_hash("tokenize_corpus.py") + config.model_dump_json() + sha256
    hashes = {
        unit.name: xxhash.xxh3_128_hexdigest((fixed + content_hash(unit.inputs[0])).encode())
        for unit in units
    }
    share = [unit for i, unit in enumerate(units) if i % job.shard[1] == job.shard[0]]
    todo = [unit for unit in share if not _is_done(out, unit, hashes[unit.name], config)]
    if len(todo) < len(share):
        print(
            f"tokenize_corpus: {len(share) - len(todo)} of {len(share)} shards are finished, not made again"
        )
    if todo:
        (out / DONE).unlink(missing_ok=True)
    tasks = [
        (unit, model_file, sha256, out, config, hashes[unit.name])
        for unit in sorted(todo, key=lambda unit: -unit.n_bytes)
    ]
    with progress("tokenize_corpus", todo) as bar:
        for unit, _ in run_tasks(tokenize_shard, tasks, job.workers):
            bar.update(unit.n_bytes)
    if all(_is_done(out, unit, hashes[unit.name], config) for unit in units):
        write_json(out / DONE, _totals([_marker(out, unit) for unit in units], corpus, units))


def _refuse_strays(out: Path, units: list[Unit]) -> None:
    there = {path.stem for pattern in ("_shards/*.json", "*/*/*.bin") for path in out.glob(pattern)}
    strays = sorted(there - {unit.name for unit in units})
    if strays:
        raise UserError(
            f"{out}: {len(strays)} token shards ({strays[0]}, …) have no shard of documents any more; "
            "delete this folder and run the stage again"
        )


def _marker_file(out: Path, unit: Unit) -> Path:
    return out / "_shards" / f"{unit.name}.json"


def _marker(out: Path, unit: Unit) -> dict[str, Any]:
    path = _marker_file(out, unit)
    return json.loads(path.read_text()) if path.is_file() else {}


def _is_done(out: Path, unit: Unit, input_hash: str, config: TokenizeCorpusConfig) -> bool:
    """Whether the unit's marker has this input hash and every file that it lists exists in full size."""
    marker = _marker(out, unit)
    return marker.get("input_hash") == input_hash and all(
        _is_whole(out / part, unit.name, counts["n_tokens"], config)
        for part, counts in marker["parts"].items()
    )


def _is_whole(folder: Path, name: str, n_tokens: int, config: TokenizeCorpusConfig) -> bool:
    tokens, *others = (folder / f"{name}{suffix}" for suffix in (".bin", ".idx.parquet", ".json"))
    n_bytes = -(-n_tokens // PACKED_GROUP) * PACKED_BITS if config.packed else n_tokens * DTYPE.itemsize
    return tokens.is_file() and tokens.stat().st_size == n_bytes and all(path.is_file() for path in others)


def _totals(markers: list[dict[str, Any]], corpus: Path, units: list[Unit]) -> dict[str, dict[str, int]]:
    """Documents, tokens and bytes of each split and domain. Raises LawBroken if a document is missing."""
    totals: dict[str, dict[str, int]] = {}
    for marker in markers:
        for part, counts in marker["parts"].items():
            total = totals.setdefault(part, dict.fromkeys(counts, 0))
            for key, n in counts.items():
                total[key] += n
    n_documents = sum(n_rows(unit.inputs[0]) for unit in units)
    if n_documents != sum(total["n_documents"] for total in totals.values()):
        raise LawBroken(f"{corpus}: {n_documents} documents, the token shards hold {totals}")
    for part, total in sorted(totals.items()):
        ratio = total["n_bytes"] / total["n_tokens"]
        print(
            f"tokenize_corpus: {part}: {total['n_documents']:,} documents, {total['n_tokens']:,} tokens, "
            f"{ratio:.2f} bytes per token"
        )
    return totals


if __name__ == "__main__":
    run_main(main)
