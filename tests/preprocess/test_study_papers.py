"""The papers of the study: whole repositories for validation, caps and shares, whatever the order."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from configs.loader import UserError
from preprocess.study_papers import (
    DOMAIN_SHARES,
    MAX_REPO_BYTES,
    MIN_VAL_BYTES,
    MIN_VAL_PAPERS,
    MIN_VAL_REPOS,
    Source,
    choose,
    read_sources,
)
from tests.conftest import run_script


def sources_of(rng: random.Random) -> list[Source]:
    """Papers of 30 repositories in each domain, some of them larger than the limits."""
    return [
        Source(f"{domain}/{repo:03d}{paper:04d}", f"{domain}-{repo}", domain, rng.randint(1_000, 90_000))
        for domain in DOMAIN_SHARES
        for repo in range(30)
        for paper in range(rng.choice((1, 3, 10, 60)))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_repositories_caps_and_shares_hold(seed: int) -> None:
    choice = choose(sources_of(random.Random(seed)))
    assert not {s.repo for s in choice.training} & {s.repo for s in choice.validation}
    of_repo, of_domain = Counter[str](), Counter[str]()
    for source in choice.training:
        of_repo[source.repo] += source.tex_bytes
        of_domain[source.domain] += source.tex_bytes
    assert max(of_repo.values()) <= MAX_REPO_BYTES
    unit = of_domain["cs"] / DOMAIN_SHARES["cs"]
    for domain, share in DOMAIN_SHARES.items():
        assert of_domain[domain] == pytest.approx(share * unit, rel=0.02)
        held_out = [s for s in choice.validation if s.domain == domain]
        assert len({s.repo for s in held_out}) >= MIN_VAL_REPOS
        assert len(held_out) >= MIN_VAL_PAPERS
        assert sum(s.tex_bytes for s in held_out) >= MIN_VAL_BYTES


def test_the_order_of_the_table_does_not_matter() -> None:
    sources = sources_of(random.Random(7))
    assert choose(random.Random(0).sample(sources, len(sources))) == choose(sources)


def test_too_few_repositories_are_refused() -> None:
    few = [s for s in sources_of(random.Random(0)) if s.domain != "cs" or s.repo == "cs-1"]
    with pytest.raises(UserError, match="cs: too few repositories"):
        choose(few)


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "provenance.tsv").write_text("id\tname\n1\t2\n")
    with pytest.raises(UserError, match=r"provenance\.tsv: no table with columns id, repo"):
        read_sources(tmp_path / "provenance.tsv")


@pytest.mark.real
@pytest.mark.slow
def test_the_split_keeps_the_chosen_papers_and_whole_repositories(arxiv_real: Path, tmp_path: Path) -> None:
    run_script("preprocess/study_papers.py", "--real", arxiv_real, "--data", tmp_path)
    chosen = {json.loads(line)["id"] for line in (tmp_path / "raw/metadata.json").open()}
    run_script(
        *("preprocess/all_stages.py", "--src", arxiv_real / "src", "--data", tmp_path),
        *("--scale", "mini", "--workers", 2, "--until", "split_corpus"),
    )
    repo_of = {source.id: source.repo for source in read_sources(arxiv_real / "provenance.tsv")}
    split_of: dict[str, set[str]] = {}
    kept = set()
    for shard in (tmp_path / "corpus/main/split_corpus").glob("*.parquet"):
        for row in pq.read_table(shard, columns=["id", "split"]).to_pylist():
            kept.add(row["id"])
            split_of.setdefault(repo_of[row["id"]], set()).add(row["split"])
    assert kept <= chosen
    assert all(len(splits) == 1 for splits in split_of.values())
    assert sum("val" in splits for splits in split_of.values()) >= 3 * len(DOMAIN_SHARES)
