"""Tokenizer and token shards: commands whole, every byte back, three encoders with the same ids."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from transformers import AutoTokenizer

from preprocess import schema
from preprocess.encoder import encode_by_line, load_encoder
from preprocess.shard import read_rows
from tests.conftest import run_script
from tests.corpus_support import PROSE, document, write_done, write_shard

FORMULAS = r"\begin{equation} \alpha_{1} + \frac{\beta}{2} \leq \int_0^1 f(x)\,dx \end{equation}" + "\n\n"
# Text that has tripped tokenizers: control pieces written out, blanks, rare bytes, cut commands.
ADVERSARIAL = [
    "",
    " ",
    "   \n\n\t \n",
    "<s> </s> <unk> <0x41> <pad> [INST]",
    "a  b   c",
    "\\alphabet \\alpha1 \\alpha\\beta\\\\alpha \\ ",
    "Zoë naïve 中文 Москва \U0001d4d0\u200b\u00a0\u2028\u000b",
    "\\" * 99,
    "x" * 5000,
    "1234567890.00017",
    "$$\\left.\\frac{\\partial f}{\\partial x}\\right|_{x=0}$$",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("tokenizer")
    corpus = data / "corpus/main/split_corpus"
    for k in range(3):
        rows = [
            document(
                f"070{k}.{i:04}",
                f"Paper {i} of {k}.\n\n" + PROSE * 2 + FORMULAS * 3 + f"\\rare{'abc'[k]}{'x' * (i == 0)} ",
                domain=("math", "cs", "physics")[i % 3],
                split="val" if i < 3 else "train",
            )
            for i in range(12)
        ]
        write_shard(corpus / f"tar{k}.parquet", rows, schema.SPLIT)
    write_done(corpus)
    run_script("preprocess/train_tokenizer.py", "--data", data, "--workers", 1, "vocab_size=600")
    run_script("preprocess/tokenize_corpus.py", "--data", data, "--workers", 1)
    return data


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    corpus = sorted((data / "corpus/main/split_corpus").glob("*.parquet"))
    return ADVERSARIAL + [row["text"] for path in corpus for row in read_rows(path)]


def test_three_encoders_give_the_same_ids_and_every_byte_back(data: Path, texts: list[str]) -> None:
    reference, fast, _ = load_encoder(data / "tokenizers/main/tokenizer.model")
    hugging_face = AutoTokenizer.from_pretrained(data / "tokenizers/main")
    for text in texts:
        ids = reference.encode(text)
        assert fast(text) == ids
        assert encode_by_line(reference, text) == ids
        assert hugging_face.encode(text, add_special_tokens=False) == ids
        assert reference.decode(ids) == text
        assert hugging_face.decode(ids) == text


def test_no_text_becomes_a_control_token(data: Path, texts: list[str]) -> None:
    reference, fast, _ = load_encoder(data / "tokenizers/main/tokenizer.model")
    control = {reference.unk_id(), reference.bos_id(), reference.eos_id()}
    assert not any(control & set(fast(text)) for text in texts)


@pytest.mark.parametrize("command", ["\\alpha", "\\frac", "\\leq", "\\begin{equation}", "\\end{equation}"])
def test_frequent_command_is_one_token_bare_and_after_a_blank(data: Path, command: str) -> None:
    reference = spm.SentencePieceProcessor(model_file=str(data / "tokenizers/main/tokenizer.model"))
    assert len(reference.encode(command)) == 1
    assert len(reference.encode("x " + command + "{")) == len(reference.encode("x")) + 2


def test_command_of_one_paper_is_not_listed(data: Path) -> None:
    report = json.loads((data / "tokenizers/main/report.json").read_text())
    assert "\\alpha" in report["commands"]
    assert not any(command.startswith("\\rareax") for command in report["commands"])


def test_validation_text_is_not_trained_on(data: Path) -> None:
    assert json.loads((data / "tokenizers/main/report.json").read_text())["n_documents"] == 27


def test_training_and_shards_are_the_same_for_any_workers(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "corpus", tmp_path / "corpus")
    run_script("preprocess/train_tokenizer.py", "--data", tmp_path, "--workers", 2, "vocab_size=600")
    for i in range(2):
        run_script("preprocess/tokenize_corpus.py", "--data", tmp_path, "--workers", 2, "--shard", f"{i}/2")
    for path in [*(data / "tokenizers").rglob("*.*"), *(data / "tokens").rglob("*.*")]:
        assert path.read_bytes() == (tmp_path / path.relative_to(data)).read_bytes(), path


def test_shards_hold_every_document_and_its_end(data: Path) -> None:
    reference = spm.SentencePieceProcessor(model_file=str(data / "tokenizers/main/tokenizer.model"))
    texts = {
        (row["split"], row["domain"], row["id"]): row["text"]
        for path in (data / "corpus/main/split_corpus").glob("*.parquet")
        for row in read_rows(path)
    }
    found = {}
    for path in (data / "tokens/main-main").glob("*/*/*.bin"):
        tokens = np.fromfile(path, "<u4")
        facts = json.loads(path.with_suffix(".json").read_text())
        assert facts["n_tokens"] == len(tokens)
        for row in read_rows(path.with_suffix(".idx.parquet")):
            ids = tokens[row["offset"] :][: row["n_tokens"]].tolist()
            assert ids[-1] == facts["eod_id"] == reference.eos_id()
            text = reference.decode(ids[:-1])
            assert row["n_bytes"] == len(text.encode())
            found[path.parts[-3], path.parts[-2], row["id"]] = text
    assert found == texts


def test_finished_work_is_not_done_again(data: Path) -> None:
    for script, flags in (("train_tokenizer", ["vocab_size=600"]), ("tokenize_corpus", [])):
        again = run_script(f"preprocess/{script}.py", "--data", data, *flags)
        assert "finished, not made again" in again.stdout


def test_too_small_a_corpus_names_the_largest_vocabulary(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "corpus", tmp_path / "corpus")
    failed = run_script("preprocess/train_tokenizer.py", "--data", tmp_path, "vocab_size=50000", check=False)
    assert failed.returncode == 2
    assert "too small for 50000 pieces: at most" in failed.stderr
    assert not list((tmp_path / "tokenizers").iterdir())
