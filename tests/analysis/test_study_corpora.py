"""Shares of tokens that choices in preprocessing lose: totals equal direct sums."""

import random

import pytest

from benchmarks.study_corpora import CORPORA, report, shares_lost


def corpora(rng: random.Random) -> dict[str, dict[str, tuple[int, int]]]:
    """400 papers; without deduplication a quarter more, without filters a tenth, the authors keep half."""
    main = {f"p{i}": (n := rng.randint(900, 1100), 3 * n) for i in range(400)}
    more = {f"q{i}": (1000, 3000) for i in range(100)}
    of = dict.fromkeys(CORPORA, main)
    of["run03"] = main | more
    of["run04"] = main | dict(list(more.items())[:40])
    of["run05"] = dict(list(main.items())[:200])
    return of


def test_shares_are_those_of_direct_sums() -> None:
    of = corpora(random.Random(0))
    total = {name: sum(n for n, _ in papers.values()) for name, papers in of.items()}
    lost = shares_lost(of)
    assert lost["run03"] == 1 - total["main"] / (total["main"] + 100_000)
    assert lost["run04"] == 1 - total["main"] / (total["main"] + 40_000)
    assert lost["run05"] == 1 - total["run05"] / total["main"]
    assert lost["run22"] == 0


def test_report_counts_each_corpus_and_bounds_the_largest_share() -> None:
    of = corpora(random.Random(0))
    found = report(of)
    assert found["corpora"]["run03"] == {
        "papers": 500,
        "tokens": sum(n for n, _ in of["run03"].values()),
        "bytes": sum(n for _, n in of["run03"].values()),
    }
    largest = found["largest_share_lost"]
    assert largest["value"] == found["shares_lost"]["run05"] == pytest.approx(0.5, abs=0.01)
    assert 0.4 < largest["low"] < largest["value"] < largest["high"] < 0.6
    assert report(of) == found
