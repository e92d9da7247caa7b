"""Units of text and their counts in tiers; the sample that they are counted in."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.loader import CONFIGS, LawBroken, UserError
from preprocess.pipeline import schema
from preprocess.tokenizer import text_units, training_text
from preprocess.tokenizer.checks import check_commands, check_texts
from preprocess.train_tokenizer import TrainTokenizerConfig, tokenizer_config, train_model
from tests.support.corpus import document, write_shard

LATEX = st.lists(st.sampled_from([*"ab\\{}$ \n\t%é中", "\\alpha", " \\begin{ab}"])).map("".join)


@settings(deadline=None)
@given(text=LATEX, cut_at_commands=st.booleans())
def test_units_are_the_whole_text_but_for_newlines_and_tabs(text: str, cut_at_commands: bool) -> None:
    units = text_units.count_units(text, cut_at_commands)
    characters = Counter("".join(unit * n for unit, n in units.items()))
    assert characters == Counter(text.replace("\n", "").replace("\t", ""))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        (r"x\alpha y", ["x", r"\alpha", " y"]),
        (r"x \alpha_1", ["x", r" \alpha", "_1"]),
        (r"\begin{align*}x\end{align*}", [r"\begin{align*}", "x", r"\end{align*}"]),
        (r"\\alpha\%", ["\\\\", "alpha", r"\%"]),
        (r"\begin {x}", [r"\begin", " {x}"]),
    ],
)
def test_text_is_cut_round_commands(text: str, units: list[str]) -> None:
    assert text_units.count_units(text, cut_at_commands=True) == Counter(units)


def test_commands_are_found_among_units_as_tex_reads_them() -> None:
    units = text_units.count_units(r"\\alpha \beta \begin{x}\gamma1 \%", cut_at_commands=True)
    assert text_units.commands_among(units) == {r"\beta", r"\begin{x}", r"\gamma"}


def test_list_is_ranked_by_papers_and_leaves_out_what_no_token_can_hold() -> None:
    papers = Counter({r"\b": 5, r"\a": 5, r"\rare": 2, r"\c": 3, "\\" + "x" * 40: 9})
    assert text_units.list_commands(papers, min_papers=3, most=9, max_length=31) == [r"\a", r"\b", r"\c"]
    assert text_units.list_commands(papers, min_papers=3, most=2, max_length=31) == [r"\a", r"\b"]


def test_alphabet_covers_the_text_and_leaves_the_rarest_to_bytes() -> None:
    counts = Counter({" ab": 5000, "ac": 4999, "é": 1})
    assert text_units.alphabet(counts, 0.9999) == "abc"
    assert text_units.alphabet(counts, 1.0) == "abcé"


def test_prose_has_neither_mathematics_nor_commands() -> None:
    prose = text_units.prose_of(r"We \emph{see} that $a \le b$ holds: \begin{equation}x\end{equation} so.")
    assert prose.split() == ["We", "see", "that", "holds:", "so."]


# ---------------------------------------------------------------- tiers

# `m}` and `{` are far more frequent than the commands that they could take a bite of.
TRAP = "\n".join(
    [
        *["sum} gum} {m} {pm {alp} prim} tum}"] * 400,
        *["\\begin{theorem} \\end{theorem} \\begin{lemma} \\end{lemma}"] * 100,
        *["\\begin{myown} \\end{myown}"] * 50,
        *["\\pm \\prime $\\alpha$"] * 3,
        *[f"word{letter} other{letter}" for letter in "abcdefghij"] * 20,
    ]
)
LISTED = [
    r"\pm",
    r"\prime",
    r"\alpha",
    *(rf"\{b}{{{e}}}" for b in ("begin", "end") for e in ("theorem", "lemma")),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> spm.SentencePieceProcessor:
    counts = text_units.count_units(TRAP, cut_at_commands=True)
    config = TrainTokenizerConfig(vocab_size=400)
    path = train_model(counts, LISTED, config, tmp_path_factory.mktemp("model"))
    return spm.SentencePieceProcessor(model_file=str(path))


@pytest.mark.parametrize("command", LISTED)
@pytest.mark.parametrize(
    ("left", "right"), [("", ""), ("x^{", "}"), ("sum} ", "m}"), (" ", "{m}"), ("\\pm", "1")]
)
def test_a_listed_command_is_one_token_wherever_it_stands(
    model: spm.SentencePieceProcessor, left: str, command: str, right: str
) -> None:
    if command[-1].isalpha() and right[:1].isalpha():
        right = " " + right
    pieces = model.encode(left + command + right, out_type=str)
    assert pieces.count(command) + pieces.count("\u2581" + command) >= 1, pieces


def test_an_environment_that_is_not_listed_leaves_begin_whole(model: spm.SentencePieceProcessor) -> None:
    assert model.encode(r"\begin{myown}", out_type=str)[0] == r"\begin"
    assert model.encode(r" \end{unheard}", out_type=str)[0] == "\u2581\\end"


def test_a_cut_command_fails_where_there_was_room_for_it(model: spm.SentencePieceProcessor) -> None:
    assert check_commands(model, LISTED, room=50) == {"commands_cut": []}
    with pytest.raises(LawBroken, match=r"1 of 8 listed commands.*unlearnt"):
        check_commands(model, [*LISTED, r"\unlearnt"], room=16)
    assert check_commands(model, [*LISTED, r"\unlearnt"], room=15) == {"commands_cut": [r"\unlearnt"]}


def test_a_text_that_is_not_given_back_is_a_broken_law(model: spm.SentencePieceProcessor) -> None:
    with pytest.raises(LawBroken, match="does not give the text 'a\u2581b'"):
        check_texts(model, ["a\u2581b"])


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    ("name", "base", "change"),
    [
        ("run06", "run07", {"text": "prose"}),
        ("run07", "run08", {"vocab_size": 32000}),
        ("run08", "main", {"commands": "none"}),
        ("run09", "main", {"commands": "symbols"}),
        ("unigram", "main", {"model_type": "unigram"}),
    ],
)
def test_a_variant_changes_one_thing(name: str, base: str, change: dict[str, Any]) -> None:
    ours, theirs = (tokenizer_config(which, "full", {}).model_dump() for which in (name, base))
    assert {key: value for key, value in ours.items() if theirs[key] != value} == change


def test_a_scale_shrinks_every_vocabulary_alike() -> None:
    sizes = {name: tokenizer_config(name, "mini", {}).vocab_size for name in ("main", "run07")}
    assert sizes == {"main": 4096, "run07": 1280}
    assert tokenizer_config("run07", "mini", {"vocab_size": 700}).vocab_size == 700


def test_bases_in_a_circle_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / "tokenizers").mkdir(exist_ok=True)
        (tmp_path / "tokenizers" / f"{name}.yaml").write_text(f"base: {base}\n")
    monkeypatch.setattr("configs.variants.CONFIGS", tmp_path)
    with pytest.raises(UserError, match="circle"):
        tokenizer_config("a", "full", {})
    assert (CONFIGS / "tokenizers/main.yaml").is_file()


# ---------------------------------------------------------------- sample


def sample(
    folder: Path, papers: dict[str, list[tuple[str, str]]], sample_bytes: int, seed: int = 0
) -> set[str]:
    """Texts that are taken from shards of (domain, text)."""
    shards = []
    for name, rows in papers.items():
        documents = [
            document(text[:9], text, domain=domain, split="val" if "val" in text else "train")
            for domain, text in rows
        ]
        shards.append(write_shard(folder / f"{name}.parquet", documents, schema.SPLIT))
    sums: dict[str, np.ndarray] = {}
    for shard in shards:
        for domain, n_bytes in training_text.bytes_by_bucket(shard, seed).items():
            sums[domain] = sums.get(domain, 0) + n_bytes
    buckets = training_text.buckets_to_take(sums, sample_bytes)
    return {text for shard in shards for text in training_text.sampled_texts(shard, buckets, seed)}


PAPERS = [("math", f"0704.{i:04} " + "x" * 990) for i in range(80)] + [
    ("cs", f"0705.{i:04} " + "é" * 45) for i in range(20)
]


def test_sample_takes_an_equal_share_of_each_domain_and_all_of_a_small_one(tmp_path: Path) -> None:
    chosen = sample(tmp_path, {"a": PAPERS}, 40_000)
    n_bytes = {d: sum(len(t.encode()) for t in chosen if (d, t) in PAPERS) for d in ("math", "cs")}
    assert n_bytes == {"math": 20_000, "cs": 2_000}


def test_sample_depends_on_seed_and_papers_and_not_on_shards(tmp_path: Path) -> None:
    whole = sample(tmp_path / "1", {"a": PAPERS}, 40_000)
    thirds = {name: PAPERS[k::3] for k, name in enumerate("bcd")}
    divided = sample(tmp_path / "2", thirds, 40_000)
    other = sample(tmp_path / "3", {"a": PAPERS}, 40_000, seed=1)
    assert whole == divided
    assert whole != other
    assert len(other) == len(whole)


def test_validation_is_never_sampled(tmp_path: Path) -> None:
    assert sample(tmp_path, {"a": [("cs", "0704.0001 val"), ("cs", "0704.0002")]}, 10**6) == {"0704.0002"}
