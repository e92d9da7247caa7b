"""Uses of a checkpoint: evaluation, generation, and export for transformers."""

import json
import sys
from pathlib import Path
from unittest import mock

import pytest
import sentencepiece as spm
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from configs.loader import UserError
from tests.support.training import SMALL, pretrain_here, read_rows, write_corpus, write_tokenizer
from train import evaluate, export_hf, generate
from train.checkpoint.load import find_checkpoint, load_model
from train.model.loss import IGNORE


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tokenizer(folder)
    return write_corpus(folder)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assert pretrain_here(data, out, tokens_total=4 * 8 * 32) == 0
    return out


@pytest.fixture(scope="module")
def exported(run: Path, data: Path) -> Path:
    call(export_hf, run, "--out", run / "hf", "--data", data)
    return run / "hf"


def call(script: object, *arguments: object) -> None:
    with mock.patch.object(sys, "argv", ["script", *map(str, arguments)]):
        script.main()  # type: ignore[attr-defined]


def test_transformers_computes_the_same_logits_from_the_export(run: Path, exported: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(exported)
    ours, _ = load_model(find_checkpoint(run))
    tokens = torch.randint(2048, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs(tokens).logits, ours.llama(tokens).logits)
    assert theirs.config.eos_token_id == AutoTokenizer.from_pretrained(exported).eos_token_id


def test_the_exported_tokenizer_is_lossless_and_continues_a_prompt(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = "axm  bym $\\alpha$\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    model = AutoModelForCausalLM.from_pretrained(exported)
    output = model.generate(**tokenizer("axm bym", return_tensors="pt"), max_new_tokens=5, do_sample=False)
    assert output.shape[1] > len(tokenizer("axm bym")["input_ids"])


def test_exporting_again_replaces_the_folder(run: Path, exported: Path, data: Path) -> None:
    (exported / "stale").touch()
    (exported / "exported_from.json").write_text('{"manifest_sha256": "of another checkpoint"}')
    call(export_hf, run, "--out", exported, "--data", data)
    assert not (exported / "stale").exists()
    assert not list(exported.parent.glob(".*.tmp"))


def test_evaluation_gives_the_values_in_the_log(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(evaluate, run, "--data", data)
    printed = {row["domain"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    for row in read_rows(run, "val"):
        for key in ("loss_nats", "perplexity", "bits_per_byte"):
            assert printed[row["domain"]][key] == pytest.approx(row[key], rel=1e-6)


def test_generation_is_the_same_for_the_same_seed(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("axm bym\n\n$\\alpha$\n")
    texts = []
    for seed in (1, 1, 2):
        call(generate, run, "--prompts", prompts, "--data", data, "--max-new-tokens", 8, "--seed", seed)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].count("--- ") == 2


def test_a_tokenizer_that_the_checkpoint_was_not_trained_with_is_refused(run: Path, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes() + b"\n")
    with pytest.raises(UserError, match="is not the tokenizer"):
        call(export_hf, run, "--out", tmp_path / "hf", "--data", tmp_path)
    with pytest.raises(UserError, match=r"no such file.*--data"):
        call(export_hf, run, "--out", tmp_path / "hf", "--data", tmp_path / "nowhere")


def test_tokens_of_another_tokenizer_are_not_evaluated(run: Path, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes() + b"\n")
    write_corpus(tmp_path)
    with pytest.raises(UserError, match="made with another tokenizer than"):
        call(evaluate, run, "--data", tmp_path)


def test_the_error_about_missing_checkpoints_names_the_folder(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UserError, match="holds no intact checkpoint"):
        call(evaluate, tmp_path, "--data", data)


def test_a_finished_export_is_not_made_again(
    exported: Path, run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (exported / "model.safetensors").stat().st_mtime_ns
    call(export_hf, run, "--out", exported, "--data", data)
    assert "not made again" in capsys.readouterr().out
    assert (exported / "model.safetensors").stat().st_mtime_ns == before


# ---------------------------------------------------------------- the exported settings


def test_the_exported_settings_describe_the_training(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert config["max_position_embeddings"] == tokenizer.model_max_length == SMALL["sequence_length"]
    # Training never saw <s>; every document followed </s>.
    assert tokenizer.bos_token == tokenizer.eos_token == "</s>"
    assert config["bos_token_id"] == config["eos_token_id"] == tokenizer.eos_token_id
    assert config["pad_token_id"] == tokenizer.pad_token_id == tokenizer.unk_token_id
    assert tokenizer("x")["input_ids"][0] != tokenizer.bos_token_id


def test_a_padded_batch_gives_the_same_predictions_as_each_text_alone(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    model = AutoModelForCausalLM.from_pretrained(exported)
    texts = ["axm bym", "axm  bym $\\alpha$ axm bym", "$"]
    with torch.no_grad():
        together = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, -1]
        alone = [model(**tokenizer(text, return_tensors="pt")).logits[0, -1] for text in texts]
    assert torch.allclose(together, torch.stack(alone), atol=1e-4)


def test_control_tokens_written_in_a_text_get_the_ids_that_sentencepiece_gives_them(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    processor = spm.SentencePieceProcessor(model_file=str(exported / "tokenizer.model"))
    for text in ("axm </s> <s> <unk>", " two  blanks ", "é ∑ \\alpha\n\t$x$", ""):
        assert tokenizer(text)["input_ids"] == processor.encode(text)


@pytest.mark.readers
def test_the_llama_cpp_converter_reads_the_same_vocabulary_and_adds_no_token(exported: Path) -> None:
    from gguf.vocab import SentencePieceVocab, SpecialVocab

    tokenizer = AutoTokenizer.from_pretrained(exported)
    special = SpecialVocab(exported, load_merges=False, n_vocab=len(tokenizer))
    assert special.special_token_ids == {"bos": 2, "eos": 2, "unk": 0, "pad": 0}
    assert special.add_special_token == {"bos": False, "eos": False}
    pieces = [piece.decode() for piece, _, _ in SentencePieceVocab(exported).all_tokens()]
    assert tokenizer.convert_tokens_to_ids(pieces) == list(range(len(pieces)))


@pytest.mark.readers
def test_lm_eval_computes_our_log_likelihoods(exported: Path, run: Path) -> None:
    """lm-eval's HFLM uses rolling windows: full ones, and a last one with as much context as fits."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=str(exported), device="cpu", dtype="float32", batch_size=2)
    texts = ["axm bym " * n + "$\\alpha$" for n in (1, 7, 20, 33)]
    requests = [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(texts)]
    theirs = harness.loglikelihood_rolling(requests)
    model, _ = load_model(find_checkpoint(run))
    processor = spm.SentencePieceProcessor(model_file=str(exported / "tokenizer.model"))
    length = SMALL["sequence_length"]
    for text, found in zip(texts, theirs, strict=True):
        ids = torch.tensor([processor.eos_id(), *processor.encode(text)])
        total, done = 0.0, 0
        while done < len(ids) - 1:
            end = min(done + length, len(ids) - 1)
            start = max(0, end - length)
            targets = ids[start + 1 : end + 1].clone()
            targets[: done - start] = IGNORE
            with torch.no_grad():
                total -= float(model(ids[None, start:end], targets[None])[0])
            done = end
        assert found == pytest.approx(total, rel=1e-5)
