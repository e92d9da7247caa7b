"""`packing: truncate` (Run 10): a sample is the beginning of one document, padded to T + 1 tokens."""

import numpy as np
import pytest
import torch

from configs.loader import CONFIGS, UserError
from tests.support.training import write_corpus
from train.config import Run, load_run
from train.data.batches import TrainingData, step_samples
from train.data.shards import TokenSet, open_tokens
from train.model.llama import build_model
from train.model.loss import IGNORE

T = 32


def small_run(name: str = "run10", **values: object) -> Run:
    small = {"sequence_length": T, "global_batch_size": 8, "micro_batch_size": 2, "tokens_total": 10_000}
    return load_run(CONFIGS / "runs" / f"{name}.yaml", "demo", overrides=small | values)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return open_tokens(write_corpus(tmp_path_factory.mktemp("data")), "main", "main", "train")


def test_every_document_comes_once_in_an_epoch_from_its_first_token(tokens: TokenSet) -> None:
    data = TrainingData(tokens, small_run(mixture={"math": 1}, unique_tokens=10**9))
    stream = tokens.domains["math"]
    n_documents = len(stream.documents.start)
    batch = data.batch(np.arange(n_documents))
    beginnings = sorted(
        stream.read(int(start), int(min(n, T + 1))).tolist()
        for start, n in zip(stream.documents.start, stream.documents.n_tokens, strict=True)
    )
    kept = batch.targets_BT != IGNORE
    rows = [
        [int(inputs[0]), *targets[mask].tolist()]
        for inputs, targets, mask in zip(batch.input_ids_BT, batch.targets_BT, kept, strict=True)
    ]
    assert sorted(rows) == beginnings
    assert data.unique_tokens["math"] == int(kept.sum())


def test_targets_can_be_counted_before_the_batch_is_read(tokens: TokenSet) -> None:
    run = small_run()
    data = TrainingData(tokens, run)
    for step in (1, 7, 30):
        samples = step_samples(step, run)
        counted = data.count_targets(samples)
        assert counted == int(data.batch(samples).target_counts_B().sum())
        first, end = data.spans(samples)[:, 1:].T
        assert int((end - first).sum()) == counted
    assert data.count_targets(np.arange(200)) < 200 * T  # some documents are shorter than a window


def test_padding_changes_no_loss(tokens: TokenSet) -> None:
    run = small_run()
    data = TrainingData(tokens, run)
    model = build_model(run.model, 0)
    batch = data.batch(np.arange(200))
    row = int(batch.target_counts_B().argmin())
    n = int(batch.target_counts_B()[row])
    assert n < T
    inputs, targets = batch.input_ids_BT[row : row + 1], batch.targets_BT[row : row + 1]
    with torch.no_grad():
        padded, alone = model(inputs, targets)[0], model(inputs[:, :n], targets[:, :n])[0]
    assert float(padded) == pytest.approx(float(alone), rel=1e-6)


def test_curriculum_is_refused(tokens: TokenSet) -> None:
    with pytest.raises(UserError, match="leave curriculum out"):
        TrainingData(tokens, small_run(curriculum=True))


def test_without_truncation_every_position_is_a_target(tokens: TokenSet) -> None:
    run = small_run("run20")
    assert TrainingData(tokens, run).count_targets(step_samples(3, run)) == run.tokens_per_step
