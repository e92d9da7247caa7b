"""The made-up corpus of make bench-size: its sketches repeat as real ones do, and the stages accept it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.size import measure
from benchmarks.size_corpus import (
    BLOCK,
    NGRAMS_LEAST,
    NGRAMS_MEDIAN,
    NGRAMS_SIGMA,
    SHARES_IN_TWO,
    draw_sketches,
)
from preprocess.dedup.minhash import SAMPLE, SMALLEST


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("n_papers", SHARES_IN_TWO)
def test_as_many_ngrams_are_shared_as_in_real_papers(rng: np.random.Generator, n_papers: int) -> None:
    shares = []
    for _ in range(30):
        sizes = rng.lognormal(np.log(NGRAMS_MEDIAN), NGRAMS_SIGMA, n_papers).astype(np.int64) + NGRAMS_LEAST
        _, counts = np.unique(draw_sketches(rng, sizes)[0], return_counts=True)
        shares.append(counts[counts > 1].sum() / counts.sum())
    assert np.mean(shares) == pytest.approx(SHARES_IN_TWO[n_papers], rel=0.4)


@pytest.mark.parametrize("n_ngrams", [150, 2_000, 50_000])
def test_a_drawn_sketch_is_as_long_and_reaches_as_far_as_a_real_one(
    rng: np.random.Generator, n_ngrams: int
) -> None:
    hashes, lengths = draw_sketches(rng, np.full(200, n_ngrams))
    assert lengths.mean() == pytest.approx(max(SMALLEST, n_ngrams / SAMPLE), rel=0.05)
    for sketch in np.split(hashes, np.cumsum(lengths)[:-1]):
        assert (sketch[1:] > sketch[:-1]).all()
    exact = max(1 / SAMPLE, SMALLEST / n_ngrams)
    assert exact <= hashes.max() / 2**64 * 1.01 <= exact + 1.02 / SAMPLE  # to the end of a slice


@pytest.mark.slow
def test_the_stages_find_the_relatives_among_its_papers(tmp_path: Path) -> None:
    found = measure(BLOCK, tmp_path, with_array=False)
    of = found["outcomes"]
    assert sum(n for name, n in of.items() if name.startswith("deduplicate")) == BLOCK
    # 240 papers are in groups of about 5: some 20 equal, 80 edited, 40 chapters.
    assert 5 < of["deduplicate: exact_duplicate"] < 40
    assert 40 < of["deduplicate: near_duplicate"] < 120
    assert 20 < of["deduplicate: contained"] < 90
    assert found["pairs_compared"] < BLOCK
    assert not list(tmp_path.iterdir())
