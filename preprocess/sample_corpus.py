"""Write the built-in sample: invented papers, packaged as arXiv does, that depend only on a seed.

    python preprocess/sample_corpus.py --out data/demo/raw --seed 0 --papers 320

In:  nothing. The grammars in preprocess/sample/grammars make the papers (mathematics, cs, physics).
Out: OUT/src/arXiv_src_YYMM_NNN.tar and OUT/src/arXiv_src_manifest.xml, as in arXiv's bucket;
     OUT/metadata.json, the metadata snapshot, one JSON object on each line;
     OUT/planted.tsv: id and kind of each unusual paper, the stage that must drop it and the reason ("-" and
     "kept" if no stage may drop it).
The same seed and number of papers give the same bytes on every machine. The folder is written under another
name and renamed, so it is complete or absent. A complete one stays; one of another seed or of older code is
replaced.
"""

import argparse
import datetime
import hashlib
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, run_main
from preprocess.pipeline.shard import code_hash
from preprocess.sample.grammar import GRAMMARS, SUBJECTS
from preprocess.sample.manuscript import write_manuscript
from preprocess.sample.packaging import (
    Item,
    bulk_tar,
    manifest,
    manifest_entry,
    metadata_line,
    package,
)
from preprocess.sample.planted import planted_papers
from preprocess.sample.source import write_source
from preprocess.sample.submission import Submission, month_start, record_of

# Months (YYMM) of the three schemes of ids (old, four digits, five digits):
# https://arxiv.org/help/arxiv_identifier.
MONTHS = ("9901", "0306", "0704", "1207", "1501", "2105")
# Dialects by month, repeated by weight: plain TeX and LaTeX 2.09 fell out of use.
_DIALECTS = {
    "9901": ("latex209", "latex209", "latex2e", "latex2e", "plain", "amstex"),
    "0306": ("latex2e",) * 7 + ("latex209", "plain"),
}
_SIZES = (5000, 6000, 8000, 9000, 10000, 12000, 14000, 18000, 24000)  # intended bytes of TeX
_ITEMS_A_TAR = 20  # arXiv fills tars up to 500 MB; here, too, a month needs several tars
_MONTH_S = 27 * 24 * 3600  # seconds; shorter than every month, so that no submission falls into the next
_MAX_PAPERS = 15_000  # old ids have three digits for the papers of a month in an archive
DONE = "_DONE.json"  # written last


@dataclass(frozen=True)
class Sample:
    """The whole corpus in memory, as files by their path under OUT, and what was planted."""

    files: dict[str, bytes]
    submissions: tuple[Submission, ...]  # each with its id


def ordinary_papers(seed: int, n_papers: int) -> Iterator[Submission]:
    """Ordinary papers, distributed over subjects and months. Paper i depends only on the seed and on i."""
    for i in range(n_papers):
        rng = random.Random(f"{seed}/ordinary/{i}")
        yymm = MONTHS[i // len(SUBJECTS) % len(MONTHS)]
        dialect = rng.choice(_DIALECTS.get(yymm, ("latex2e",)))
        illustrated = dialect in ("latex2e", "latex209") and rng.random() < 0.5
        manuscript = write_manuscript(rng, SUBJECTS[i % len(SUBJECTS)], rng.choice(_SIZES), illustrated)
        layout = "split" if rng.random() < 0.4 else "single"
        source = write_source(rng, manuscript, month_start(yymm).year, dialect, layout)
        yield Submission(yymm, record_of(rng, manuscript, yymm), package(source.files))


def number(seed: int, submissions: list[Submission]) -> list[Submission]:
    """Give ids and dates to the submissions, in random order; returns them in the order of their ids."""
    shuffled = random.Random(f"{seed}/order").sample(submissions, len(submissions))
    counters: Counter[str] = Counter()
    numbered = []
    for n, submission in enumerate(shuffled):
        yymm, archive = submission.yymm, submission.record.categories.split()[0].partition(".")[0]
        prefix = f"{archive}/{yymm}" if yymm in MONTHS[:2] else f"{yymm}."
        counters[prefix] += 1
        digits = 3 if "/" in prefix else 4 if yymm < "1501" else 5
        moment = month_start(yymm) + datetime.timedelta(seconds=_MONTH_S * n // len(shuffled))
        record = replace(submission.record, id=f"{prefix}{counters[prefix]:0{digits}d}", created=moment)
        numbered.append(replace(submission, record=record))
    return sorted(numbered, key=lambda submission: submission.record.id)


def make_sample(seed: int, n_papers: int) -> Sample:
    """The sample of a seed: `n_papers` ordinary papers, and always all planted ones."""
    papers = list(tqdm(ordinary_papers(seed, n_papers), "writing papers", n_papers, unit=" papers"))
    submissions = number(seed, papers + list(planted_papers(seed)))
    metadata, rows = _metadata(submissions)
    rows += [
        f"{s.record.id}\t{s.kind}\t{s.verdict.stage}\t{s.verdict.reason}"
        for s in submissions
        if s.kind != "ordinary"
    ]
    planted = "\n".join(["id\tkind\tstage\treason", *rows]) + "\n"
    files = _bulk_archives(submissions) | {"metadata.json": metadata, "planted.tsv": planted.encode()}
    return Sample(files, tuple(submissions))


def _metadata(submissions: list[Submission]) -> tuple[bytes, list[str]]:
    """(the snapshot, rows of planted.tsv for its unusual lines, with ids ID@OFFSET as in the ledger)."""
    lines: list[bytes] = []
    rows: list[str] = []
    for submission in submissions:
        record = submission.record
        if submission.metadata_lines > 1:  # an older line of the same paper, which must be ignored
            rows.append(
                f"{record.id}@{sum(map(len, lines))}\tolder_metadata_line\tfilter_metadata\tsuperseded_line"
            )
            lines.append(metadata_line(replace(record, title="An old title", versions=1)).encode() + b"\n")
            record = replace(record, versions=2)
        if submission.metadata_lines:
            lines.append(metadata_line(record).encode() + b"\n")
    broken = metadata_line(replace(submissions[0].record, id="2105.99999")).encode()[:200]
    rows.append(f"@{sum(map(len, lines))}\tbroken_metadata_line\tfilter_metadata\tmalformed_line")
    return b"".join([*lines, broken + b"\n"]), rows


def _bulk_archives(submissions: list[Submission]) -> dict[str, bytes]:
    """Bulk tars and their manifest by path under OUT."""
    items = [Item(s.record.id, s.yymm, s.suffix, s.data, s.record.created) for s in submissions]
    items.sort(key=lambda item: (MONTHS.index(item.yymm), item.stem))
    files: dict[str, bytes] = {}
    entries = []
    for yymm, group in groupby(items, key=lambda item: item.yymm):
        month = list(group)
        for seq_num, start in enumerate(range(0, len(month), _ITEMS_A_TAR), 1):
            name = f"arXiv_src_{yymm}_{seq_num:03d}.tar"
            part = month[start : start + _ITEMS_A_TAR]
            files[f"src/{name}"] = bulk_tar(part)
            entries.append(manifest_entry(name, seq_num, part, files[f"src/{name}"]))
    return files | {"src/arXiv_src_manifest.xml": manifest(entries).encode()}


def write_sample(out: Path, seed: int, n_papers: int) -> bool:
    """Write the sample to `out`; False if it is there already. UserError if `out` has other content."""
    recipe = {"seed": seed, "papers": n_papers, "code": _code()}
    if (out / DONE).is_file():
        if (out / DONE).read_text(encoding="utf-8") == json.dumps(recipe):
            return False
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"{out}: holds something else than a sample; choose an empty or a new folder for --out"
        )
    aside = out.with_name(f"{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "src").mkdir(parents=True)
    for name, data in make_sample(seed, n_papers).files.items():
        (aside / name).write_bytes(data)
    (aside / DONE).write_text(json.dumps(recipe), encoding="utf-8")
    if out.exists():
        shutil.rmtree(out)  # a sample of another seed or of older code
    aside.rename(out)
    return True


def _code() -> str:
    """Hash of all code and grammars on which the sample's bytes depend."""
    digest = hashlib.sha256(code_hash("sample_corpus.py").encode())
    for grammar in sorted(GRAMMARS.glob("*.txt")):
        digest.update(grammar.name.encode() + b"\0" + grammar.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write, for instance data/demo/raw")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random choices (default %(default)s)"
    )
    parser.add_argument(
        "--papers",
        type=int,
        default=320,
        help="number of ordinary papers, without the planted ones (default %(default)s)",
    )
    options = parser.parse_args()
    if not 0 <= options.papers <= _MAX_PAPERS:
        raise UserError(f"--papers {options.papers}: a number from 0 to {_MAX_PAPERS} is expected")
    written = write_sample(options.out, options.seed, options.papers)
    done = "written" if written else "is finished, not made again"
    print(
        f"sample_corpus: {options.out} {done} (seed {options.seed}, {options.papers} papers + planted ones)"
    )


if __name__ == "__main__":
    run_main(main)
