"""filter_quality, deduplicate and split_corpus on small shards."""

from pathlib import Path

import pytest

from preprocess import schema
from preprocess.deduplicate import text_key
from preprocess.filter_quality import FilterQualityConfig, measure, verdict
from preprocess.prose import split_prose, strip_commands
from preprocess.shard import read_rows
from tests.conftest import run_script
from tests.corpus_support import PROSE, document, ledger, write_done, write_shard

GERMAN = (
    "Wir untersuchen das Verhalten von Lösungen nahe dem Rand und zeigen, dass jede beschränkte Folge einen "
    "Grenzwert hat, der stetig von den Daten abhängt. Der Beweis benutzt ein Argument der Kompaktheit. "
)


@pytest.mark.parametrize(
    ("text", "prose", "math"),
    [
        ("a $x$ b", "a   b", "$x$"),
        (r"a \(x\) b \[y\] c", "a   b   c", r"\(x\)\[y\]"),
        (r"a \$5 b", r"a \$5 b", ""),
        (r"a \\[2pt] b $x$ c", r"a \\[2pt] b   c", "$x$"),
        (r"a \begin{align*}x\\&y\end{align*} b", "a   b", r"\begin{align*}x\\&y\end{align*}"),
        (r"a \begin{proof}b $x$\end{proof}", r"a \begin{proof}b  \end{proof}", "$x$"),
        ("a $$x$$ b", "a   b", "$$x$$"),
        ("cost 5$ a\n\nb $x$ c", "cost 5 \n\nb   c", "$ a$x$"),
        ("a $x", "a ", "$x"),
        (r"\begin{equation}x", "", r"\begin{equation}x"),
    ],
    ids=[
        "dollar",
        "round",
        "escaped",
        "newline",
        "environment",
        "proof",
        "display",
        "stray",
        "open",
        "open-env",
    ],
)
def test_prose_and_mathematics_are_told_apart(text: str, prose: str, math: str) -> None:
    assert split_prose(text) == (prose, len(math))


def test_commands_are_stripped_and_arguments_stay() -> None:
    assert strip_commands(r"\section{A title} \emph{b}~c").split() == ["A", "title", "b", "c"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE * 8, ""),
        (PROSE * 3 + "$" + r"\alpha+\beta " * 4000 + "$" + PROSE * 3, ""),
        ("Too short to be a paper.", "too_short"),
        (GERMAN * 8, "language"),
        ("word and 17 " + "3.14 & 2.71 & 99 \\\\ " * 300 + PROSE * 4, "few_letters"),
        ("\n".join([PROSE[:120]] * 40 + [PROSE]), "repetitive"),
    ],
    ids=["english", "english-with-formulas", "short", "german", "table", "repeated"],
)
def test_verdict_and_its_reason(text: str, reason: str) -> None:
    assert verdict(measure(text), FilterQualityConfig())[0] == reason


def test_rules_can_be_switched_off() -> None:
    off = FilterQualityConfig(languages=(), min_words=0, min_letter_share=0, max_repetition=1)
    assert verdict(measure("kurz"), off) == ("", "")


def test_measures_stay_on_the_document(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "corpus/main/normalize_text/t.parquet", [document("0704.0001", PROSE * 8 + "$x+y$")]
    )
    run_script("preprocess/filter_quality.py", "--data", tmp_path, "--workers", 1)
    (row,) = read_rows(tmp_path / "corpus/main/filter_quality/t.parquet")
    assert row["language"] == "en"
    assert row["math_share"] == pytest.approx(5 / len(row["text"]))
    assert row["n_words"] > 300


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("A theorem.", "a  Theorem", True),
        ("$x_1$ and y", "$ x_{1} $\nand y", True),
        ("$x_1$", "$x_2$", False),
        ("Zoë", "Zoe", False),
    ],
)
def test_what_counts_as_equal(one: str, two: str, equal: bool) -> None:
    assert (text_key(one) == text_key(two)) is equal


@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "other-order"])
def test_earliest_of_equal_documents_stays(tmp_path: Path, shuffled: bool) -> None:
    rows = [
        document("0704.0003", "same text", created="2007-04-03"),
        document("0704.0001", "Same  text", created="2007-04-05"),
        document("0704.0004", "other text"),
        document("0705.0001", "same text.", created="2007-04-03"),
    ]
    shards = [rows[2:], rows[:2]] if shuffled else [rows[:2], rows[2:]]
    for i, shard in enumerate(shards):
        write_shard(tmp_path / f"corpus/main/filter_quality/t{i}.parquet", shard, schema.MEASURED)
    run_script("preprocess/deduplicate.py", "--data", tmp_path, "--workers", 2)
    assert ledger(tmp_path, "deduplicate") == {
        "0704.0003": "kept",
        "0704.0001": "exact_duplicate",
        "0704.0004": "kept",
        "0705.0001": "exact_duplicate",
    }
    again = run_script("preprocess/deduplicate.py", "--data", tmp_path)
    assert "finished, not made again" in again.stdout


def test_corpus_wide_stage_refuses_to_be_divided(tmp_path: Path) -> None:
    write_shard(tmp_path / "corpus/main/filter_quality/t.parquet", [document("0704.0001")], schema.MEASURED)
    failed = run_script("preprocess/deduplicate.py", "--data", tmp_path, "--shard", "0/2", check=False)
    assert failed.returncode == 2
    assert "as one task" in failed.stderr


class TestSplit:
    def _split(self, folder: Path, ids: dict[str, list[str]], n_shards: int) -> dict[str, str]:
        rows = [document(i, domain=domain) for domain, some in ids.items() for i in some]
        for k in range(n_shards):
            path = folder / f"corpus/main/deduplicate/t{k}.parquet"
            write_shard(path, rows[k::n_shards], schema.MEASURED)
        write_done(folder / "corpus/main/deduplicate")
        run_script("preprocess/split_corpus.py", "--data", folder, "min_val_papers=3", "val_share=0.1")
        done = (folder / "corpus/main/split_corpus").glob("*.parquet")
        return {row["id"]: row["split"] for path in done for row in read_rows(path)}

    def test_each_domain_has_its_share_whatever_the_shards(self, tmp_path: Path) -> None:
        ids = {"math": [f"0704.{i:04}" for i in range(50)], "cs": [f"0705.{i:04}" for i in range(8)]}
        one = self._split(tmp_path / "one", ids, 1)
        assert one == self._split(tmp_path / "three", ids, 3)
        assert sum(one[i] == "val" for i in ids["math"]) == 5
        assert sum(one[i] == "val" for i in ids["cs"]) == 3

    def test_too_few_papers_are_an_error_with_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="min_val_papers"):
            self._split(tmp_path, {"math": ["0704.0001", "0704.0002"]}, 1)
