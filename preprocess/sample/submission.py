"""A paper of the built-in sample as submitted, before it has an id."""

import datetime
import random
from dataclasses import dataclass

from preprocess.sample.manuscript import Manuscript
from preprocess.sample.packaging import Record
from preprocess.sample.source import expand_macros

_ARXIV_LICENSE = "http://arxiv.org/licenses/nonexclusive-distrib/1.0/"
_LICENSES = (
    _ARXIV_LICENSE,
    _ARXIV_LICENSE,
    "http://creativecommons.org/licenses/by/4.0/",
    "http://creativecommons.org/publicdomain/zero/1.0/",
)


@dataclass(frozen=True)
class Verdict:
    """The stage that must drop a paper and the reason; "-" and "kept" if no stage may drop it."""

    stage: str = "-"
    reason: str = "kept"


@dataclass(frozen=True)
class Submission:
    """The stored bytes of a paper, its metadata, and the verdict that the stages must reach."""

    yymm: str
    record: Record
    data: bytes
    suffix: str = ".gz"
    metadata_lines: int = 1
    kind: str = "ordinary"
    verdict: Verdict = Verdict()


def month_start(yymm: str) -> datetime.datetime:
    """Midnight (UTC) of the first day of the month YYMM; arXiv began in 1991."""
    year = int(yymm[:2])
    return datetime.datetime(
        1900 + year if year >= 91 else 2000 + year, int(yymm[2:]), 1, tzinfo=datetime.UTC
    )


def record_of(rng: random.Random, manuscript: Manuscript, yymm: str) -> Record:
    """The metadata of a manuscript, without its id."""
    created = month_start(yymm)
    pages = 4 + sum(len(section.text) for section in manuscript.sections) // 2500
    figures = f"{pages} pages, {len(manuscript.figures)} figures, comments welcome"
    return Record(
        id="",
        title=manuscript.title,
        authors=manuscript.authors,
        abstract=expand_macros(manuscript.abstract),
        categories=manuscript.category,
        comments=rng.choice((None, f"{pages} pages", figures)),
        license=rng.choice(_LICENSES) if created.year >= 2007 else None,
        created=created,
        versions=rng.choice((1, 1, 1, 2, 3)),
    )
