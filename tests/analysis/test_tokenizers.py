"""What the tokenizer report measures, on tokens cut by hand; tokenizer files of any kind; files it writes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from analysis import tokenizer_report
from analysis.tokenization.encoders import load
from analysis.tokenization.stability import (
    Encoder,
    Measures,
    commands,
    entropy_bits,
    measure,
    rename,
    respace,
    select,
    summarise,
)
from configs.loader import UserError
from preprocess.pipeline import schema
from tests.support.corpus import PROSE, document, write_done, write_shard
from tests.support.training import write_tokenizer


def cut_at(pattern: str) -> Encoder:
    """A tokenizer whose tokens are the matches of a pattern, which has to match all of a text."""

    def encode(text: str) -> tuple[np.ndarray, str]:
        tokens = [match[0] for match in re.finditer(pattern, text, re.DOTALL)]
        return np.cumsum([len(token) for token in tokens]), "".join(tokens)

    return encode


WHOLE = cut_at(r" ?\\(?:begin\{\w+\}|[A-Za-z]+|.)| ?[^\\ ]| ")
LETTERS = cut_at(r".")
PAIRS = cut_at(r"..?")


@pytest.mark.parametrize(
    ("text", "encode", "fate"),
    [
        pytest.param(r"x\alpha y", WHOLE, "whole", id="bare"),
        pytest.param(r"x \alpha y", WHOLE, "whole", id="with_its_blank"),
        pytest.param(r"x\begin{proof}y", WHOLE, "whole", id="with_its_environment"),
        pytest.param(r"\alpha", LETTERS, "cut", id="letter_by_letter"),
        pytest.param(r"xy\alpha1", PAIRS, "cut", id="in_even_pairs"),
        pytest.param(r"x\alpha1", PAIRS, "crossed", id="pairs_straddle_both_ends"),
        pytest.param(r"\alpha1", cut_at(r"\\alpha1"), "crossed", id="swallowed_by_a_longer_token"),
        pytest.param(r"\begin{x}", cut_at(r"\\begin\{|.\}"), "crossed", id="brace_without_its_environment"),
    ],
)
def test_fate_of_a_command(text: str, encode: Encoder, fate: str) -> None:
    measures = measure(text, encode)
    whole, crossed = measures.whole.total(), measures.crossed.total()
    assert measures.commands.total() == 1
    assert (whole, crossed) == (int(fate == "whole"), int(fate == "crossed"))


def test_commands_are_read_as_tex_reads_them() -> None:
    text = r"\\alpha \beta1 \{\gamma\} \begin{align*}\ \%\delta"
    assert [name for _, _, name, _ in commands(text)] == ["\\beta", "\\gamma", "\\begin", "\\delta"]


def test_entropy_is_that_of_the_ways_a_command_is_cut() -> None:
    assert entropy_bits([1, 1]) == 1
    assert entropy_bits([5]) == 0
    # Pairs cut \alpha in one way after an even and in another after an odd number of characters.
    same = summarise(measure(r"\alpha \alpha", WHOLE))
    assert same["entropy_bits"] == 0
    both = summarise(measure(r"\alpha1.\alpha", PAIRS) + measure(r"1\alpha", PAIRS))
    assert both["entropy_bits"] == pytest.approx(entropy_bits([2, 1]))


@pytest.mark.parametrize(
    ("formula", "respaced"),
    [
        (r"$a\le b$", r"$a \le b$"),
        (r"$a \le b$", r"$a\le b$"),
        (r"$a\ \le b$", r"$a\ \le b$"),
        (r"$a\\\alpha$", r"$a\\ \alpha$"),
        (r"$a\\ \alpha$", r"$a\\\alpha$"),
        (r"$a\\\ \alpha$", r"$a\\\ \alpha$"),
        (r"$a\  \le b$", r"$a\ \le b$"),
    ],
)
def test_respacing_changes_only_blanks_that_tex_ignores(formula: str, respaced: str) -> None:
    assert respace(formula) == respaced


def test_renaming_replaces_every_occurrence_of_one_command() -> None:
    renamed, old, new = rename(r"$\R+\R\to\C$", r"\reals")
    assert renamed == r"$\reals+\reals\to\C$"
    assert [renamed[a:b] for a, b in new] == [r"\reals"] * len(old)


def test_invariance_holds_for_whole_commands_and_not_for_pairs() -> None:
    text = r"$a\le b$ and $x \in X$ and $\R^n$"
    stable, unstable = (summarise(measure(text, encode)) for encode in (WHOLE, PAIRS))
    assert (stable["respaced_same"], stable["renamed_same"]) == (1, 1)
    assert unstable["respaced_same"] < 1
    assert unstable["renamed_same"] < 1


def test_lengths_count_tokens_that_touch() -> None:
    measures = measure("We see $a+b$ now", LETTERS)
    assert (measures.words, measures.word_tokens) == (3, 8)
    assert (measures.formulas, measures.formula_tokens) == (1, 5)


@pytest.mark.parametrize(
    ("text", "words", "formulas"),
    [
        pytest.param(
            r"line \\$x$ and many words between here $y$ end", 7, 2, id="line_break_before_a_dollar"
        ),
        pytest.param(r"aa \\[2pt] bb cc \[ x \] dd", 4, 1, id="line_break_with_a_length"),
        pytest.param(r"costs \$5 and \$6, so $x$", 3, 1, id="written_dollars"),
        pytest.param(r"\\\[ x \] aa", 1, 1, id="line_break_before_a_display"),
        pytest.param(r"\begin{align} a \\[2pt] b \end{align} aa \( x \)", 1, 2, id="line_break_within_one"),
    ],
)
def test_a_line_break_or_a_written_dollar_opens_no_formula(text: str, words: int, formulas: int) -> None:
    measures = measure(text, LETTERS)
    assert (measures.words, measures.formulas) == (words, formulas)


def test_counts_add_up_and_divide() -> None:
    a, b = measure(r"$\alpha$ one", WHOLE), measure(r"$\beta$", PAIRS)
    both = a + b
    assert both.documents == 2
    assert both.commands == {"\\alpha": 1, "\\beta": 1}
    assert select(both, lambda c: c == "\\beta").commands == {"\\beta": 1}
    assert np.isnan(summarise(Measures())["commands_whole"])


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("report")
    text = PROSE + "\n\n" + r"Let $\alpha + \beta \le 1$ hold: \begin{equation} x^2 \end{equation}"
    rows = [document(f"0704.{i:04}", text, split="val" if i < 2 else "train") for i in range(4)]
    write_shard(data / "corpus/main/split_corpus/tar.parquet", rows, schema.SPLIT)
    write_done(data, "split_corpus")
    write_tokenizer(data)
    (data / "tokenizers/main/report.json").write_text('{"commands": ["\\\\alpha"]}')
    return data


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    """A tokenizer.json of another make: bytes, no merges, blanks left out of the offsets."""
    alphabet = {character: i for i, character in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_report_compares_our_tokenizers_with_any_other(data: Path, byte_level: Path, tmp_path: Path) -> None:
    roots = [("paper", data), ("repository", data), ("repository", data)]
    results = tokenizer_report.compare(roots, "main", ["main", str(byte_level)])
    assert [(r.held_out_by, r.tokenizer) for r in results] == [
        ("paper", "main"),
        ("paper", str(byte_level)),
        ("repository", "main"),
        ("repository", str(byte_level)),
    ]
    ours, other, pooled, _ = (result.summary() for result in results)
    assert (ours["documents"], pooled["documents"]) == (2, 4)
    assert ours["known_occurrences"] == 2
    assert ours["lossless"] == 1
    assert other["bytes_per_token"] == 1
    assert set(other["fertility"]) == {"English", "French", "German", "Russian", "Hindi", "Chinese"}
    files = tokenizer_report.write(results, tmp_path / "out")
    assert {file.suffix for file in files} == {".md", ".csv", ".json", ".png", ".pdf"}
    assert len(json.loads((tmp_path / "out/tokenizers.json").read_text())) == 4
    assert "| main" in (tmp_path / "out/tokenizers.md").read_text()


def test_sentencepiece_and_hugging_face_files_draw_the_same_borders(data: Path) -> None:
    folder = data / "tokenizers/main"
    text = "ax \\alpha $m$ Zoë\n\n中文"
    ends = [load(folder / name)[1](text)[0].tolist() for name in ("tokenizer.model", "tokenizer.json")]
    assert sorted(set(ends[0]) - {0}) == sorted(set(ends[1]) - {0})


def test_a_tokenizer_that_truncates_and_pads_is_measured_on_the_whole_text(byte_level: Path) -> None:
    tokenizer = Tokenizer.from_file(str(byte_level))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=100)
    tokenizer.save(str(byte_level))
    ends, _ = load(byte_level)[1]("twelve bytes")
    assert ends.tolist() == list(range(1, 13))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "neither a tokenizer in .* nor a file"),
        ("broken.json", r"broken.json: is no tokenizer\.json"),
        ("broken.model", r"broken.model: is no SentencePiece model"),
        ("empty.model", r"empty.model: is no SentencePiece model"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "broken.model").write_text("IQ== 0\nIg== 1\n")  # as tiktoken writes them
    (tmp_path / "empty.model").touch()
    with pytest.raises(UserError, match=message):
        tokenizer_report.compare([("paper", data)], "main", [name])


def test_a_corpus_whose_split_is_unfinished_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "corpus/main/split_corpus/tar.parquet", [document("0704.0001")], schema.SPLIT)
    with pytest.raises(UserError, match="not split yet"):
        list(tokenizer_report.held_out_documents(tmp_path, "main"))
