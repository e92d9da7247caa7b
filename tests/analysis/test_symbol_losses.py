"""What models lose when formulas are written another way: bits, measurements that go on, intervals."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from analysis import symbol_losses
from analysis.readers.run_logs import read_runs
from analysis.study_results import read_plan, results
from analysis.tokenization.rewritings import CHANGES
from analysis.verdicts import NO_DATA, SUPPORTED
from benchmarks import measure
from benchmarks import symbol_losses as benchmark
from configs.loader import UserError
from tests.support.analysis_logs import judged, write
from tests.support.latex_tokens import latex_text, write_latex_corpus
from tests.support.training import pretrain_here
from train.model.llama import ModelConfig, build_model

EOD = 2
SHAPE = ModelConfig(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    tie_word_embeddings=True,
)


@pytest.mark.parametrize("n_tokens", [1, 7, 8, 9, 150])
def test_bits_are_the_sum_over_tokens_in_fp64(n_tokens: int) -> None:
    """Each token from the window before it, by a softmax over fp64 logits; 150 tokens take three batches."""
    model, window = build_model(SHAPE, 0).eval(), 8
    ids = np.random.default_rng(n_tokens).integers(3, 40, n_tokens).tolist()
    found = benchmark.bits(model, ids, EOD, window)
    exact, direct = model.llama.double(), 0.0
    for at, token in enumerate(ids):
        before = [EOD, *ids][at - at % window : at + 1]
        logits = exact(torch.tensor([before])).logits[0, -1]
        direct -= float(torch.log_softmax(logits, -1)[token].detach()) / math.log(2)
    assert found == pytest.approx(direct, rel=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`: a corpus with a tokenizer; `runs`: Run 20, trained for two steps."""
    root = tmp_path_factory.mktemp("trained")
    data = write_latex_corpus(root / "data")
    folder = root / "runs/demo/run20/seed0"
    folder.mkdir(parents=True)
    pretrain_here(data, folder, tokens_total=2 * 8 * 32)
    write_papers(data, 4)
    return root


def write_papers(data: Path, n: int) -> None:
    """Write a split corpus with n validation papers of two domains, and one of training."""
    random = np.random.default_rng(0)
    formula = " Let $\\alpha = \\beta (x + y)$.\n\n"
    rows = [
        {
            "id": f"p{k}",
            "domain": ("cs", "math")[k % 2],
            "text": latex_text(random, 8) + formula,
            "split": "val" if k < n else "train",
        }
        for k in range(n + 1)
    ]
    folder = data / "corpus/main/split_corpus"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "tar_0.parquet")


def run_benchmark(trained: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Call the script; what its file then holds."""
    for module in (measure, benchmark):
        monkeypatch.setattr(module, "MEASUREMENTS", out)
    monkeypatch.setenv("ARXIV_RUNS", str(trained / "runs"))
    monkeypatch.setattr(sys, "argv", ["symbol_losses", "--scale", "demo", "--data", str(trained / "data")])
    benchmark.main()
    content: dict[str, Any] = json.loads((out / "symbol_losses_demo.json").read_text())
    return content


def test_a_run_is_measured_once_and_again_for_other_texts(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_benchmark(trained, tmp_path, monkeypatch)
    assert "run20 seed 0: measured" in capsys.readouterr().out
    by_change = first["runs"]["run20"]["0"]["excess_bits_per_byte"]
    assert set(by_change) == set(CHANGES)
    assert set(first["papers"]) == set(by_change["respaced"]) == {"p0", "p1", "p2", "p3"}
    assert all(value != 0 for change in by_change.values() for value in change.values())
    assert run_benchmark(trained, tmp_path, monkeypatch) == first
    assert "run20 seed 0: unchanged" in capsys.readouterr().out
    write_papers(trained / "data", 3)
    again = run_benchmark(trained, tmp_path, monkeypatch)
    assert "run20 seed 0: measured" in capsys.readouterr().out
    assert set(again["runs"]["run20"]["0"]["excess_bits_per_byte"]["renamed"]) == {"p0", "p1", "p2"}
    assert again["texts_sha256"] != first["texts_sha256"]


def test_without_a_finished_run_there_is_a_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").symlink_to(trained / "data")
    with pytest.raises(UserError, match=r"none of run20.* is finished"):
        run_benchmark(tmp_path, tmp_path, monkeypatch)


def content(**excess_of: float) -> dict[str, Any]:
    """Measurements of three seeds and two domains; runs lose so many bits per byte by each change."""
    papers = {f"p{k}": {"domain": ("cs", "math")[k % 2], "bytes": 1000 + 100 * k} for k in range(20)}
    random = np.random.default_rng(0)
    of_paper = {paper: random.normal(0, 0.01) for paper in papers}
    runs = {
        run: {
            str(seed): {
                "excess_bits_per_byte": {
                    change: {p: excess + of_paper[p] + random.normal(0, 0.002) for p in papers}
                    for change in CHANGES
                }
            }
            for seed in range(3)
        }
        for run, excess in excess_of.items()
    }
    return {"papers": papers, "runs": runs}


def test_excess_is_the_mean_of_the_domains_weighted_by_bytes() -> None:
    measured = content(run20=0.1)
    found = symbol_losses.excess(measured, "respaced", "run20")
    assert found is not None
    papers = measured["papers"]
    of_seed = measured["runs"]["run20"]["1"]["excess_bits_per_byte"]["respaced"]
    means = [
        np.average([of_seed[p] for p in names], weights=[papers[p]["bytes"] for p in names])
        for names in ([p for p in papers if papers[p]["domain"] == domain] for domain in ("cs", "math"))
    ]
    assert found.by_seed[1] == pytest.approx(np.mean(means))
    assert found.low < 0.1 < found.high


def test_papers_alike_in_both_runs_cancel_and_a_planted_difference_is_found() -> None:
    measured = content(run20=0.1, run08=0.13)
    alone = symbol_losses.excess(measured, "respaced", "run08")
    more = symbol_losses.excess(measured, "respaced", "run08", "run20")
    assert alone is not None
    assert more is not None
    assert more.low < 0.03 < more.high
    assert more.document_variance < alone.document_variance / 5
    assert symbol_losses.excess(measured, "respaced", "run09", "run20") is None
    rows = symbol_losses.as_table(measured, "mini").rows
    assert [row[:2] for row in rows] == [
        (change, run) for change in sorted(CHANGES) for run in ("run20", "run08")
    ]
    assert {row[:2]: row[4] for row in rows}[
        "respaced", "run08"
    ] == f"{more.mean:+.4f} [{more.low:+.4f}, {more.high:+.4f}]"


def test_claims_are_judged_by_the_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mini/run20/seed0/log.0.jsonl", judged("run20", 0))
    (tmp_path / "symbol_losses_mini.json").write_text(json.dumps(content(run20=0.1, run08=0.13)))
    monkeypatch.setattr(symbol_losses, "FOLDER", tmp_path)
    found = results(read_plan(), read_runs([tmp_path], "mini", None))
    findings = [one for _, of_claim, _ in found.findings for one in of_claim]
    respaced = next(one for one in findings if one.what.startswith("excess_respaced of run08"))
    assert respaced.low < 0.03 < respaced.high
    assert (respaced.n, respaced.verdict) == (3, SUPPORTED)


def test_a_claim_about_what_is_not_measured_has_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mini/run20/seed0/log.0.jsonl", judged("run20", 0))
    monkeypatch.setattr(symbol_losses, "FOLDER", tmp_path)
    found = results(read_plan(), read_runs([tmp_path], "mini", None))
    findings = [one for _, of_claim, _ in found.findings for one in of_claim]
    respaced = next(one for one in findings if one.what.startswith("excess_respaced"))
    assert (respaced.n, respaced.verdict) == (0, NO_DATA)
    assert "make symbol-losses" in respaced.note
