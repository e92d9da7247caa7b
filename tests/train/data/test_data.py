"""Batches: every token once in an epoch, and the same data for any number of ranks and after any restart."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loader import CONFIGS
from tests.support.training import EOD, write_corpus
from train.config import Run, load_run
from train.data.batches import (
    TrainingData,
    math_shares,
    rank_batches,
    step_samples,
    validation_set,
)
from train.data.order import POOL_BLOCKS, Mixture, WindowOrder, interleave, permutation
from train.data.shards import DomainTokens, TokenSet, open_tokens
from train.model.loss import IGNORE

T = 32


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tokens(corpus: Path) -> TokenSet:
    return open_tokens(corpus, "main", "main", "train")


def pairs(arrays: tuple[np.ndarray, ...]) -> list[tuple[int, int]]:
    return list(zip(arrays[0].tolist(), arrays[1].tolist(), strict=True))


def small_run(name: str = "run20", **values: Any) -> Run:
    small = {"sequence_length": T, "global_batch_size": 8, "micro_batch_size": 2, "tokens_total": 10_000}
    return load_run(CONFIGS / "runs" / f"{name}.yaml", "demo", overrides=small | values)


# ---------------------------------------------------------------- order


@given(n=st.integers(0, 2000), key=st.text())
def test_a_permutation_holds_every_number_once(n: int, key: str) -> None:
    assert sorted(permutation(n, key)) == list(range(n))


def test_permutations_are_the_same_in_every_version_of_this_code() -> None:
    # With a changed order, unfinished runs would silently resume on other data.
    assert permutation(8, ("a", 1)).tolist() == [0, 5, 1, 3, 4, 7, 2, 6]


@settings(deadline=None)
@given(n=st.integers(1, 700), block=st.integers(1, 20), share=st.floats(0.01, 1.0), epochs=st.integers(1, 3))
def test_each_epoch_holds_the_same_windows_exactly_once(
    n: int, block: int, share: float, epochs: int
) -> None:
    order = WindowOrder(n, block, share, key=(0, "math"))
    windows = order.windows(np.arange(epochs * order.n_windows)).reshape(epochs, -1)
    seen = sorted(windows[0])
    assert len(set(seen)) == order.n_windows
    assert seen[0] >= 0
    assert seen[-1] < n
    assert all(sorted(epoch) == seen for epoch in windows)
    assert abs(order.n_windows - n * share) <= max(1, n % block)


@settings(deadline=None)
@given(
    weights=st.lists(st.integers(0, 50), min_size=1, max_size=4).filter(sum),
    periods=st.integers(1, 3),
    start=st.integers(0, 10**9),
)
def test_domains_are_interleaved_in_exact_proportion(weights: list[int], periods: int, start: int) -> None:
    total = sum(weights)
    domain, index = interleave(np.arange(periods * total), weights)
    for number, weight in enumerate(weights):
        assert index[domain == number].tolist() == list(range(periods * weight))
    # A sample located alone is the same as one located among its neighbours.
    some = np.arange(start, start + 20)
    together = interleave(some, weights)
    alone = [pairs(interleave(some[i : i + 1], weights))[0] for i in range(20)]
    assert alone == pairs(together)


def test_domains_are_spread_evenly_and_not_in_runs() -> None:
    domain, _ = interleave(np.arange(100), [50, 30, 20])
    for first in range(90):
        assert Counter(domain[first : first + 10].tolist())[0] in (4, 5, 6)


@settings(deadline=None)
@given(
    early=st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(sum),
    late=st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(sum),
    anneal_from=st.integers(0, 300),
)
def test_annealing_changes_the_shares_and_each_domain_continues_where_it_was(
    early: list[int], late: list[int], anneal_from: int
) -> None:
    mixture = Mixture(early, late, anneal_from)
    domain, index = mixture.locate(np.arange(400))
    for number in range(3):
        taken = index[domain == number].tolist()
        assert taken == list(range(len(taken)))  # none is skipped or repeated
        assert len(taken) == mixture.counts(400)[number]
        share = np.count_nonzero(domain[anneal_from:] == number)
        assert abs(share - (400 - anneal_from) * late[number] / sum(late)) < 3
    # The result does not depend on where reading starts.
    assert pairs(mixture.locate(np.arange(250, 400))) == list(zip(domain[250:], index[250:], strict=True))


def test_a_curriculum_goes_from_prose_to_formulas_and_loses_no_window(tokens: TokenSet) -> None:
    permuted, rising = (
        TrainingData(tokens, small_run(curriculum=on, block_windows=1)) for on in (False, True)
    )
    for number, stream in enumerate(tokens.domains.values()):
        share = math_shares(stream, rising.sequence_length)
        n = rising._orders[number].n_windows
        plain, sorted_ = (data._orders[number].windows(np.arange(n)) for data in (permuted, rising))
        assert sorted(plain) == sorted(sorted_)
        # Windows are still shuffled within a pool of blocks.
        pools = [share[sorted_[i : i + POOL_BLOCKS]] for i in range(0, n, POOL_BLOCKS)]
        assert len(pools) > 1
        assert all(before.max() <= after.min() for before, after in pairwise(pools))


def test_the_share_of_mathematics_of_a_block_is_that_of_its_documents(tokens: TokenSet) -> None:
    stream = next(iter(tokens.domains.values()))
    documents = stream.documents
    of_token = np.repeat(documents.math_share, documents.n_tokens)
    for block in (7, 64, 10**6):
        expected = [of_token[i : i + block].mean() for i in range(0, len(of_token), block)]
        assert math_shares(stream, block) == pytest.approx(expected, abs=1e-6)


def test_runs_with_another_mixture_get_its_shares(tokens: TokenSet) -> None:
    uniform = TrainingData(tokens, small_run("run17")).mixture.counts(3000)
    assert uniform == [1000] * 3
    # Without annealing the shares do not change from the first sample to the last.
    plain = TrainingData(tokens, small_run("run20")).mixture
    assert pairs(plain.locate(np.arange(3000))) == pairs(interleave(np.arange(3000), plain.weights))
    run = small_run("run19")
    n_samples = run.steps_total * run.recipe.global_batch_size
    anneal_from = n_samples - run.anneal_steps * run.recipe.global_batch_size
    data = TrainingData(tokens, run)
    domain, *_ = data.locate(np.arange(n_samples))
    assert set(domain[anneal_from:].tolist()) == {data.domains.index("math")}
    assert set(domain[:anneal_from].tolist()) == {0, 1, 2}


# ---------------------------------------------------------------- samples


def test_an_epoch_trains_once_on_every_token_except_the_first_and_an_incomplete_window(
    tokens: TokenSet,
) -> None:
    data = TrainingData(tokens, small_run(unique_tokens=10**9))
    spans = data.spans(np.arange(sum(data.unique_tokens.values()) // T))
    for stream in tokens.domains.values():
        documents = stream.documents
        seen = np.zeros(stream.n_tokens, dtype=int)
        start_of = dict(zip(documents.id_hash.tolist(), documents.start.tolist(), strict=True))
        for paper, first, end in spans.tolist():
            if paper in start_of:
                seen[start_of[paper] + first : start_of[paper] + end] += 1
        n_targets = (stream.n_tokens - 1) // T * T
        assert seen[0] == 0
        assert (seen[1 : 1 + n_targets] == 1).all()
        assert (seen[1 + n_targets :] == 0).all()


def test_targets_are_the_inputs_shifted_by_one(tokens: TokenSet) -> None:
    data = TrainingData(tokens, small_run())
    samples = np.arange(40)
    batch = data.batch(samples)
    assert torch.equal(batch.input_ids_BT[:, 1:], batch.targets_BT[:, :-1])
    streams = list(tokens.domains.values())
    for row, (domain, start, _) in enumerate(zip(*data.locate(samples), strict=True)):
        raw = np.concatenate([np.fromfile(f"{shard}.bin", "<u4") for shard in streams[domain].shards])
        assert batch.input_ids_BT[row].tolist() == raw[start : start + T].tolist()


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", [1, 2])
def test_a_step_has_the_same_samples_for_any_number_of_ranks_and_micro_batches(
    tokens: TokenSet, world_size: int, micro_batch_size: int
) -> None:
    run = small_run(micro_batch_size=micro_batch_size)
    data = TrainingData(tokens, run)
    accumulated = run.grad_accum_steps(world_size)
    step = []
    for rank in range(world_size):
        batches = rank_batches(data, run, rank, world_size, after_step=2)
        step += [next(batches).input_ids_BT for _ in range(accumulated)]
    assert torch.equal(torch.cat(step), data.batch(step_samples(3, run)).input_ids_BT)


def test_seeds_give_different_orders_of_the_same_windows(tokens: TokenSet) -> None:
    def order(seed: int) -> list[tuple[int, int]]:
        data = TrainingData(tokens, small_run(data_seed=seed, unique_tokens=10**9))
        return pairs(data.locate(np.arange(sum(data.unique_tokens.values()) // T)))

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert sorted(order(0)) == sorted(order(1))


def test_limited_unique_tokens_come_from_all_over_the_corpus_and_repeat(tokens: TokenSet) -> None:
    data = TrainingData(tokens, small_run(unique_tokens=5000))
    assert sum(data.unique_tokens.values()) == pytest.approx(5000, rel=0.1)
    n_samples = sum(data.unique_tokens.values()) // T
    domain, start, _ = data.locate(np.arange(n_samples))
    again = data.locate(np.arange(n_samples, 2 * n_samples))
    assert set(pairs((domain, start))) == set(pairs(again))
    for number, stream in enumerate(tokens.domains.values()):
        assert start[domain == number].max() > stream.n_tokens / 2


def test_passes_over_the_data_follow_the_mixture(tokens: TokenSet) -> None:
    run = small_run(mixture={"math": 0.5, "cs": 0.25, "physics": 0.25})
    data = TrainingData(tokens, run)
    domain, *_ = data.locate(np.arange(4000))
    counts = Counter(np.array(data.domains)[domain].tolist())
    assert counts == {"math": 2000, "cs": 1000, "physics": 1000}


def test_sample_ten_million_is_located_without_those_before_it(
    tokens: TokenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locating a sample needs the permutations of its own epoch and pool only, whatever its number."""
    drawn: list[int] = []

    def counted(n: int, key: object) -> np.ndarray:
        drawn.append(n)
        return permutation(n, key)

    monkeypatch.setattr("train.data.order.permutation", counted)
    for first in (0, 10**7, 10**12):
        data = TrainingData(tokens, small_run())
        drawn.clear()
        data.batch(np.arange(first, first + 8))
        assert len(drawn) <= 2 * 2 * 3  # blocks and pool, of at most two epochs, of each domain


def test_span_hashes_are_the_same_in_every_version_of_this_code(tokens: TokenSet) -> None:
    # `replay` compares hashes with those that earlier versions logged.
    data = TrainingData(tokens, small_run())
    one_by_one = np.concatenate([data.spans(np.array([k])) for k in range(40)])
    assert (data.spans(np.arange(40)) == one_by_one).all()
    assert data.span_hash(np.arange(40)) == "aabcad59698c7cb7f15288ee1ca1aa26"


# ---------------------------------------------------------------- validation


def test_validation_uses_whole_documents_and_counts_their_bytes(corpus: Path) -> None:
    stream = DomainTokens(corpus / "tokens" / "main-main" / "val" / "math")
    windows = validation_set(stream, EOD, n_tokens=300, sequence_length=T)
    targets = windows.targets_RT[windows.targets_RT != IGNORE]  # rows come in the order of the text
    assert len(targets) == windows.n_tokens >= 300
    assert targets[-1] == EOD
    assert windows.input_ids_RT[0, 0] == EOD
    # `write_shard` counts four bytes for a token and none for an end-of-document token.
    assert windows.n_bytes == 4 * int((targets != EOD).sum())
    inside = windows.targets_RT[:, :-1] != IGNORE
    assert torch.equal(windows.targets_RT[:, :-1][inside], windows.input_ids_RT[:, 1:][inside])
    for document, (n_tokens, n_bytes) in enumerate(zip(windows.n_tokens_of, windows.n_bytes_of, strict=True)):
        of_document = windows.targets_RT[windows.document_R == document]
        spelt = of_document[of_document != IGNORE]
        assert len(spelt) == n_tokens
        assert n_bytes == 4 * (n_tokens - 1)
        assert (spelt == EOD).nonzero().flatten().tolist() == [n_tokens - 1]


def test_validation_uses_at_least_one_document_and_at_most_all(corpus: Path) -> None:
    stream = DomainTokens(corpus / "tokens" / "main-main" / "val" / "math")
    one, every = (validation_set(stream, EOD, n, T) for n in (1, 10**9))
    assert one.n_tokens in stream.documents.n_tokens
    assert every.n_tokens == stream.n_tokens
