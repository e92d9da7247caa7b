"""Choose the papers of the study at mini scale from a folder of real papers in arXiv's packaging.

    python preprocess/study_papers.py --real $ARXIV_REAL --data data/mini

In:  arxiv-metadata-oai-snapshot.json and provenance.tsv, which tells the repository that each paper is from
     (columns `id repo categories lang tex_bytes`).
Out: $DATA/raw/metadata.json, the snapshot's lines of the chosen papers, so that every variant of the corpus
     drops all others; and validation.json of the split of corpus main, which split_corpus takes over.
Papers of one repository share authors, macros and style. So validation consists of whole repositories, and
no repository gives more than MAX_REPO_BYTES. The domains have the fixed shares of DOMAIN_SHARES. The choice
follows hashes of names: it depends neither on order nor on what is in the papers.
"""

import argparse
import csv
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from configs.loader import UserError, default_data_root, run_main
from preprocess.filter_metadata import Domains
from preprocess.pipeline.stage import write_json
from preprocess.split_corpus import CHOICE_FILE

SCALE = "mini"
CATEGORIES = "broad"  # as the scale's recipe of the corpus says
MAX_REPO_BYTES = 1_500_000  # of TeX
DOMAIN_SHARES = {"math": 2, "cs": 1, "physics": 1}  # bytes of TeX in the training papers
# A domain's validation: repositories of at most that size, until there are so many, with so many papers and
# bytes. A large repository would take too much from training.
MAX_VAL_REPO_BYTES = 700_000
VAL_PAPER_BYTES = 300_000  # what one repository gives at most
MIN_VAL_REPOS, MIN_VAL_PAPERS, MIN_VAL_BYTES = 3, 6, 150_000


@dataclass(frozen=True)
class Source:
    """A paper as provenance.tsv describes it."""

    id: str
    repo: str
    domain: str
    tex_bytes: int


@dataclass(frozen=True)
class Choice:
    """The chosen papers."""

    training: list[Source]
    validation: list[Source]


def by_hash(sources: Sequence[Source]) -> list[Source]:
    """The papers in the order of the hashes of their ids."""
    return sorted(sources, key=lambda source: hashlib.sha256(source.id.encode()).digest())


def up_to(sources: Sequence[Source], n_bytes: int) -> list[Source]:
    """Papers in the order of their hashes; one that would exceed `n_bytes` bytes of TeX is passed over."""
    chosen, total = [], 0
    for source in by_hash(sources):
        if total + source.tex_bytes <= n_bytes:
            chosen.append(source)
            total += source.tex_bytes
    return chosen


def choose(sources: Sequence[Source]) -> Choice:
    """Choose validation repositories in each domain, then training papers in the shares of the domains.

    Raises UserError if a domain has too few repositories.
    """
    validation: list[Source] = []
    pools: dict[str, list[Source]] = {}
    for domain in DOMAIN_SHARES:
        repos: defaultdict[str, list[Source]] = defaultdict(list)
        for source in sources:
            if source.domain == domain:
                repos[source.repo].append(source)
        chosen, names = _validation(repos)
        if not names:
            raise UserError(f"{domain}: too few repositories to set {MIN_VAL_REPOS} aside for validation")
        validation += chosen
        rest = [papers for repo, papers in repos.items() if repo not in names]
        pools[domain] = [source for papers in rest for source in up_to(papers, MAX_REPO_BYTES)]
    unit = min(sum(s.tex_bytes for s in pools[d]) // share for d, share in DOMAIN_SHARES.items())
    training = [s for d, share in DOMAIN_SHARES.items() for s in up_to(pools[d], share * unit)]
    return Choice(by_hash(training), by_hash(validation))


def _validation(repos: dict[str, list[Source]]) -> tuple[list[Source], set[str]]:
    """(papers, names) of the repositories that become a domain's validation; empty if there are too few."""
    chosen: list[Source] = []
    names: set[str] = set()
    for repo in sorted(repos, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if sum(source.tex_bytes for source in repos[repo]) > MAX_VAL_REPO_BYTES:
            continue
        names.add(repo)
        chosen += up_to(repos[repo], VAL_PAPER_BYTES)
        n_bytes = sum(source.tex_bytes for source in chosen)
        if len(names) >= MIN_VAL_REPOS and len(chosen) >= MIN_VAL_PAPERS and n_bytes >= MIN_VAL_BYTES:
            return chosen, names
    return [], set()


def read_sources(path: Path) -> list[Source]:
    """The English papers of provenance.tsv that are in a domain. Raises UserError if it is no such table."""
    domains = Domains.read(CATEGORIES)
    sources = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                domain = domains.of(row["categories"].split()[:1])
                if domain and row["lang"] == "en":
                    sources.append(Source(row["id"], row["repo"], domain, int(row["tex_bytes"])))
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: no table with columns id, repo, categories, lang, tex_bytes: {error}"
        ) from error
    return sources


def write_snapshot(snapshot: Path, ids: set[str], out: Path) -> None:
    """Write the snapshot's lines of the papers `ids` to `out`. Raises UserError if some are missing."""
    lines = []
    missing = set(ids)
    with snapshot.open(encoding="utf-8") as file:
        for line in file:
            if (paper_id := json.loads(line)["id"]) in ids:
                lines.append(line)
                missing.discard(paper_id)
    if missing:
        raise UserError(f"{snapshot}: lacks {len(missing)} chosen papers, for instance {min(missing)}")
    text = "".join(lines)
    if not out.is_file() or out.read_text(encoding="utf-8") != text:  # an equal file keeps its time
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)


def main() -> None:
    """Choose the papers and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, required=True, help="folder of the real papers")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/mini)")
    args = parser.parse_args()
    data: Path = args.data or default_data_root(SCALE)

    choice = choose(read_sources(args.real / "provenance.tsv"))
    chosen = [*choice.training, *choice.validation]
    ids = {source.id for source in chosen}
    write_snapshot(args.real / "arxiv-metadata-oai-snapshot.json", ids, data / "raw" / "metadata.json")
    ledger = data / "ledger" / "main" / "split_corpus"
    ledger.mkdir(parents=True, exist_ok=True)
    write_json(ledger / CHOICE_FILE, {"config": None, "papers": sorted(s.id for s in choice.validation)})
    for kind, papers in (("training", choice.training), ("validation", choice.validation)):
        n_bytes = Counter[str]()
        for source in papers:
            n_bytes[source.domain] += source.tex_bytes
        shares = ", ".join(f"{domain} {n:,}" for domain, n in sorted(n_bytes.items()))
        n_repos = len({source.repo for source in papers})
        print(f"{kind}: {len(papers)} papers of {n_repos} repositories; bytes of TeX: {shares}")


if __name__ == "__main__":
    run_main(main)
