"""One paper's path through preprocessing: what was chosen, what was removed, where it ended and why.

    make why ID=0704.0001 [DATA=data] [VARIANT=main]
    python analysis/why.py 0704.0001 --data data --variant main

In: the Parquet files under $DATA that the stages wrote, nothing else (the archives are not read again). Out:
on the console, the verdict of every stage, the files and the choice among them, bytes by cause, what stayed
unresolved, duplicates, split and tokens, and the head of the text.
"""

import argparse
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.readers.ledgers import stage_folders
from configs.loader import UserError, default_data_root, run_main

HEAD_LINES, LINES_A_PARAGRAPH = 12, 4  # of the text; one line of it may be a whole paragraph
MOST_SHOWN = 12  # file names, candidates, causes: a longer list hides the rest
BAR = 24  # characters of the longest bar
_MONTH = re.compile(r"(?:^|/)(\d{4})")  # of an id: `0704.0001`, `hep-th/9901001`
_WRITTEN = re.compile(r"(?:arxiv:)?(.*?)(?:v\d+)?", re.IGNORECASE)  # as people write ids: arXiv:0704.0001v2
_BOLD, _GREY, _GREEN, _RED = "1", "90", "32", "31"

Row = dict[str, Any]


@dataclass
class Trace:
    """What the stages wrote about one paper."""

    paper_id: str
    verdicts: dict[str, Row] = field(default_factory=dict)  # ledger rows by stage, in the order of stages
    documents: dict[str, Row] = field(default_factory=dict)  # rows of the stages that kept it
    duplicates: dict[str, str] = field(default_factory=dict)  # reason by id, of papers dropped for this one
    tokens: list[tuple[str, Row]] = field(default_factory=list)  # (folder below tokens/, row of the index)

    @property
    def end(self) -> tuple[str, Row] | None:
        """(stage, ledger row) that dropped it."""
        dropped = {stage: row for stage, row in self.verdicts.items() if row["outcome"] == "dropped"}
        # extract_latex repeats the metadata's verdict for papers that were not selected: the first counts.
        return next(iter(dropped.items()), None)


def trace(data: Path, variant: str, paper_id: str) -> Trace:
    """Follow one paper. Raises UserError where no stage has seen it."""
    found = Trace(paper_id)
    for stage, ledger in stage_folders(data, variant).items():
        shard, row = _find(ledger, paper_id)
        if shard is None:
            continue
        found.verdicts[stage] = row
        corpus = data / "corpus" / ledger.parent.name / stage / shard.name
        if row["outcome"] == "kept" and corpus.is_file():
            found.documents[stage] = _rows(corpus, paper_id)[0]
        if stage == "deduplicate":
            found.duplicates = dict(_dropped_for(ledger, paper_id))
        if stage == "split_corpus":
            for index in sorted(data.glob(f"tokens/{variant}-*/*/*/{shard.stem}.idx.parquet")):
                for entry in _rows(index, paper_id):
                    where = index.parent.relative_to(data / "tokens").as_posix()
                    found.tokens.append((where, entry))
    if not found.verdicts:
        raise UserError(_unknown(data, variant, paper_id))
    return found


def _find(ledger: Path, paper_id: str) -> tuple[Path, Row] | tuple[None, Row]:
    """(shard, row) of a paper in one stage's ledger: shards whose names hold its month are read first."""
    match = _MONTH.search(paper_id)
    month = match[1] if match else ""
    for path in sorted(ledger.glob("*.parquet"), key=lambda path: (month not in path.stem, path)):
        for row in _rows(path, paper_id):
            return path, row
    return None, {}


def _rows(path: Path, paper_id: str) -> list[Row]:
    return _read(path, filters=[("id", "=", paper_id)]).to_pylist()


def _read(path: Path, **what: Any) -> pa.Table:
    try:
        return pq.read_table(path, **what)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run its stage again") from None


def _dropped_for(ledger: Path, paper_id: str) -> Iterator[tuple[str, str]]:
    """(id, reason) of the papers that this one stands for; the ledger's detail names it."""
    named = re.compile(rf"(?<![\w./-]){re.escape(paper_id)}(?![\w/]|\.\d)")
    for path in sorted(ledger.glob("*.parquet")):
        table = _read(path, columns=["id", "outcome", "reason", "detail"])
        dropped = table.filter(pc.equal(table["outcome"], "dropped"))
        for row in dropped.filter(pc.match_substring(dropped["detail"], paper_id)).to_pylist():
            if named.search(row["detail"]):
                yield row["id"], row["reason"]


def _unknown(data: Path, variant: str, paper_id: str) -> str:
    folders = stage_folders(data, variant)
    ids: set[str] = set()
    for folder in list(folders.values())[:2]:  # what comes in: metadata and archives
        for path in folder.glob("*.parquet"):
            ids |= set(_read(path, columns=["id"])["id"].to_pylist())
    near = get_close_matches(paper_id, sorted(ids), n=3)
    hint = f"; similar ids: {', '.join(near)}" if near else ""
    return (
        f"{paper_id!r} is not among the {len(ids):,} papers in metadata or archives of corpus {variant!r} "
        f"under {data}{hint}"
    )


# ---------------------------------------------------------------- output


@dataclass(frozen=True)
class Page:
    """Width of the lines in characters, and whether the console shows colours."""

    width: int = 100
    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """`text` in a colour."""
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def section(self, name: str, lines: Iterable[str]) -> Iterator[str]:
        """A titled part; nothing where there are no lines."""
        lines = list(lines)
        if lines:
            yield ""
            yield self.paint(name, _BOLD)
            yield from (f"  {line}" for line in lines)

    def fact(self, name: str, value: str) -> str:
        """A name and its value, wrapped in a column of its own."""
        folded = textwrap.wrap(value, max(20, self.width - 24), break_on_hyphens=False)
        return f"{self.paint(f'{name:20}', _GREY)}" + f"\n{'':22}".join(folded)

    def bar(self, n: int, most: int) -> str:
        """A bar for `n` beside one of `most`; what was added is green, what was removed is red."""
        cells = round(BAR * abs(n) / max(most, 1))
        return self.paint("█" * max(cells, 1), _RED if n > 0 else _GREEN)


def render(found: Trace, page: Page) -> str:
    """The whole trace as text for a console."""
    last: Row = {}
    for row in found.documents.values():
        last |= row
    record = json.loads(last.get("record") or "{}")
    title = " ".join(last.get("title", "").split())
    lines = [
        f"{page.paint(found.paper_id, _BOLD)}  {title}",
        page.paint(_about(last), _GREY),
        _verdict(found, last, page),
        *page.section("Stages", _stages(found, page)),
        *page.section("Files", _files(last, record, page)),
        *page.section("Bytes removed (− means added)", _removed(found, page)),
        *page.section("Left as written", _unresolved(record, page)),
        *page.section("Measures", _measures(last, page)),
        *page.section("Corpus", _places(found, last, page)),
        *page.section("Text", _head(last.get("text", ""), page)),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _about(last: Row) -> str:
    if "categories" not in last:
        return "no metadata kept"
    licence = last["license"] or "no licence on record"
    return " · ".join((last["domain"], last["categories"], last["created"], licence))


def _verdict(found: Trace, last: Row, page: Page) -> str:
    if found.end:
        stage, row = found.end
        because = f": {row['detail']}" if row["detail"] else ""
        return page.paint(f"DROPPED by {stage}, {row['reason']}", _RED) + because
    stage = list(found.verdicts)[-1]
    if stage == "filter_metadata":
        return page.paint("SELECTED by its metadata, in none of the archives that were read", _RED)
    return page.paint(f"KEPT up to {stage}" + (f", in {last['split']}" if "split" in last else ""), _GREEN)


def _stages(found: Trace, page: Page) -> Iterator[str]:
    yield page.paint(f"{'':18} {'verdict':24} {'bytes in':>12} {'bytes out':>12}  shard", _GREY)
    for stage, row in found.verdicts.items():
        kept = row["outcome"] == "kept"
        verdict = page.paint(f"{'kept' if kept else row['reason']:24}", _GREEN if kept else _RED)
        bytes_out = f"{row['bytes_out']:,}" if kept else ""
        yield f"{stage:18} {verdict} {row['bytes_in']:>12,} {bytes_out:>12}  {row['source_tar']}"


def _files(last: Row, record: Row, page: Page) -> Iterator[str]:
    if "member" in last:
        yield page.fact("item", f"{last['source_tar']}.tar: {last['member']}, {last['kind']}")
    if not record:
        return
    reason = record["reason"].replace("_", " ")
    main_file = last["main_file"] or "none"  # Run 05 joins all files
    yield page.fact("main file", f"{main_file} ({reason}, {record.get('dialect', 'any dialect')})")
    for path, score, evidence in record.get("candidates", ()):
        chosen = path == last["main_file"]
        line = f"{score:>4}  {path}  {page.paint(evidence, _GREY)}"
        yield f"{'':20}{page.paint('→', _GREEN) if chosen else ' '}{line}"
    used = record["files"]
    more = f", … {len(used) - MOST_SHOWN} more" if len(used) > MOST_SHOWN else ""
    yield page.fact(f"used {len(used)} of {record['n_files']}", ", ".join(used[:MOST_SHOWN]) + more)
    if codecs := record.get("codecs"):
        yield page.fact("encodings", ", ".join(f"{path}: {codec}" for path, codec in codecs.items()))
    if flags := record.get("flags"):
        yield page.fact("flags", ", ".join(flags))


def _removed(found: Trace, page: Page) -> Iterator[str]:
    causes = [
        (stage, cause, n)
        for stage, row in found.verdicts.items()
        if row["outcome"] == "kept" and row["detail"]
        for cause, n in sorted(json.loads(row["detail"]).items(), key=lambda item: -abs(item[1]))
    ]
    most = max((abs(n) for *_, n in causes), default=1)
    for stage, cause, n in causes:
        written = f"{n:,}".replace("-", "−")
        yield f"{stage:18} {cause.replace('_', ' '):24} {written:>12}  {page.bar(n, most)}"


def _unresolved(record: Row, page: Page) -> Iterator[str]:
    if names := record.get("unresolved"):
        yield page.fact("inputs", ", ".join(names[:MOST_SHOWN]) + (", …" if len(names) > MOST_SHOWN else ""))
    if uses := record.get("macro_uses"):
        left = record["macros_left"]
        most = f", most often {', '.join(record['left_most'])}" if left else ""
        yield page.fact("macros", f"{left:,} of {uses:,} uses{most}")


def _measures(last: Row, page: Page) -> Iterator[str]:
    if "language" in last:
        yield page.fact("language", f"{last['language'] or 'no prose'} ({last['language_score']:.2f})")
        yield page.fact("words of prose", f"{last['n_words']:,}")
        for name in ("letter_share", "math_share", "repetition"):
            yield page.fact(name.replace("_", " "), f"{last[name]:.1%}")


def _places(found: Trace, last: Row, page: Page) -> Iterator[str]:
    for paper_id, reason in found.duplicates.items():
        yield page.fact("stands for", f"{paper_id} ({reason})")
    if "split" in last:
        component = last["component"]
        alone = component == found.paper_id and not found.duplicates
        yield page.fact("split", last["split"] + ("" if alone else f", component {component}"))
    for where, entry in found.tokens:
        ratio = entry["n_bytes"] / entry["n_tokens"]
        yield page.fact(f"{entry['n_tokens']:,} tokens", f"{where}, {ratio:.2f} bytes a token")


def _head(text: str, page: Page) -> Iterator[str]:
    lines = text.rstrip("\n").split("\n") if text else []
    for line in lines[:HEAD_LINES]:
        yield textwrap.shorten(line, LINES_A_PARAGRAPH * page.width, placeholder=" …")
    if len(lines) > HEAD_LINES:
        yield page.paint(f"… {len(lines) - HEAD_LINES:,} more lines, {len(text):,} characters in all", _GREY)


def main() -> None:
    """Print one paper's path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", help="as arXiv writes it: 0704.0001, hep-th/9901001")
    parser.add_argument("--data", type=Path, default=default_data_root(), help="data root ($ARXIV_DATA)")
    parser.add_argument("--variant", default="main", help="a corpus recipe (default: main)")
    args = parser.parse_args()
    written = _WRITTEN.fullmatch(args.id.strip())
    if written is None or not written[1]:
        raise UserError("no id given; for instance: make why ID=0704.0001")
    found = trace(args.data, args.variant, written[1])
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(render(found, Page(shutil.get_terminal_size((110, 24)).columns, colour)))


if __name__ == "__main__":
    run_main(main)
