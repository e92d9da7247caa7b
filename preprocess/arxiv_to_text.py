"""Clean LaTeX papers: archives in, text out. The same code as in the pipeline, without anything else.

    arxiv-to-text 0704.0001.gz                                   one paper: its text
    arxiv-to-text folder/ arXiv_src_0704_001.tar --to text/      many: a .txt each below text/
    arxiv-to-text src/*.tar --format parquet --to papers.parquet
    curl … | arxiv-to-text - --format jsonl

In:  folders (searched for .gz, .tgz, .tar, .Z), bulk tars as arXiv packs them, single papers in any form that
     arXiv stores (.gz of one file or of a tar, .tar, .Z, plain .tex), or `-` for standard input.
Out: text, JSON lines or Parquet with the columns id, source, text, record (how the text was made). Papers
     that leave no text are named on standard error with the reason, as in the pipeline's ledger.
It is installed with its few packages by `pip install .`; torch is not among them. In Python:
`from preprocess.arxiv_to_text import clean; text, record = clean(archive_bytes)`.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, run_main, writing
from preprocess.extract_latex import ExtractLatexConfig, extract_paper
from preprocess.latex.extraction.archive import MAX_BYTES, kind_of
from preprocess.normalize_text import NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from preprocess.pipeline.identifiers import from_member_stem
from preprocess.pipeline.shard import ParquetShard, temporary_beside
from preprocess.pipeline.stage import end_with_parent
from preprocess.validate_archives import items, judge_item

SUFFIXES = (".gz", ".tgz", ".tar", ".z")  # of archives in a folder
SEARCHED_ITEMS = 50  # of a tar: one of them has an arXiv id if it is a bulk tar
A_TASK = 4  # papers
# The recipe of the corpus `main`.
EXTRACTION, CLEANING = ExtractLatexConfig.model_validate({}), NormalizeTextConfig.model_validate({})
COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), False),
        pa.field("source", pa.string(), False),
        pa.field("text", pa.large_string(), False),
        pa.field("record", pa.string(), False),
    ]
)


class Cleaned(NamedTuple):
    """A paper's text and how it was made.

    `record`: main file and why it was chosen, files used, unresolved inputs, macros left, flags, and
    `removed`, the bytes that each rule removed. Of a paper without text, `text` is "" and `record` holds
    `dropped` (the reason) and `detail`.
    """

    text: str
    record: dict[str, Any]


def clean(archive: bytes, name: str = "paper.tex", title: str = "", abstract: str = "") -> Cleaned:
    """Clean one paper, in any form that arXiv stores; never raises because of what the bytes are.

    `name`: what a bare TeX file is called. `title`, `abstract`: if known, they come first, as in the corpus.
    """
    _, reason = judge_item(archive, MAX_BYTES)
    if reason:
        return _dropped(Dropped(reason))
    extracted = extract_paper(archive, name, EXTRACTION)
    if isinstance(extracted, Dropped):
        return _dropped(extracted)
    cleaned = normalize_document(extracted.text, title, abstract, CLEANING)
    if isinstance(cleaned, Dropped):
        return _dropped(cleaned)
    removed = extracted.removed
    removed.update(cleaned.removed)
    facts = {"main_file": extracted.main_file, **extracted.record, **cleaned.facts}
    return Cleaned(cleaned.text, facts | {"removed": {cause: n for cause, n in sorted(removed.items()) if n}})


def _dropped(why: Dropped) -> Cleaned:
    return Cleaned("", {"dropped": why.reason, "detail": why.detail})


# ---------------------------------------------------------------- what the inputs hold


@dataclass(frozen=True)
class Item:
    """Where a paper's bytes are."""

    id: str  # arXiv id, or the file's path in the folder without its suffixes
    name: str  # of the text file, without .txt
    path: Path
    source: str  # as the user knows the file
    offset: int = 0
    n_bytes: int = -1  # to the end


def find_items(path: Path, source: str) -> Iterator[Item]:
    """The papers in a folder or file. Raises UserError if the file is missing or the folder holds none."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UserError(f"{path}: holds no archive ({', '.join(SUFFIXES)})")
        for file in files:
            for item in find_items(file, str(file)):
                folder = file.parent.relative_to(path).as_posix()
                yield item if folder == "." else _below(item, folder)
    elif not path.is_file():
        raise UserError(f"{path}: no such file or folder")
    elif _is_bulk(path):
        with contextlib.suppress(tarfile.TarError):  # ends too early: what came before it is read
            for member, _ in items(path, max_bytes=0):
                paper_id = from_member_stem(PurePosixPath(member.name).stem)
                if paper_id and member.isreg():
                    name = paper_id.replace("/", "")
                    yield Item(paper_id, name, path, source, member.offset_data, member.size)
    else:
        name = PurePosixPath(source).name
        while name.lower().endswith((*SUFFIXES, ".tex")):
            name = name.rpartition(".")[0]
        yield Item(from_member_stem(name) or name, name, path, source)


def _below(item: Item, folder: str) -> Item:
    is_arxiv_id = from_member_stem(item.name)
    paper_id = item.id if is_arxiv_id else f"{folder}/{item.id}"
    return Item(paper_id, f"{folder}/{item.name}", item.path, item.source, item.offset, item.n_bytes)


def _is_bulk(path: Path) -> bool:
    """Whether it is a tar of papers rather than of one paper's files."""
    with path.open("rb") as file:
        if kind_of(file.read(1024)) != "tar":
            return False
    with contextlib.suppress(tarfile.TarError):
        for n, (member, _) in enumerate(items(path, max_bytes=0)):
            if from_member_stem(PurePosixPath(member.name).stem) and member.name.endswith((".gz", ".pdf")):
                return True
            if n == SEARCHED_ITEMS:
                break
    return False


def clean_item(item: Item) -> tuple[Item, Cleaned]:
    """Read and clean one paper."""
    with item.path.open("rb") as file:
        file.seek(item.offset)
        data = file.read(item.n_bytes if item.n_bytes >= 0 else MAX_BYTES + 1)
    return item, clean(data, f"{PurePosixPath(item.name).name}.tex")


def clean_items(found: list[Item], workers: int) -> Iterator[tuple[Item, Cleaned]]:
    """Clean all papers, in their order. Raises UserError if a worker process is killed."""
    if workers == 1 or len(found) <= A_TASK:
        yield from map(clean_item, found)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield from pool.map(clean_item, found, chunksize=A_TASK)
    except BrokenProcessPool:
        raise UserError("a worker process was killed (out of memory?): try fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and the worker with it
    end_with_parent()


# ---------------------------------------------------------------- where the texts go


class TextFiles:
    """A .txt for each paper below a folder; without one, the only paper's text on standard output."""

    def __init__(self, to: Path | None) -> None:
        self._to = to

    def write(self, item: Item, cleaned: Cleaned) -> None:
        """Write one text."""
        if self._to is None:
            sys.stdout.write(cleaned.text)
            return
        path = self._to / f"{item.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = temporary_beside(path)
        with writing(path):
            aside.write_text(cleaned.text, encoding="utf-8")
        aside.replace(path)


class JsonLines:
    """One object a line, to a file (complete or absent) or to standard output."""

    def __init__(self, to: Path | None) -> None:
        self._to = to
        self._aside = temporary_beside(to) if to else None
        self._file = self._aside.open("w", encoding="utf-8") if self._aside else sys.stdout

    def write(self, item: Item, cleaned: Cleaned) -> None:
        """Write one line."""
        row = {"id": item.id, "source": item.source, "text": cleaned.text, "record": cleaned.record}
        with writing(self._to or Path("standard output")):
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._to and self._aside:
            self._file.close()
            if kind is None:
                self._aside.replace(self._to)
            self._aside.unlink(missing_ok=True)


class ParquetFile:
    """A Parquet file, complete or absent."""

    def __init__(self, to: Path) -> None:
        self._shard = ParquetShard(to, COLUMNS, "")

    def write(self, item: Item, cleaned: Cleaned) -> None:
        """Write one row."""
        record = json.dumps(cleaned.record, ensure_ascii=False)
        self._shard.append({"id": item.id, "source": item.source, "text": cleaned.text, "record": record})

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(self, *error: Any) -> None:
        self._shard.__exit__(*error)


def open_output(kind: str, to: Path | None, n_papers: int) -> Any:
    """A context manager that gives the writer. Raises UserError if `to` is needed."""
    if kind == "parquet":
        if to is None:
            raise UserError("--format parquet: give the file with --to")
        return ParquetFile(to)
    if kind == "jsonl":
        return JsonLines(to)
    if to is None and n_papers > 1:
        raise UserError(f"{n_papers:,} papers: give a folder with --to, or --format jsonl")
    return contextlib.nullcontext(TextFiles(to))


def main() -> None:
    """Clean all inputs. Raises UserError if no paper leaves a text."""
    parser = argparse.ArgumentParser(
        prog="arxiv-to-text", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folder, tar, paper, or - for standard input"
    )
    parser.add_argument(
        "--format", choices=("text", "jsonl", "parquet"), default="text", help="default: text"
    )
    parser.add_argument("--to", type=Path, help="folder for texts, file for jsonl and parquet")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: all cores)")
    args = parser.parse_args()
    if args.workers < 1:
        raise UserError(f"--workers {args.workers}: at least 1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale says
    with tempfile.TemporaryDirectory() as folder:
        found: list[Item] = []
        for text in args.inputs:
            if text == "-":
                with (Path(folder) / "stdin").open("wb") as copy:
                    while data := sys.stdin.buffer.read(1 << 20):
                        copy.write(data)
            path = Path(folder) / "stdin" if text == "-" else Path(text)
            found += find_items(path, "stdin" if text == "-" else text)
        n_dropped = convert(found, args) if found else 0
    if not found:
        raise UserError(f"{', '.join(args.inputs)}: no paper in it that has an arXiv id")
    if n_dropped == len(found):
        raise UserError(f"none of {len(found):,} papers leaves a text; the lines above say why")


def convert(found: list[Item], args: argparse.Namespace) -> int:
    """Write the texts of the papers; returns how many have none."""
    if args.format == "text" and args.to:
        name, n = Counter(item.name for item in found).most_common(1)[0]
        if n > 1:
            raise UserError(
                f"{name}.txt: {n} papers would be written to it; give a folder that holds them all"
            )
    n_dropped = 0
    with open_output(args.format, args.to, len(found)) as out:
        for item, cleaned in clean_items(found, args.workers):
            if reason := cleaned.record.get("dropped"):
                n_dropped += 1
                print(
                    f"{item.source}: {item.id}: {reason} {cleaned.record['detail']}".rstrip(), file=sys.stderr
                )
            else:
                out.write(item, cleaned)
    if len(found) > 1:
        print(f"arxiv-to-text: {len(found):,} papers, {n_dropped:,} without a text", file=sys.stderr)
    return n_dropped


def script() -> None:
    """The console script."""
    run_main(main)


if __name__ == "__main__":
    script()
