"""Validation sets: the common one of all runs, and a run's own if it trains on another corpus."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.publish_logs import compact
from analysis.readers.run_logs import Run, read_run
from configs.loader import CONFIGS
from tests.support.training import SMALL, pretrain_here, write_corpus
from train.checkpoint.load import find_checkpoint, load_model
from train.config import load_run
from train.data.batches import TrainingData
from train.data.shards import open_tokens
from train.model.loss import IGNORE
from train.validation import validation_sets


def test_a_run_on_another_corpus_is_also_validated_on_the_common_set(tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "data")
    write_corpus(tmp_path / "other", seed=1)
    shutil.copytree(tmp_path / "other/tokens/main-main", data / "tokens/run01-main")
    own, fixed = {}, {}
    for corpus in ("main", "run01"):
        out = tmp_path / corpus
        assert pretrain_here(data, out, corpus=corpus, strategy="ddp") == 0
        rows = [json.loads(line) for line in (out / "log.0.jsonl").read_text().splitlines()]
        fixed[corpus] = {(r["domain"], r["n_tokens"]) for r in rows if r["kind"] == "val"}
        own[corpus] = {(r["domain"], r["n_tokens"]) for r in rows if r["kind"] == "val_own"}
    assert len(fixed["main"]) == 3
    assert fixed["main"] == fixed["run01"]
    assert own["main"] == set()
    assert len(own["run01"]) == 3
    assert own["run01"] != fixed["run01"]

    log = read_run(Run("demo", "run01", 0), [tmp_path / "run01/log.0.jsonl"])
    assert len(log.val) == len(log.val_own) == 3 * len(set(log.val["step"]))
    published = tmp_path / "published/demo/run01/seed0.jsonl.gz"
    published.parent.mkdir(parents=True)
    published.write_bytes(compact(log))
    again = read_run(log.run, [published])
    assert again.val_own.equals(log.val_own)
    # The published log alone states on which corpus the run was trained and validated.
    told = ("scale", "corpus", "tokenizer", "validation_corpus", "tokenizer_sha256", "clip_grad_norm")
    assert {key: again.header.get(key) for key in told} == {key: log.header[key] for key in told}
    assert (again.header["corpus"], again.header["validation_corpus"]) == ("run01", "main")


def test_every_seed_is_validated_on_the_same_set(tmp_path: Path) -> None:
    data = write_corpus(tmp_path)
    batches, judged = [], []
    for seed in (0, 1):
        run = load_run(CONFIGS / "runs/run20.yaml", "demo", seed, dict(SMALL))
        batches.append(TrainingData(open_tokens(data, "main", "main", "train"), run).batch(np.arange(8)))
        judged.append(validation_sets(open_tokens(data, "main", "main", "val"), run))
    assert not torch.equal(
        batches[0].input_ids_BT, batches[1].input_ids_BT
    )  # a seed changes the training data,
    assert list(judged[0]) == ["cs", "math", "physics"]
    for domain, windows in judged[0].items():  # but not the validation data
        assert torch.equal(windows.input_ids_RT, judged[1][domain].input_ids_RT)
        assert torch.equal(windows.targets_RT, judged[1][domain].targets_RT)


def test_documents_are_judged_alone_and_sum_to_their_domain(tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "data")
    assert pretrain_here(data, tmp_path / "run", strategy="ddp") == 0
    log = read_run(Run("demo", "run20", 0), [tmp_path / "run/log.0.jsonl"])
    documents, last = log.val_document, log.val[log.val["step"] == log.val["step"].max()]
    assert documents["document"].is_unique
    summed = documents.assign(nats=documents["loss_nats"] * documents["n_tokens"]).groupby("domain")[
        ["nats", "n_tokens", "n_bytes"]
    ]
    for row in last.to_dict("records"):
        of_domain = summed.sum().loc[row["domain"]]
        assert of_domain["n_tokens"] == row["n_tokens"]
        assert of_domain["n_bytes"] == row["n_bytes"]
        assert of_domain["nats"] / row["n_tokens"] == pytest.approx(row["loss_nats"], rel=1e-12)

    # Each document's loss as plain cross-entropy gives it, on windows that hold other documents as well.
    model, run = load_model(find_checkpoint(tmp_path / "run"))
    for name, windows in validation_sets(open_tokens(data, "main", "main", "val"), run).items():
        with torch.no_grad():
            logits = model.llama(input_ids=windows.input_ids_RT).logits
        nats_RT = torch.nn.functional.cross_entropy(
            logits.double().flatten(0, 1), windows.targets_RT.flatten(), ignore_index=IGNORE, reduction="none"
        ).view_as(windows.targets_RT)
        for index, document in enumerate(windows.id_hashes):
            expected = float(nats_RT[windows.document_R == index].sum()) / windows.n_tokens_of[index]
            logged = documents.loc[
                (documents["domain"] == name) & (documents["document"] == document), "loss_nats"
            ].item()
            assert logged == pytest.approx(expected, rel=1e-5)
