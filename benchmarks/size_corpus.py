"""A made-up corpus of any size up to arXiv's, in the files that filter_quality leaves: sketches, few texts.

Its distributions are those of real papers where nothing else is said ($ARXIV_REAL, 515 after filter_quality):
- Length: log-normal, as the 314 papers that are unrelated to each other. The mean is 6,100 5-word n-grams
  or 46 kB, close to the 48 kB of the Pile's 1.26 million papers (Gao et al. 2020).
- N-grams that several papers use: two fifths of a paper's, the r-th most frequent in a share C / (r + B) of
  the papers (Zipf-Mandelbrot). SHARED, C and B fit the SHARES_IN_TWO below. The others occur once.
- Relatives: 3 % of the papers (assumed) are in groups as large as the 24 that deduplication finds in the
  real papers. A group has an original, equal texts, light edits, chapters, and revisions that stay.
- Collaborations (assumed): four, each the author of one paper in 2,000, whose list of authors is two thirds
  of its papers' texts. These groups grow with the corpus. In the real papers the largest has 112 members.
- Papers that split_corpus is likely to choose for validation have texts of full length.

A paper with relatives has a real text, an eighth as long, from which the real `sketch` is made; other papers
have a sketch drawn from these distributions and a text of eight words. So files take 1 KB a paper.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from preprocess.dedup.minhash import NGRAM_WORDS, SAMPLE, SMALLEST, THRESHOLD, sketch
from preprocess.dedup.ngrams import text_key, word_bytes
from preprocess.pipeline.parts import MADE_FROM, hash_of
from preprocess.pipeline.schema import DOCUMENTS, MEASURED
from preprocess.pipeline.shard import ParquetShard

TAR, BLOCK = 800, 8_000  # papers in a tar; relatives are in the same block, as most are near in time
TARS_A_MONTH = 15
NGRAMS_MEDIAN, NGRAMS_SIGMA, NGRAMS_LEAST, NGRAMS_MOST = 3_551, 1.042, 100, 240_000
SHARED, ZIPF_C, ZIPF_B, ARXIV = 0.4, 238.0, 16_000.0, 2.5e6
# Papers drawn from the real ones, and the share of their n-grams that occurs in two or more of them.
SHARES_IN_TWO = {20: 0.011, 40: 0.024, 80: 0.031, 160: 0.057, 314: 0.084}
RELATED = 0.03
GROUP_SIZES = (*[2] * 11, 3, *[4] * 4, 5, 5, 6, 9, 9, 9, 13, 19)
KINDS = {"equal": 0.1, "edited": 0.4, "chapter": 0.2, "revised": 0.3}  # of the members of a group
COLLABORATIONS, COLLABORATION_SHARE, AUTHORS_WORDS = 4, 1 / 2_000, 900
SHORTER = 8  # texts of papers with relatives
VALIDATION = 0.0023  # a little more than split_corpus's 0.002: papers with texts of full length
STUB_WORDS = 8
DOMAINS = np.array(["math", "cs", "physics"])
_SEED = 7


def write_blocks(data: Path, blocks: range) -> int:
    """Write the shards of normalize_text and filter_quality of some blocks; return the bytes of text."""
    n_bytes = 0
    for block in blocks:
        ids, texts, keys, sketches, lengths = _block(block)
        ends = np.cumsum(lengths)
        for tar in range(BLOCK // TAR):
            some = slice(tar * TAR, (tar + 1) * TAR)
            of = sketches[ends[some.start] - lengths[some.start] : ends[some.stop - 1]]
            offsets = np.concatenate(([0], np.cumsum(lengths[some]))).astype(np.int32)
            lists = pa.ListArray.from_arrays(
                pa.array(offsets), pa.array(of), type=MEASURED.field("sketch").type
            )
            _write_tar(
                data, _month(block * BLOCK // TAR + tar), block, ids[some], texts[some], keys[some], lists
            )
        n_bytes += sum(map(len, texts))
    return n_bytes


def _month(tar: int) -> tuple[str, str]:
    """(YYMM, name of the tar)."""
    month, part = divmod(tar, TARS_A_MONTH)
    yymm = f"{(7 + (month + 3) // 12) % 100:02}{(month + 3) % 12 + 1:02}"
    return yymm, f"arXiv_src_{yymm}_{part + 1:03}"


def _block(block: int) -> tuple[list[str], list[str], list[bytes], np.ndarray, np.ndarray]:
    """(ids, texts, keys, sketches one after the other, their lengths) of the papers of a block."""
    rng = np.random.default_rng((_SEED, block))
    ids = []
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        tar, at = divmod(number, TAR)
        ids.append(f"{_month(tar)[0]}.{tar % TARS_A_MONTH * TAR + at + 1:05}")
    n_ngrams = _n_ngrams(rng, BLOCK)
    texts = _texts(rng, np.full(BLOCK, STUB_WORDS))
    related = dict(_related(rng))
    likely = [i for i, paper_id in enumerate(ids) if i not in related and _rank(paper_id) < VALIDATION]
    for i, text in zip(likely, _texts(rng, n_ngrams[likely] + NGRAM_WORDS - 1), strict=True):
        texts[i] = text
    drawn, lengths = draw_sketches(rng, n_ngrams)
    parts = np.split(drawn, np.cumsum(lengths)[:-1])
    for i, text in related.items():
        texts[i] = text
        parts[i] = sketch(word_bytes(text))
    keys = [text_key(word_bytes(text)) for text in texts]
    return ids, texts, keys, np.concatenate(parts), np.array(list(map(len, parts)))


def _rank(paper_id: str) -> float:
    """The share of papers that split_corpus prefers to this one."""
    return xxhash.xxh3_64_intdigest(paper_id.encode(), seed=0) / 2**64


def _n_ngrams(rng: np.random.Generator, n: int) -> np.ndarray:
    drawn = rng.lognormal(np.log(NGRAMS_MEDIAN), NGRAMS_SIGMA, n)
    return np.clip(drawn, NGRAMS_LEAST, NGRAMS_MOST).astype(np.int64)


def draw_sketches(rng: np.random.Generator, n_ngrams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sketches of unrelated papers, one after the other: (uint64 [hashes], int64 [papers] their lengths).

    n_ngrams: int64 [papers]. The hashes are spread evenly, and 100 slices of their range have phrases of
    their own, each as many as the first, which is the one below THRESHOLD.
    """
    n_sampled = rng.poisson(n_ngrams / SAMPLE)
    n = np.where(n_sampled >= SMALLEST, n_sampled, SMALLEST)  # NGRAMS_LEAST is more than SMALLEST
    reach = np.where(n_sampled >= SMALLEST, 1.0, np.maximum(1.0, SAMPLE * SMALLEST / n_ngrams))
    paper = np.repeat(np.arange(len(n)), n)
    hash_slice = (rng.random(len(paper)) * reach[paper]).astype(np.uint64)
    b, most = ZIPF_B / SAMPLE, ZIPF_C * ARXIV / SAMPLE
    rank = (b * (most / b) ** rng.random(len(paper)) - b).astype(np.uint64)
    phrase = _mixed(hash_slice << np.uint64(40) | rank)
    once = rng.integers(0, 2**64, len(paper), np.uint64, endpoint=False)
    within = np.where(rng.random(len(paper)) < SHARED, phrase, once) % THRESHOLD
    hashes = hash_slice * THRESHOLD + within
    order = np.lexsort((hashes, paper))
    hashes, paper = hashes[order], paper[order]
    distinct = np.concatenate(([True], (hashes[1:] != hashes[:-1]) | (paper[1:] != paper[:-1])))
    return hashes[distinct], np.bincount(paper[distinct], minlength=len(n))


def _mixed(x: np.ndarray) -> np.ndarray:
    """A hash of each number."""
    x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(_SEED)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))


def _related(rng: np.random.Generator) -> Iterator[tuple[int, str]]:
    """(place in the block, text) of the papers that have relatives."""
    places = iter(rng.permutation(BLOCK).tolist())
    left = round(RELATED * BLOCK)
    while left > 0:
        size = min(int(rng.choice(GROUP_SIZES)), max(left, 2))
        left -= size
        original = _words(rng, _n_ngrams(rng, 1)[0] // SHORTER + 60)
        yield next(places), _text(original)
        for kind in rng.choice(list(KINDS), size - 1, p=list(KINDS.values())):
            yield next(places), _text(_relative(rng, original, str(kind)))
    for number in range(COLLABORATIONS):
        for _ in range(rng.binomial(BLOCK, COLLABORATION_SHARE)):
            own = _words(rng, AUTHORS_WORDS // 2)
            yield next(places), _text(np.concatenate((own, _authors(number))))


def _relative(rng: np.random.Generator, original: np.ndarray, kind: str) -> np.ndarray:
    n = len(original)
    if kind == "equal":
        return original
    if kind == "edited":  # a Jaccard similarity of about 0.9
        return np.where(rng.random(n) < 0.01, _words(rng, n), original)
    if kind == "chapter":
        return original[n // 3 : n // 3 + max(n // 3, 60)]
    return np.where(np.arange(n) < 0.65 * n, original, _words(rng, n))


@cache
def _authors(collaboration: int) -> np.ndarray:
    return _words(np.random.default_rng((_SEED, 1 << 40, collaboration)), AUTHORS_WORDS)


# ---------------------------------------------------------------- texts


@cache
def _vocabulary() -> np.ndarray:
    """Words of five letters with a space behind: uint8 [50,000, 6]."""
    letters = np.random.default_rng(_SEED).integers(ord("a"), ord("z") + 1, (50_000, 6)).astype(np.uint8)
    letters[:, 5] = ord(" ")
    return letters


def _words(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, len(_vocabulary()), n)


def _text(words: np.ndarray) -> str:
    return _vocabulary()[words].tobytes().decode()


def _texts(rng: np.random.Generator, n_words: np.ndarray) -> list[str]:
    """A text of each length."""
    everything, ends = _text(_words(rng, int(n_words.sum()))), (6 * np.cumsum(n_words)).tolist()
    return [everything[end - 6 * n : end] for end, n in zip(ends, n_words.tolist(), strict=True)]


# ---------------------------------------------------------------- files


def _write_tar(
    data: Path,
    month: tuple[str, str],
    block: int,
    ids: list[str],
    texts: list[str],
    keys: list[bytes],
    sketches: pa.Array,
) -> None:
    """Write a tar's shards of normalize_text and filter_quality."""
    yymm, name = month
    n = len(ids)
    domains = np.random.default_rng((_SEED, block, int(ids[0][-5:]))).choice(DOMAINS, n, p=[0.2, 0.3, 0.5])
    same = {
        "categories": "math.CA",
        "created": f"{20 if yymm < '90' else 19}{yymm[:2]}-{yymm[2:]}-01",
        "source_tar": name,
        "main_file": "main.tex",
        "record": "{}",
        "language": "en",
    }

    def table(schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
        def filled(field: pa.Field) -> pa.Array:
            if field.name in columns:
                return columns[field.name]
            default = same.get(field.name, "") if pa.types.is_string(field.type) else 0
            return pa.array([default] * n, field.type)

        return pa.Table.from_arrays([filled(field) for field in schema], schema=schema)

    columns = {
        "id": pa.array(ids),
        "domain": pa.array(domains.tolist()),
        "text": pa.array(texts, pa.large_string()),
        "text_bytes": pa.array(list(map(len, texts)), pa.int64()),
        "text_key": pa.array(keys, pa.binary(16)),
        "sketch": sketches,
    }
    parts: list[Path] = []
    for stage, schema in (("normalize_text", DOCUMENTS), ("filter_quality", MEASURED)):
        path = data / "corpus/main" / stage / f"{name}.parquet"
        with ParquetShard(path, schema, "hash") as shard:
            shard.append_table(table(schema, columns))
            shard.notes[MADE_FROM] = hash_of(parts)
        parts.append(path)
