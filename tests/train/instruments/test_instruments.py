"""A run is the same with and without instruments; two processes measure what one does; some are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.publish_logs import compact
from analysis.readers.run_logs import Run, read_run
from tests.support.latex_tokens import write_latex_corpus
from tests.support.training import pretrain, pretrain_here, read_rows
from train.checkpoint.load import load_model
from train.parallel.zero import why_no_deepspeed

ALL = ["cosines", "noise_scale", "losses", "norms"]
STEP_TOKENS = 8 * 32
SHORT = {"tokens_total": 4 * STEP_TOKENS, "validate_every_tokens": 2 * STEP_TOKENS, "strategy": "ddp"}
# Micro-batches of one sequence, so that both processes have a share of every half of a group.
SHORT |= {"checkpoint_every_tokens": STEP_TOKENS, "keep_last": 10, "micro_batch_size": 1}
TIMES = ("time_utc", "wall_s", "event")
PLACE = ("step", "measure", "by", "part", "group", "other", "domain", "layer")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latex_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def measured(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "measured"
    assert pretrain_here(corpus, out, instruments=ALL, **SHORT) == 0
    return out


def rows_of(out: Path, *kinds: str) -> list[dict[str, Any]]:
    """Rows of some kinds without their times."""
    return [
        {key: value for key, value in row.items() if key not in TIMES}
        for kind in kinds
        for row in read_rows(out, kind)
    ]


def by_place(out: Path) -> dict[tuple[Any, ...], dict[str, float]]:
    """The numbers of the instruments' rows by what they measure."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows_of(out, "instrument"):
        numbers = {k: v for k, v in row.items() if k not in (*PLACE, "kind", "tokens_seen")}
        found.setdefault(tuple(row.get(key) for key in PLACE), {}).update(numbers)
    return found


def test_a_run_gives_the_same_bits_with_and_without(corpus: Path, measured: Path, tmp_path: Path) -> None:
    assert pretrain_here(corpus, tmp_path / "plain", **SHORT) == 0
    kinds = ("train", "val", "val_document")
    assert rows_of(measured, *kinds) == rows_of(tmp_path / "plain", *kinds)
    assert not rows_of(tmp_path / "plain", "instrument")
    one, other = (
        (out / "checkpoints/step_0000004/weights.safetensors").read_bytes()
        for out in (measured, tmp_path / "plain")
    )
    assert one == other


def test_every_instrument_measures_at_each_validation(measured: Path) -> None:
    validated = {row["step"] for row in read_rows(measured, "val")}
    for measure in ("cosine", "noise_scale", "loss", "norm"):
        rows = [row for row in read_rows(measured, "instrument") if row["measure"] == measure]
        assert {row["step"] for row in rows} == validated


def test_norms_are_those_of_the_checkpoints(measured: Path) -> None:
    before, after = (
        dict(load_model(measured / f"checkpoints/step_000000{step}")[0].named_weights()) for step in (3, 4)
    )
    rows = {place[3::4]: row for place, row in by_place(measured).items() if place[:2] == (4, "norm")}
    for (part, layer), row in rows.items():
        if part == "layer":
            continue
        mark = {"embedding": "embed_tokens", "norms": "norm", "head": "lm_head", "attention": "self_attn"}
        where = f"layers.{layer}." if layer is not None else ""
        names = [name for name in after if mark.get(part, part) in name and where in name]
        if layer is None:
            names = [name for name in names if "layers" not in name]
        weight = sum(float(after[n].detach().double().square().sum()) for n in names) ** 0.5
        update = sum(float((after[n] - before[n]).detach().double().square().sum()) for n in names) ** 0.5
        assert row["weight_norm"] == pytest.approx(weight, rel=1e-6)
        assert row["update_norm"] == pytest.approx(update, rel=1e-5)
        assert 0 < row["update_norm"] < row["weight_norm"]
    n_layers = len({layer for _, layer in rows if layer is not None})
    assert len(rows) == 4 * n_layers + 2  # attention, mlp, norms, output of each; embedding, last norm


def test_activations_are_those_of_the_model(corpus: Path, measured: Path) -> None:
    from train.data.batches import TrainingData, step_samples
    from train.data.shards import open_tokens

    model, run = load_model(measured / "checkpoints/step_0000004")
    data = TrainingData(open_tokens(corpus, "main", "main", "train"), run)
    batch = data.batch(step_samples(5, run))
    with torch.no_grad():
        hidden = model.llama.model(input_ids=batch.input_ids_BT, output_hidden_states=True).hidden_states
    rows = {place[3::4]: row for place, row in by_place(measured).items() if place[:2] == (4, "norm")}

    def rms(x_BTD: torch.Tensor) -> float:
        return float(x_BTD.double().square().mean().sqrt())

    assert rows[("embedding", None)]["activation_rms"] == pytest.approx(rms(hidden[0]), rel=1e-5)
    assert rows[("layer", 0)]["activation_rms"] == pytest.approx(rms(hidden[1]), rel=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "zero1", "fsdp"])
def test_two_processes_measure_what_one_does(
    corpus: Path, measured: Path, tmp_path: Path, strategy: str
) -> None:
    if strategy == "zero1" and (reason := why_no_deepspeed()):
        pytest.skip(reason)
    wanted = ALL if strategy == "ddp" else ["losses", "norms"]
    done = pretrain(corpus, tmp_path, instruments=wanted, **SHORT | {"strategy": strategy})
    assert done.returncode == 0, done.stderr
    one, two = by_place(measured), by_place(tmp_path)
    assert set(two) == {place for place in one if strategy == "ddp" or place[1] in ("loss", "norm")}
    for place, row in two.items():
        for key, value in row.items():
            # Differences of larger numbers keep fewer digits.
            smallest = 1e-3 if key in ("cosine", "dot", "signal_square") else 0.0
            assert value == pytest.approx(one[place][key], rel=1e-3, abs=smallest), (place, key)


def test_sharded_strategies_are_refused_at_the_start(corpus: Path, tmp_path: Path) -> None:
    done = pretrain(corpus, tmp_path, instruments=ALL, **SHORT | {"strategy": "fsdp"})
    assert done.returncode != 0
    assert "cosines and noise_scale need whole gradients on every process: pass strategy=ddp" in done.stderr
    assert not list(tmp_path.glob("log.*"))


def test_published_logs_keep_what_was_measured(measured: Path, tmp_path: Path) -> None:
    log = read_run(Run("demo", "run20", 0), [measured / "log.0.jsonl"])
    published = tmp_path / "seed0.jsonl.gz"
    published.write_bytes(compact(log))
    again = read_run(log.run, [published])
    assert len(log.instrument) == len(read_rows(measured, "instrument"))
    assert again.instrument.drop(columns="time_utc").equals(log.instrument.drop(columns="time_utc"))
    assert json.loads(log.instrument.iloc[0].to_json())["measure"] == "norm"
