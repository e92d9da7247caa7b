"""Validation sets: the fixed one that all runs share, and a run's own where its corpus is another."""

import json
import shutil
from pathlib import Path

from tests.support.training import pretrain_here, write_corpus


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
