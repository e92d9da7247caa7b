"""Validation sets: the fixed one that all runs share, and a run's own where its corpus is another."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from analysis.publish_logs import compact
from analysis.readers.run_logs import Run, read_run
from configs.loader import CONFIGS
from tests.support.training import SMALL, pretrain_here, write_corpus
from train.config import load_run
from train.data.batches import TrainingData
from train.data.shards import open_tokens
from train.validation import validation_sets


def test_a_run_on_another_corpus_is_also_judged_on_the_fixed_validation_set(tmp_path: Path) -> None:
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
    # Whoever has only the published log learns from it what the run was trained and judged on.
    told = ("scale", "corpus", "tokenizer", "validation_corpus", "tokenizer_sha256", "clip_grad_norm")
    assert {key: again.header.get(key) for key in told} == {key: log.header[key] for key in told}
    assert (again.header["corpus"], again.header["validation_corpus"]) == ("run01", "main")


def test_every_seed_is_judged_on_the_same_validation_set(tmp_path: Path) -> None:
    data = write_corpus(tmp_path)
    batches, judged = [], []
    for seed in (0, 1):
        run = load_run(CONFIGS / "runs/run20.yaml", "demo", seed, dict(SMALL))
        batches.append(TrainingData(open_tokens(data, "main", "main", "train"), run).batch(np.arange(8)))
        judged.append(validation_sets(open_tokens(data, "main", "main", "val"), run))
    assert not torch.equal(
        batches[0].input_ids_BT, batches[1].input_ids_BT
    )  # a seed changes what is trained,
    assert list(judged[0]) == ["cs", "math", "physics"]
    for domain, windows in judged[0].items():  # not what is judged
        assert torch.equal(windows.input_ids_WT, judged[1][domain].input_ids_WT)
        assert torch.equal(windows.targets_WT, judged[1][domain].targets_WT)
