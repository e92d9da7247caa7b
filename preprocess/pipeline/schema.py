"""The columns of every Parquet file that preprocessing writes. No other file names a schema.

    python -m preprocess.pipeline.schema > docs/columns.md      the same as tables for readers

Each column carries its description in the file (`pyarrow.Field.metadata`). `train` and `analysis` read some
of these columns by name, without importing this module.
"""

import pyarrow as pa


def _column(name: str, kind: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable, {"description": description})


_ID = _column("id", pa.string(), "arXiv id without version, `0704.0001` or `math/0309136`")
_SOURCE_TAR = _column("source_tar", pa.string(), "the tar that holds the submission, without `.tar`")
_LICENSE = _column("license", pa.string(), "URL of the licence; empty where arXiv has none on record")

# What the paper's metadata says, carried on every document.
_PAPER = [
    _ID,
    _column("domain", pa.string(), "`math`, `cs` or `physics`, from the primary category"),
    _column("categories", pa.string(), "arXiv categories with spaces between, the primary one first"),
    _LICENSE,
    _column("created", pa.string(), "date of version 1, `YYYY-MM-DD`"),
    _column("title", pa.string(), "title, on one line"),
    _column("abstract", pa.string(), "abstract, in paragraphs"),
]

PAPERS = pa.schema(_PAPER)

# The bytes of an item stay in the tar.
ITEMS = pa.schema(
    [
        _ID,
        _SOURCE_TAR,
        _column("member", pa.string(), "name of the item in the tar"),
        _column("kind", pa.string(), "`text.gz`, `tar.gz`, `tar`, `text` or `compress` (.Z)"),
        _column("offset", pa.int64(), "of the item's first byte in the tar"),
        _column("n_bytes", pa.int64(), "bytes of the item as it is packed"),
    ]
)

_DOCUMENT = [
    *_PAPER,
    _SOURCE_TAR,
    _column("main_file", pa.string(), "file of the submission that TeX would be given"),
    _column(
        "record", pa.string(), "JSON: files, candidates for the main file and why, unresolved inputs, flags"
    ),
    _column("text", pa.large_string(), "the document"),
]
DOCUMENTS = pa.schema(_DOCUMENT)

# The measures that the verdicts of filter_quality rest on.
_MEASURES = [
    _column("language", pa.string(), "ISO 639-1; empty where there was no prose to judge"),
    _column("language_score", pa.float32(), "probability that the detector gives this language"),
    _column("n_words", pa.int32(), "words of prose, without mathematics and commands"),
    _column("letter_share", pa.float32(), "letters among the bytes of the prose, spaces left out"),
    _column("math_share", pa.float32(), "characters inside mathematics among all"),
    _column("repetition", pa.float32(), "share of the text in lines that stood before"),
    _column("slide_share", pa.float32(), "characters on slides among all"),
    _column("blocked_share", pa.float32(), "words of configs/blocklist.txt among all"),
    _column(
        "ngram_bits_per_byte",
        pa.float32(),
        "by an n-gram model of the corpus; null where the rule is off",
        nullable=True,
    ),
]
_COMPONENT = _column("component", pa.string(), "smallest id among the document and its near duplicates")

# For each document that stays its id and what the stage adds to it; see `writes` in configs/stages.py.
IDS = pa.schema([_ID])
MEASURED = pa.schema(
    [
        _ID,
        *_MEASURES,
        # What deduplicate needs of a text, so that it reads few texts again.
        _column("text_bytes", pa.int64(), "bytes of the text in UTF-8"),
        _column("text_key", pa.binary(16), "hash of the letters and digits of the text"),
        _column("sketch", pa.list_(pa.field("hash", pa.uint64(), False)), "hashes of some 5-word n-grams"),
    ]
)
DEDUPLICATED = pa.schema([_ID, _COMPONENT])

SPLIT = pa.schema([*_DOCUMENT, *_MEASURES, _COMPONENT, _column("split", pa.string(), "`train` or `val`")])

LEDGER = pa.schema(
    [
        _ID,
        _SOURCE_TAR,
        _column("outcome", pa.string(), "`kept` or `dropped`"),
        _column("reason", pa.string(), "why it was dropped; empty for kept"),
        _column("bytes_in", pa.int64(), "bytes of the document that came in"),
        _column("bytes_out", pa.int64(), "bytes of the document that went out; 0 for dropped"),
        _column(
            "bytes_removed", pa.int64(), "bytes that rules removed, below 0 where they added; 0 for dropped"
        ),
        _column("detail", pa.string(), "JSON of the bytes removed by cause, or a sentence about the reason"),
    ]
)

TOKEN_INDEX = pa.schema(
    [
        _ID,
        _column("offset", pa.int64(), "of the document's first token in the shard"),
        _column("n_tokens", pa.int64(), "tokens of the document, its end-of-document token included"),
        _column("n_bytes", pa.int64(), "bytes of its text in UTF-8"),
        _column("math_share", pa.float32(), "as in the corpus"),
        _LICENSE,
    ]
)

# What writes which columns, below $DATA.
FILES: tuple[tuple[str, str, pa.Schema], ...] = (
    ("filter_metadata", "corpus/<variant>/filter_metadata/<YYMM>.parquet", PAPERS),
    ("validate_archives", "corpus/<variant>/validate_archives/<tar>.parquet", ITEMS),
    ("extract_latex, normalize_text", "corpus/<variant>/<stage>/<tar>.parquet", DOCUMENTS),
    ("filter_quality: added columns", "corpus/<variant>/filter_quality/<tar>.parquet", MEASURED),
    ("deduplicate: added columns", "corpus/<variant>/deduplicate/<tar>.parquet", DEDUPLICATED),
    ("split_corpus: the finished corpus", "corpus/<variant>/split_corpus/<tar>.parquet", SPLIT),
    ("the ledger of each of these stages", "ledger/<variant>/<stage>/<tar>.parquet", LEDGER),
    (
        "tokenize_corpus: the index of a shard of tokens",
        "tokens/<variant>-<tokenizer>/<split>/<domain>/<tar>.idx.parquet",
        TOKEN_INDEX,
    ),
)


def as_markdown() -> str:
    """docs/columns.md: a table of the columns for each kind of file."""
    parts = [
        "# Columns of every Parquet file\n\n"
        "Generated from preprocess/pipeline/schema.py: "
        "`python -m preprocess.pipeline.schema > docs/columns.md`. "
        "Paths are below the data root. No column is null unless its type says so.\n"
    ]
    for stage, path, schema in FILES:
        rows = [
            f"| `{field.name}` | {field.type}{' or null' if field.nullable else ''} "
            f"| {(field.metadata or {})[b'description'].decode()} |\n"
            for field in schema
        ]
        parts.append(
            f"\n## {stage}\n\n`{path}`\n\n| column | type | what it holds |\n|---|---|---|\n" + "".join(rows)
        )
    return "".join(parts)


if __name__ == "__main__":
    print(as_markdown(), end="")
