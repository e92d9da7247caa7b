"""The columns of every Parquet file that preprocessing writes. No other file names a schema.

`train` and `analysis` read some of these columns without importing this module;
tests/test_schema.py holds the two sides together.
"""

import pyarrow as pa

_ID = pa.field("id", pa.string(), nullable=False)
_SOURCE_TAR = pa.field("source_tar", pa.string(), nullable=False)

# What the paper's metadata says, carried on every document.
_PAPER = [
    _ID,
    pa.field("domain", pa.string(), nullable=False),  # math, cs, physics
    pa.field("categories", pa.string(), nullable=False),  # space-separated, the primary one first
    pa.field("license", pa.string(), nullable=False),  # URL; "" where arXiv has none on record
    pa.field("created", pa.string(), nullable=False),  # date of version 1, YYYY-MM-DD
    pa.field("title", pa.string(), nullable=False),
    pa.field("abstract", pa.string(), nullable=False),
]

# filter_metadata: one file a month (the id's YYMM), because a tar holds papers of one month.
PAPERS = pa.schema(_PAPER)

# validate_archives: one row for each whole item of a tar; the bytes stay in the tar.
ITEMS = pa.schema(
    [
        _ID,
        _SOURCE_TAR,
        pa.field("member", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # text.gz, tar.gz, tar, text, compress (.Z)
        pa.field("offset", pa.int64(), nullable=False),  # of the item's first byte in the tar
        pa.field("n_bytes", pa.int64(), nullable=False),
    ]
)

# extract_latex, normalize_text: the document itself.
_DOCUMENT = [
    *_PAPER,
    _SOURCE_TAR,
    pa.field("main_file", pa.string(), nullable=False),
    pa.field("record", pa.string(), nullable=False),  # JSON: files, candidates and why, unresolved, flags
    pa.field("text", pa.large_string(), nullable=False),
]
DOCUMENTS = pa.schema(_DOCUMENT)

# filter_quality: with the measures that the verdicts rest on.
_MEASURED = [
    *_DOCUMENT,
    pa.field("language", pa.string(), nullable=False),  # ISO 639-1; "" where there was no prose to judge
    pa.field("language_score", pa.float32(), nullable=False),
    pa.field("n_words", pa.int32(), nullable=False),  # words of prose, mathematics and commands apart
    pa.field("letter_share", pa.float32(), nullable=False),  # letters among the non-space bytes of the prose
    pa.field("math_share", pa.float32(), nullable=False),  # characters inside mathematics among all
    pa.field("repetition", pa.float32(), nullable=False),  # share of the text in lines that stood before
    pa.field("slide_share", pa.float32(), nullable=False),  # characters on slides among all
    pa.field("blocked_share", pa.float32(), nullable=False),  # words of configs/blocklist.txt among all
    pa.field("ngram_bits_per_byte", pa.float32()),  # by a model of the corpus; null where the rule is off
]
MEASURED = pa.schema(_MEASURED)

# deduplicate
_DEDUPLICATED = [
    *_MEASURED,
    pa.field("component", pa.string(), nullable=False),  # smallest id among a document and its relatives
]
DEDUPLICATED = pa.schema(_DEDUPLICATED)

# split_corpus
SPLIT = pa.schema([*_DEDUPLICATED, pa.field("split", pa.string(), nullable=False)])  # train, val

LEDGER = pa.schema(
    [
        _ID,
        _SOURCE_TAR,
        pa.field("outcome", pa.string(), nullable=False),  # kept, dropped
        pa.field("reason", pa.string(), nullable=False),  # "" for kept
        pa.field("bytes_in", pa.int64(), nullable=False),
        pa.field("bytes_out", pa.int64(), nullable=False),  # 0 for dropped
        pa.field("bytes_removed", pa.int64(), nullable=False),  # signed; 0 for dropped
        pa.field("detail", pa.string(), nullable=False),  # JSON of bytes removed by cause, or a sentence
    ]
)

# tokenize_corpus: the index beside each shard of tokens.
TOKEN_INDEX = pa.schema(
    [
        _ID,
        pa.field("offset", pa.int64(), nullable=False),  # of the document's first token in the shard
        pa.field("n_tokens", pa.int64(), nullable=False),  # with the end-of-document token
        pa.field("n_bytes", pa.int64(), nullable=False),  # of its UTF-8 text
        pa.field("math_share", pa.float32(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
    ]
)
