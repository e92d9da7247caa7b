"""Tokenizers: commands whole, every byte back, three encoders with the same ids."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import sentencepiece as spm
from kitoken import Kitoken
from transformers import AutoTokenizer

from configs.loader import LawBroken, UserError
from preprocess.pipeline import schema
from preprocess.pipeline.shard import read_rows
from preprocess.tokenizer import encoders
from preprocess.tokenizer.checks import check_encoders
from preprocess.tokenizer.encoders import ADVERSARIAL, encode_by_line, load_encoder
from preprocess.train_tokenizer import _left_by_killed_runs
from tests.conftest import run_script
from tests.support.corpus import document, run_stage, write_shard
from tests.support.tokenizer import kill_when, tree, write_tokenized


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenized(tmp_path_factory.mktemp("tokenizer"))


def copy_corpus(data: Path, to: Path, variant: str = "main") -> None:
    """The finished corpus `main` of one data root as a variant of another."""
    for part in ("corpus", "ledger"):
        shutil.copytree(data / part / "main", to / part / variant)


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


class WrongOn:
    """kitoken with one id too few for one text."""

    def __init__(self, fast: Kitoken, text: str) -> None:
        self.fast, self.text = fast, text

    def encode(self, text: str, specials: bool) -> list[int]:
        ids: list[int] = self.fast.encode(text, specials)
        return ids[:-1] if text == self.text else ids


def make_kitoken_wrong(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    wrong = SimpleNamespace(
        from_sentencepiece_file=lambda path: WrongOn(Kitoken.from_sentencepiece_file(path), text)
    )
    monkeypatch.setattr(encoders, "Kitoken", wrong)


def test_a_fast_encoder_that_disagrees_on_one_string_is_not_taken(
    data: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kitoken_wrong(monkeypatch, ADVERSARIAL[-1])
    reference, encode, name = load_encoder(data / "tokenizers/main/tokenizer.model")
    assert name == "sentencepiece by line"
    assert all(encode(text) == reference.encode(text) for text in texts)


def test_a_fast_encoder_that_disagrees_on_a_paper_breaks_the_law(
    data: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kitoken_wrong(monkeypatch, texts[-1])
    check_encoders(data / "tokenizers/main", texts[:-1])
    with pytest.raises(LawBroken, match="kitoken and sentencepiece give different ids for 'Paper"):
        check_encoders(data / "tokenizers/main", texts)


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
    copy_corpus(data, tmp_path)
    run_script("preprocess/train_tokenizer.py", "--data", tmp_path, "--workers", 2, "vocab_size=600")
    for i in range(2):
        run_script("preprocess/tokenize_corpus.py", "--data", tmp_path, "--workers", 2, "--shard", f"{i}/2")
    for path in [*(data / "tokenizers").rglob("*.*"), *(data / "tokens").rglob("*.*")]:
        assert path.read_bytes() == (tmp_path / path.relative_to(data)).read_bytes(), path


def test_finished_work_is_not_done_again(data: Path) -> None:
    for stage, flags in (("train_tokenizer", ["vocab_size=600"]), ("tokenize_corpus", [])):
        assert "finished, not made again" in run_stage(stage, "--data", data, *flags)


def test_another_corpus_keeps_the_tokenizer_and_trains_one_of_its_own_by_name(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data / "tokenizers", tmp_path / "tokenizers")
    copy_corpus(data, tmp_path, "run01")
    write_shard(tmp_path / "corpus/run01/split_corpus/tar9.parquet", [document("0709.0001")], schema.SPLIT)
    flags = ("--data", tmp_path, "--variant", "run01")
    said = run_stage("train_tokenizer", *flags, "vocab_size=600")
    assert "tokenizers/main, trained on corpus 'main', serves 'run01' too" in said
    assert "`corpus: run01`, and pass --tokenizer NAME (make: TOKENIZER=NAME)" in said
    assert tree(tmp_path / "tokenizers") == tree(data / "tokenizers")
    own = ("--tokenizer", "run08", "corpus=run01", "vocab_size=600", "allow_smaller=true")
    run_stage("train_tokenizer", *flags, *own)
    report = json.loads((tmp_path / "tokenizers/run08/report.json").read_text())
    assert (report["config"]["corpus"], report["n_documents"]) == ("run01", 28)


def test_another_corpus_trains_no_tokenizer_under_the_name_of_mains(data: Path, tmp_path: Path) -> None:
    copy_corpus(data, tmp_path, "broad")
    says = r"'main' is trained on corpus 'main': run make preprocess VARIANT=main TOKENIZER=main first"
    with pytest.raises(UserError, match=says):
        run_stage("train_tokenizer", "--data", tmp_path, "--variant", "broad", "vocab_size=600")
    assert not (tmp_path / "tokenizers").exists()


def test_a_share_of_the_shards_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match=r"train_tokenizer looks at the whole corpus: .* without --shard"):
        run_stage("train_tokenizer", "--data", data, "--shard", "1/4")


def test_what_a_killed_run_left_is_deleted_but_not_that_of_a_longer_name(tmp_path: Path) -> None:
    mine, others = (
        (".main.ab_cd12x", ".main.ab_cd12x.old"),
        (".main.v2.ab_cd12x", ".main.v2", ".mainly.ab_cd12x"),
    )
    for name in (*mine, *others, "main", "main.v2"):
        (tmp_path / name).mkdir()
    assert {path.name for path in _left_by_killed_runs(tmp_path / "main")} == set(mine)


def test_the_same_corpus_with_other_text_is_trained_on_again(data: Path, tmp_path: Path) -> None:
    for part in ("corpus", "ledger", "tokenizers"):
        shutil.copytree(data / part, tmp_path / part)
    write_shard(tmp_path / "corpus/main/split_corpus/tar9.parquet", [document("0709.0001")], schema.SPLIT)
    run_stage("train_tokenizer", "--data", tmp_path, "vocab_size=600")
    assert json.loads((tmp_path / "tokenizers/main/report.json").read_text())["n_documents"] == 28


def test_too_small_a_corpus_names_the_largest_vocabulary(data: Path, tmp_path: Path) -> None:
    copy_corpus(data, tmp_path)
    arguments = ("train_tokenizer", "--data", tmp_path, "vocab_size=50000")
    with pytest.raises(
        UserError,
        match=r"too small for 50000 pieces: at most \d+; .*`allow_smaller: true` into the recipe in",
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
    copy_corpus(data, tmp_path)
    flags = ("vocab_size=600", "allow_smaller=true")  # there is too little prose here, and too few words
    run_stage("train_tokenizer", "--data", tmp_path, "--tokenizer", variant, *flags)
    folder = tmp_path / "tokenizers" / variant
    report = json.loads((folder / "report.json").read_text())
    assert report["texts_checked"] == 27
    assert report["adversarial_strings_checked"] >= 200
    assert (folder / "tokenizer.json").is_file() == (variant != "unigram")  # no run trains on it
    model = spm.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    learnt = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    assert ("\\alpha" in learnt) == (variant == "run09")  # so few pieces hold none by themselves
    assert any("$" in piece or "\\" in piece for piece in learnt) == (variant != "run06")
    if variant == "unigram":
        with pytest.raises(UserError, match=r"tokenizers/unigram: is not a BPE tokenizer"):
            run_stage("tokenize_corpus", "--data", tmp_path, "--tokenizer", variant)
    else:
        run_stage("tokenize_corpus", "--data", tmp_path, "--tokenizer", variant)
        assert (tmp_path / f"tokens/main-{variant}/_DONE.json").is_file()


@pytest.mark.parametrize("appears", ["tokenizers/.main.*/units.tsv", "tokenizers/.main.*/tokenizer.json"])
def test_a_killed_training_leaves_no_tokenizer_and_the_next_one_no_trace(
    data: Path, tmp_path: Path, appears: str
) -> None:
    copy_corpus(data, tmp_path)
    kill_when(appears, tmp_path, "train_tokenizer", "vocab_size=600")
    assert list(tmp_path.glob(appears))
    with pytest.raises(UserError, match="no finished tokenizer"):
        run_stage("tokenize_corpus", "--data", tmp_path)
    run_stage("train_tokenizer", "--data", tmp_path, "vocab_size=600")
    assert tree(tmp_path / "tokenizers") == tree(data / "tokenizers")
