"""Cosines, PCGrad and the noise scale equal float64 references; planted noise scales are recovered."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.loader import CONFIGS, UserError
from tests.support.latex_tokens import write_latex_corpus
from tests.support.training import SMALL
from tests.train.parallel.test_pcgrad import reference
from train.config import load_run
from train.data.batches import Batch, TrainingData, step_samples
from train.data.shards import open_tokens
from train.instruments.gradients import PARTS, GradientMeter, noise_estimates, part_of, small_batch
from train.instruments.groups import choose_samples, make_grouping
from train.model.llama import build_model
from train.optimizer import make_optimizer
from train.parallel.ddp import DataParallel
from train.parallel.strategy import make_strategy
from train.parallel.world import World

STEP = 3
ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latex_corpus(tmp_path_factory.mktemp("data"))


def strategy_on(corpus: Path, **more: object) -> tuple[DataParallel, TrainingData]:
    """A strategy of one process with the weights of the beginning, and its data."""
    run = load_run(CONFIGS / "runs/run20.yaml", "demo", overrides=SMALL | more)
    data = TrainingData(open_tokens(corpus, "main", "main", "train"), run)
    model = build_model(run.model, 0)
    optimizer = make_optimizer(model, run, ALONE.device)
    return make_strategy(model, optimizer, ALONE, run, run.grad_accum_steps(1)), data


def exact_gradient(strategy: DataParallel, batch: Batch) -> dict[str, np.ndarray]:
    """fp64 gradient of the mean loss of some sequences by plain cross-entropy, flat, for each part."""
    model = copy.deepcopy(strategy.model).double()
    logits = model.llama(input_ids=batch.input_ids_BT).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets_BT.flatten()).backward()
    named = [(name, w.grad.flatten().numpy()) for name, w in model.named_parameters() if w.grad is not None]
    chosen = {part: [g for name, g in named if part in ("all", part_of(name))] for part in PARTS}
    return {part: np.concatenate(gradients) for part, gradients in chosen.items()}


@pytest.mark.parametrize("by", ["domain", "year", "math_share"])
def test_cosines_equal_a_float64_reference(corpus: Path, by: str) -> None:
    strategy, data = strategy_on(corpus)
    grouping = make_grouping(data, by)
    rows = list(GradientMeter(strategy, data, [grouping]).cosines(STEP))
    halves = choose_samples(data, grouping, STEP * 8, per_half=2, look_ahead=16 * 8)
    exact = {
        name: [exact_gradient(strategy, data.batch(half)) for half in pair]
        for name, pair in zip(grouping.names, halves, strict=True)
    }
    n = len(exact)
    assert len(rows) == len(PARTS) * n * (n + 1) // 2
    for row in rows:
        one, other = exact[row["group"]], exact[row["other"]]
        within = [(one[0], one[1])]
        chosen = within if row["group"] == row["other"] else [(a, b) for a in one for b in other]
        vectors = [(a[row["part"]], b[row["part"]]) for a, b in chosen]
        dots = [a @ b for a, b in vectors]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in vectors]
        size = np.mean([np.linalg.norm(a) * np.linalg.norm(b) for a, b in vectors])
        assert row["cosine"] == pytest.approx(np.mean(cosines), abs=2e-6)
        assert row["dot"] == pytest.approx(np.mean(dots), abs=2e-6 * size)
        assert row["n_sequences"] == 2


def test_groups_are_those_of_the_documents(corpus: Path) -> None:
    _, data = strategy_on(corpus)
    samples = np.arange(200)
    domain, start, length = data.locate(samples)
    for by in ("year", "math_share", "license"):
        if by == "license":  # the same for all papers
            with pytest.raises(UserError, match="all training documents are in one group"):
                make_grouping(data, by)
            continue
        grouping = make_grouping(data, by)
        groups, _ = grouping.of_windows(data, (domain, start, length))
        assert set(groups) == {0, 1}
        for number, stream in enumerate(data.tokens.domains.values()):
            import pyarrow.parquet as pq

            table = pq.read_table(f"{stream.shards[0]}.idx.parquet").to_pylist()
            middle = start + length // 2
            for i in np.flatnonzero(domain == number):
                (paper,) = (r for r in table if 0 <= middle[i] - r["offset"] < r["n_tokens"])
                if by == "year":
                    assert groups[i] == int("2103." in paper["id"])
                    assert grouping.names == ("year below 2021", "year from 2021")
                else:
                    assert groups[i] == int(paper[by] >= float(grouping.names[1].split()[-1]) - 1e-4)


def test_an_unknown_column_is_refused_by_name(corpus: Path) -> None:
    _, data = strategy_on(corpus)
    with pytest.raises(UserError, match="gradient_groups: colour: is none of domain, year, id, offset"):
        make_grouping(data, "colour")


def test_halves_are_apart_and_of_their_group(corpus: Path) -> None:
    _, data = strategy_on(corpus)
    grouping = make_grouping(data, "domain")
    halves = choose_samples(data, grouping, 24, per_half=4, look_ahead=128)
    chosen = np.concatenate([half for pair in halves for half in pair])
    assert len(set(chosen)) == len(chosen) == 24  # 3 groups of 2 halves of 4
    assert chosen.min() >= 24
    for group, pair in enumerate(halves):
        papers = []
        for half in pair:
            assert set(grouping.of_windows(data, data.locate(half))[0]) == {group}
            domain, start, length = data.locate(half)
            documents = list(data.tokens.domains.values())[domain[0]].documents
            papers.append(set(np.searchsorted(documents.start, start + length // 2, side="right")))
        assert papers[0]
        assert not papers[0] & papers[1]  # the halves are parts of different documents
    rare = choose_samples(data, grouping, 24, per_half=4, look_ahead=9)
    assert all(len(one) == len(other) <= 2 for one, other in rare)


def test_noise_scale_equals_a_float64_reference(corpus: Path) -> None:
    strategy, data = strategy_on(corpus)
    samples = step_samples(STEP + 1, strategy.run)
    size = small_batch(8, strategy.run.recipe.micro_batch_size)
    assert size == 1
    small = [exact_gradient(strategy, data.batch(samples[i : i + size])) for i in range(0, 8, size)]
    big = exact_gradient(strategy, data.batch(samples))
    for row in GradientMeter(strategy, data, []).noise_scale(STEP):
        part = row["part"]
        squares = [gradient[part] @ gradient[part] for gradient in small]
        assert row["small_square"] == pytest.approx(np.mean(squares), rel=1e-5)
        assert row["big_square"] == pytest.approx(big[part] @ big[part], rel=1e-5)
        # The trace is the variance of the small gradients around their mean, per token.
        spread = np.var([gradient[part] for gradient in small], axis=0, ddof=1).sum()
        assert row["noise_trace"] == pytest.approx(spread * size * 32, rel=1e-5)
        signal = big[part] @ big[part] - spread / 8
        assert row["signal_square"] == pytest.approx(signal, rel=1e-4, abs=1e-5 * spread)


def test_estimates_recover_a_planted_noise_scale() -> None:
    random = np.random.default_rng(0)
    signal, deviation, n_tokens, n_small = random.normal(size=200), 3.0, 4, 16
    found = []
    for _ in range(400):
        # A token's gradient is the signal and noise of covariance deviation^2 times the identity.
        small = signal + random.normal(size=(n_small, 200)) * deviation / np.sqrt(n_tokens)
        big = small.mean(axis=0)
        square = np.square(small).sum(axis=1).mean()
        found.append(noise_estimates(square, big @ big, n_tokens, n_tokens * n_small))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    planted = np.array([signal @ signal, 200 * deviation**2])
    assert (np.abs(mean - planted) < 4 * error).all()
    assert (error < 0.01 * planted).all()
    assert mean[1] / mean[0] == pytest.approx(planted[1] / planted[0], rel=0.02)


def test_pcgrad_of_a_model_equals_a_float64_reference(corpus: Path) -> None:
    strategy, _ = strategy_on(corpus, gradient_surgery="pcgrad")
    # After the same texts each domain continues otherwise. A model that gives all three the same probability
    # is pulled apart by them.
    domains = torch.tensor([0, 1, 2, 1, 0, 2, 0, 1])
    inputs_BT = torch.randint(0, 2000, (1, 32), generator=torch.Generator().manual_seed(0)).expand(8, 32)
    batch = Batch(inputs_BT.contiguous(), (100 + domains[:, None]).expand(8, 32).contiguous(), domains)
    adam = torch.optim.Adam(strategy.model.parameters(), lr=1e-3)
    for _ in range(20):
        (strategy.model(batch.input_ids_BT, batch.targets_BT)[0] / batch.targets_BT.numel()).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)

    def rows_of(rows_B: torch.Tensor) -> Batch:
        return Batch(batch.input_ids_BT[rows_B], batch.targets_BT[rows_B], domains[rows_B])

    vectors = [
        exact_gradient(strategy, rows_of(domains == domain))["all"] * float((domains == domain).sum()) / 8
        for domain in range(3)
    ]
    assert all(vectors[a] @ vectors[b] < 0 for a, b in ((0, 1), (0, 2), (1, 2)))
    for first in range(0, 8, 2):
        part = rows_of(torch.arange(first, first + 2))
        strategy.backward(part, batch.targets_BT.numel(), last=first == 6)
    found = torch.cat([w.grad.flatten() for w in strategy.model.parameters() if w.grad is not None]).numpy()
    keys = [(strategy.run.recipe.data_seed, "pcgrad", updates) for updates in range(8)]
    expected, *others = (reference(vectors, key) for key in keys)
    size = np.linalg.norm(expected)
    assert np.linalg.norm(found - expected) < 1e-4 * size
    assert max(np.linalg.norm(found - other) for other in others) > 1e-2 * size  # the random order matters
    assert np.linalg.norm(found - sum(vectors)) > 1e-1 * size
