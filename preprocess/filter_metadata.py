"""Choose papers by their metadata: category, year, licence, not withdrawn.

    python preprocess/filter_metadata.py --metadata arxiv-metadata-oai-snapshot.json --data data

In:  the metadata snapshot, one JSON object per line. It is streamed, so its size does not matter.
Out: $DATA/corpus/<variant>/filter_metadata/<YYMM>.parquet, the chosen papers by the month of their id, and a
     ledger row for every line. If an id has several lines, the one with the latest `update_date` counts; if
     the dates are equal, the last line counts.
"""

import datetime
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import xxhash
from pydantic import Field

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import CONFIGS, Config, UserError, read_yaml, run_main
from preprocess.pipeline.job import Job, arguments, parse
from preprocess.pipeline.ledger import Documents
from preprocess.pipeline.schema import PAPERS
from preprocess.pipeline.shard import code_hash
from preprocess.pipeline.snapshot import UNREADABLE, check_snapshot, months, read_lines
from preprocess.pipeline.stage import ShardStage, Unit, run

# Licences by what they allow. Anyone may pass on text under the first two groups and train on it. arXiv's own
# non-exclusive licence lets only arXiv distribute the text. Most older papers have no licence on record.
LICENSE_GROUPS = {
    "public_domain": re.compile(r"//creativecommons\.org/(publicdomain/|licenses/publicdomain)"),
    "attribution": re.compile(r"//creativecommons\.org/licenses/by(-sa)?/"),
    "restricted": re.compile(r"//creativecommons\.org/licenses/by-n"),  # -nc, -nd, -nc-sa, -nc-nd
    "arxiv": re.compile(r"//arxiv\.org/licenses/"),
}
OPEN_GROUPS = ("public_domain", "attribution")

_WITHDRAWN = re.compile(r"\b(withdrawn|withdraw this|retracted)\b", re.IGNORECASE)
# The comment speaks of something other than this paper: "a previous version was withdrawn", "Theorem 3 has
# been withdrawn".
_NOT_THIS = re.compile(
    r"\b(previous|earlier|prior|first|older?|original|another|part|claims?|theorems?|lemmas?|sections?|"
    r"conjectures?|propositions?)\b",
    re.IGNORECASE,
)
_VERSION = re.compile(r"\b(?:v|version )(\d+)\b", re.IGNORECASE)
_OPENS_AS_WITHDRAWN = re.compile(
    r"\W*((this|the)\s+(\w+\s+){0,2}?)?"
    r"((paper|article|manuscript|submission|preprint|work|note)\s+((has|have)\s+been|is|was)\s+(temporarily\s+|being\s+)?)?"
    r"(withdrawn|retracted)\b",
    re.IGNORECASE,
)


class FilterMetadataConfig(Config):
    """Which papers to keep."""

    categories: str = "paper"  # name of a list in configs/categories/
    match: Literal["primary", "any"] = "primary"  # which of a paper's categories are compared with the list
    first_year: int = Field(1991, ge=1991)  # year of version 1; arXiv opened in 1991
    last_year: int = Field(9999, ge=1991)
    licenses: Literal["any", "open"] = "any"  # open: only licences in OPEN_GROUPS


class _Version(msgspec.Struct):
    created: str
    source_type: str = ""  # in snapshots made from arXiv's OAI format arXivRaw; Kaggle's snapshot lacks it


class _Line(msgspec.Struct):
    """The fields of a metadata line that the stage reads; msgspec skips all others while decoding."""

    id: str
    title: str
    abstract: str
    categories: str
    versions: list[_Version]
    comments: str | None = None
    license: str | None = None
    update_date: str = ""


@dataclass(frozen=True)
class Domains:
    """Which domain a category belongs to; an exact name goes before an archive (`math.*`)."""

    exact: dict[str, str]
    archives: dict[str, str]

    @classmethod
    def read(cls, name: str) -> "Domains":
        """Read configs/categories/<name>.yaml. Raises UserError if a pattern stands under two domains."""
        path = CONFIGS / "categories" / f"{name}.yaml"
        exact: dict[str, str] = {}
        archives: dict[str, str] = {}
        for domain, patterns in read_yaml(path).items():
            for pattern in patterns:
                table, key = (archives, pattern[:-2]) if pattern.endswith(".*") else (exact, pattern)
                if table.setdefault(key, domain) != domain:
                    raise UserError(f"{path}: {pattern} stands under {table[key]} and under {domain}")
        return cls(exact, archives)

    def of(self, categories: list[str]) -> str | None:
        """Domain of the first category that has one, None if no category has a domain."""
        for category in categories:
            domain = self.exact.get(category) or self.archives.get(category.partition(".")[0])
            if domain and (category in self.exact or "." in category):
                return domain
        return None


def license_group(url: str | None) -> str:
    """The key in LICENSE_GROUPS of a licence's URL; "none" if there is no URL, "other" if none matches."""
    if not url:
        return "none"
    return next((group for group, pattern in LICENSE_GROUPS.items() if pattern.search(url)), "other")


def is_withdrawn(comments: str | None, abstract: str, n_versions: int = 1) -> bool:
    """Whether the paper itself is withdrawn; papers that only mention a withdrawal are not.

    "v2 withdrawn" withdraws the paper only if version 2 is its last version.
    """
    sentences = re.split(r"[.;!?]\s", comments or "")
    if any(_OPENS_AS_WITHDRAWN.match(text) for text in (abstract, *sentences)):
        return True
    for sentence in sentences:
        if _WITHDRAWN.search(sentence) and not _NOT_THIS.search(sentence):
            versions = [int(number) for number in _VERSION.findall(sentence)]
            if not versions or n_versions in versions:
                return True
    return False


def judge(line: _Line, config: FilterMetadataConfig, domains: Domains) -> tuple[str, str, str]:
    """(domain, date of version 1 as YYYY-MM-DD, reason to drop or "") of one metadata line."""
    created = _iso_date(line.versions[0].created) if line.versions else ""
    if not created:
        return "", "", "malformed_line"
    categories = line.categories.split()
    domain = domains.of(categories[:1] if config.match == "primary" else categories)
    if domain is None:
        return "", created, "category"
    if not config.first_year <= int(created[:4]) <= config.last_year:
        return domain, created, "year"
    if config.licenses == "open" and license_group(line.license) not in OPEN_GROUPS:
        return domain, created, "license"
    # arXiv stores a withdrawn version with source type I ("ignore") and without text.
    is_stub = line.versions[-1].source_type == "I"
    if is_stub or is_withdrawn(line.comments, line.abstract, len(line.versions)):
        return domain, created, "withdrawn"
    return domain, created, ""


_MONTHS = {name: i for i, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}


def _iso_date(rfc822: str) -> str:
    """`2007-04-19` for `Thu, 19 Apr 2007 03:17:42 GMT`, "" if the text is not an RFC 822 date.

    Written by hand because email.utils takes 30 times as long.
    """
    parts = rfc822.split()
    try:
        return datetime.date(int(parts[3]), _MONTHS[parts[2]], int(parts[1])).isoformat()
    except (IndexError, KeyError, ValueError):
        return ""


def _paragraphs(text: str) -> str:
    """Metadata text with its lines joined; an indented line begins a new paragraph."""
    paragraphs = re.split(r"\n(?:[ \t]+|[ \t]*\n\s*)", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def filter_month(unit: Unit, config: FilterMetadataConfig, documents: Documents) -> None:
    """Keep or drop each metadata line of one month. `unit.work`: (snapshot file, offsets of its lines)."""
    snapshot, offsets = unit.work
    domains = Domains.read(config.categories)
    decoder = msgspec.json.Decoder(_Line)
    newest: dict[str, tuple[str, int]] = {}
    lines: list[tuple[int, int, _Line | None]] = []
    with snapshot.open("rb") as file:
        for offset in offsets:
            file.seek(offset)
            raw, n_bytes = next(read_lines(file))
            try:
                line = decoder.decode(raw) if unit.name != UNREADABLE else None
            except (msgspec.MsgspecError, UnicodeDecodeError):
                line = None
            lines.append((offset, n_bytes, line))
            if line is not None:
                newest[line.id] = max(newest.get(line.id, ("", -1)), (line.update_date, offset))
    for offset, n_bytes, line in lines:
        if line is None:
            documents.drop(f"@{offset}", "malformed_line", n_bytes, f"at byte {offset} of {snapshot.name}")
            continue
        if newest[line.id][1] != offset:
            documents.drop(
                f"{line.id}@{offset}", "superseded_line", n_bytes, "another line for this id is newer"
            )
            continue
        domain, created, reason = judge(line, config, domains)
        if reason:
            details = {"category": line.categories, "license": license_group(line.license)}
            documents.drop(line.id, reason, n_bytes, details.get(reason, ""))
            continue
        row = {
            "id": line.id,
            "domain": domain,
            "categories": line.categories,
            "license": line.license or "",
            "created": created,
            "title": _paragraphs(line.title).replace("\n\n", " "),
            "abstract": _paragraphs(line.abstract),
        }
        documents.keep(row, n_bytes, n_bytes, {})


def main() -> None:
    """Run the stage."""
    job: Job = parse(arguments(__doc__ or "", "filter_metadata", FilterMetadataConfig), "filter_metadata")
    config = job.config(FilterMetadataConfig)
    lists = CONFIGS / "categories" / f"{config.categories}.yaml"
    Domains.read(config.categories)
    stage = ShardStage(
        "filter_metadata",
        PAPERS,
        filter_month,
        code_hash("filter_metadata.py") + xxhash.xxh3_64_hexdigest(lists.read_bytes()),
    )
    check_snapshot(job.metadata)
    run(stage, job, config, list(months(job.metadata)))


if __name__ == "__main__":
    run_main(main)
