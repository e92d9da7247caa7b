"""Tokenizer and token shards: commands whole, every byte back, three encoders with the same ids."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from configs.loader import LawBroken, UserError
from preprocess import schema
from preprocess.encoder import ADVERSARIAL, encode_by_line, load_encoder
from preprocess.shard import read_rows
from preprocess.tokenize_corpus import pack
from tests.conftest import ROOT, run_script
from tests.corpus_support import PROSE, document, run_stage, write_done, write_shard
from train.tokens import open_tokens

FORMULAS = r"\begin{equation} \alpha_{1} + \frac{\beta}{2} \leq \int_0^1 f(x)\,dx \end{equation}" + "\n\n"


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
    run_stage("train_tokenizer", "--data", data, "vocab_size=600")
    run_stage("tokenize_corpus", "--data", data)
    return data


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    corpus = sorted((data / "corpus/main/split_corpus").glob("*.parquet"))
    return [*ADVERSARIAL, *(row["text"] for path in corpus for row in read_rows(path))]


def test_three_encoders_give_the_same_ids_and_every_byte_back(data: Path, texts: list[str]) -> None:
    reference, fast, name = load_encoder(data / "tokenizers/main/tokenizer.model")
    assert name == "kitoken"
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
    for stage, flags in (("train_tokenizer", ["vocab_size=600"]), ("tokenize_corpus", [])):
        assert "finished, not made again" in run_stage(stage, "--data", data, *flags)


def test_another_corpus_keeps_the_tokenizer_and_trains_one_of_its_own_by_name(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "tokenizers", tmp_path / "tokenizers")
    shutil.copytree(data / "corpus/main", tmp_path / "corpus/run01")
    write_shard(tmp_path / "corpus/run01/split_corpus/tar9.parquet", [document("0709.0001")], schema.SPLIT)
    flags = ("--data", tmp_path, "--variant", "run01")
    said = run_stage("train_tokenizer", *flags, "vocab_size=600")
    assert "tokenizers/main is kept: it is of corpus 'main'" in said
    assert "--tokenizer NAME (make: TOKENIZER=NAME)" in said
    assert tree(tmp_path / "tokenizers") == tree(data / "tokenizers")
    run_stage("train_tokenizer", *flags, "--tokenizer", "run08", "vocab_size=600", "allow_smaller=true")
    assert json.loads((tmp_path / "tokenizers/run08/report.json").read_text())["corpus"] == "run01"


def test_the_same_corpus_with_other_text_is_trained_on_again(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "tokenizers"):
        shutil.copytree(data / part, tmp_path / part)
    write_shard(tmp_path / "corpus/main/split_corpus/tar9.parquet", [document("0709.0001")], schema.SPLIT)
    run_stage("train_tokenizer", "--data", tmp_path, "vocab_size=600")
    assert json.loads((tmp_path / "tokenizers/main/report.json").read_text())["n_documents"] == 28


def test_too_small_a_corpus_names_the_largest_vocabulary(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "corpus", tmp_path / "corpus")
    arguments = ("train_tokenizer", "--data", tmp_path, "vocab_size=50000")
    with pytest.raises(
        UserError, match=r"too small for 50000 pieces: at most \d+; .* allow_smaller=true"
    ) as found:
        run_stage(*arguments)
    assert not list((tmp_path / "tokenizers").iterdir())
    largest = int(str(found.value).partition("at most ")[2].partition(";")[0])
    run_stage(*arguments, "allow_smaller=true")
    report = json.loads((tmp_path / "tokenizers/main/report.json").read_text())
    assert report["vocab_size"] == largest < report["config"]["vocab_size"]


def test_too_small_a_vocabulary_names_what_it_has_to_hold(data: Path) -> None:
    with pytest.raises(UserError, match=r"vocab_size=300 has no room for bytes.*which take 3\d\d pieces"):
        run_stage("train_tokenizer", "--data", data, "vocab_size=300")
    assert json.loads((data / "tokenizers/main/report.json").read_text())["vocab_size"] == 600


@pytest.mark.parametrize("variant", ["run06", "run07", "run08", "run09", "unigram"])
def test_variants_are_trained_and_checked(data: Path, tmp_path: Path, variant: str) -> None:
    shutil.copytree(data / "corpus", tmp_path / "corpus")
    flags = ("vocab_size=600", "allow_smaller=true")  # there is too little prose here, and too few words
    run_stage("train_tokenizer", "--data", tmp_path, "--tokenizer", variant, *flags)
    folder = tmp_path / "tokenizers" / variant
    report = json.loads((folder / "report.json").read_text())
    assert report["texts_checked"] == 3
    assert report["adversarial_strings_checked"] >= 200
    assert (folder / "tokenizer.json").is_file() == (variant != "unigram")  # no run trains on it
    model = spm.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    learnt = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    assert ("\\alpha" in learnt) == (variant == "run09")  # so few pieces hold none by themselves
    assert any("$" in piece or "\\" in piece for piece in learnt) == (variant != "run06")
    run_stage("tokenize_corpus", "--data", tmp_path, "--tokenizer", variant)
    assert (tmp_path / f"tokens/main-{variant}/_DONE.json").is_file()


def test_a_text_with_sentencepiece_s_own_space_breaks_the_law(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "tokenizers", tmp_path / "tokenizers")
    rows = [document("0704.0001"), document("0704.0002", "a\u2581b")]
    write_shard(tmp_path / "corpus/main/split_corpus/tar.parquet", rows, schema.SPLIT)
    write_done(tmp_path / "corpus/main/split_corpus")
    with pytest.raises(LawBroken, match=r"tar.parquet: 0704.0002: decoding"):
        run_stage("tokenize_corpus", "--data", tmp_path)
    assert not (tmp_path / "tokens/main-main/_DONE.json").exists()


# ---------------------------------------------------------------- packed


@settings(deadline=None)
@given(tokens=st.lists(st.integers(0, (1 << 17) - 1), max_size=40))
def test_packing_takes_17_bits_a_token_and_loses_none(tokens: list[int]) -> None:
    packed = pack(np.array(tokens, "<u4"))
    assert packed.nbytes == -(-len(tokens) // 8) * 17
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(int)
    low = bits[:, :128].reshape(-1, 16) @ (1 << np.arange(16))
    high = bits[:, 128:].reshape(-1) << 16
    assert (low + high)[: len(tokens)].tolist() == tokens


def test_packed_shards_are_read_as_the_same_tokens(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "tokenizers"):
        shutil.copytree(data / part, tmp_path / part)
    run_stage("tokenize_corpus", "--data", tmp_path, "packed=true")
    plain, packed = (open_tokens(root, "main", "main", "train") for root in (data, tmp_path))
    assert packed.fingerprint == plain.fingerprint
    for name, stream in plain.domains.items():
        other = packed.domains[name]
        assert other.read(0, other.n_tokens).tolist() == stream.read(0, stream.n_tokens).tolist()
        sizes = [sum(Path(f"{s}.bin").stat().st_size for s in d.shards) for d in (stream, other)]
        assert sizes[1] <= sizes[0] * 17 / 32 + 17 * len(stream.shards)


def test_other_form_on_disk_is_made_again(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "tokenizers", "tokens"):
        shutil.copytree(data / part, tmp_path / part)
    run_stage("tokenize_corpus", "--data", tmp_path, "packed=true")
    assert {json.loads(p.read_text())["dtype"] for p in tmp_path.glob("tokens/*/*/*/*.json")} == {"packed17"}


# ---------------------------------------------------------------- changes and kills


def test_a_paper_that_changes_its_split_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "tokenizers", "tokens"):
        shutil.copytree(data / part, tmp_path / part)
    shard = tmp_path / "corpus/main/split_corpus/tar0.parquet"
    rows = [row | {"split": "train"} for row in read_rows(shard)]
    write_shard(shard, rows, schema.SPLIT)
    run_stage("tokenize_corpus", "--data", tmp_path)
    assert not list(tmp_path.glob("tokens/main-main/val/*/tar0.*"))
    assert len(list(tmp_path.glob("tokens/main-main/train/*/tar0.bin"))) == 3


def test_shards_without_documents_are_refused(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "tokenizers", "tokens"):
        shutil.copytree(data / part, tmp_path / part)
    (tmp_path / "corpus/main/split_corpus/tar2.parquet").unlink()
    with pytest.raises(UserError, match=r"1 token shards \(tar2, …\) have no documents any more"):
        run_stage("tokenize_corpus", "--data", tmp_path)


def kill_when(appears: str, data: Path, stage: str, *flags: str) -> None:
    """Start a stage and send SIGKILL as soon as a file that matches a pattern is there."""
    command = [sys.executable, f"preprocess/{stage}.py", "--data", str(data), "--workers", "1", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(data.glob(appears)) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()


@pytest.mark.parametrize("appears", ["tokenizers/.main.*/units.tsv", "tokenizers/.main.*/tokenizer.json"])
def test_a_killed_training_leaves_no_tokenizer_and_the_next_one_no_trace(
    data: Path, tmp_path: Path, appears: str
) -> None:
    shutil.copytree(data / "corpus", tmp_path / "corpus")
    kill_when(appears, tmp_path, "train_tokenizer", "vocab_size=600")
    assert list(tmp_path.glob(appears))
    with pytest.raises(UserError, match="no finished tokenizer"):
        run_stage("tokenize_corpus", "--data", tmp_path)
    run_stage("train_tokenizer", "--data", tmp_path, "vocab_size=600")
    assert tree(tmp_path / "tokenizers") == tree(data / "tokenizers")


@pytest.mark.parametrize(
    "appears", ["tokens/*/*/*/.*.tmp", "tokens/*/*/*/*.bin", "tokens/*/_shards/tar*.json"]
)
def test_killed_shards_are_not_taken_for_finished_and_are_made_again(
    data: Path, tmp_path: Path, appears: str
) -> None:
    for part in ("corpus", "tokenizers"):
        shutil.copytree(data / part, tmp_path / part)
    kill_when(appears, tmp_path, "tokenize_corpus")
    if not (tmp_path / "tokens/main-main/_DONE.json").is_file():
        with pytest.raises(UserError, match="unfinished"):
            open_tokens(tmp_path, "main", "main", "train")
    run_stage("tokenize_corpus", "--data", tmp_path)
    assert tree(tmp_path / "tokens") == tree(data / "tokens")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
