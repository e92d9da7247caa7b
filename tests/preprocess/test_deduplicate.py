"""deduplicate: every planted duplicate is found, nothing else is dropped, and order does not matter."""

import itertools
import json
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from preprocess.dedup import minhash
from preprocess.dedup.duplicates import (
    MIN_CONTAINMENT,
    MIN_JACCARD,
    Match,
    connected_components,
    equal_keys,
    judge,
)
from preprocess.dedup.minhash import MOST_PARTNERS, SMALLEST, THRESHOLD, SketchIndex, sketch
from preprocess.dedup.ngrams import text_key, word_bytes
from preprocess.deduplicate import DOCUMENTS_A_TASK, _batches
from preprocess.pipeline.shard import read_rows
from tests.conftest import run_script
from tests.support.corpus import document, ledger, run_stage, write_parts
from tests.support.duplicates import edited, likeness, with_other_ending, write_words

DONE = "corpus/main/deduplicate"


def add(index: SketchIndex, texts: list[str]) -> None:
    """Add some texts."""
    sketches = [sketch(word_bytes(text)) for text in texts]
    index.add(np.concatenate(sketches), np.array(list(map(len, sketches))))


def candidates(texts: list[str], order: list[int] | None = None) -> set[tuple[int, int]]:
    """Pairs of places in `texts`; `order` is that in which they are added to the index."""
    order = order or list(range(len(texts)))
    index = SketchIndex()
    for number in order:
        add(index, [texts[number]])
    found = index.candidates(np.argsort(order))
    return {(one, two) for some in found for one, two in some.tolist()}


class TestCandidates:
    @pytest.mark.parametrize("n_words", [120, 500, 3000, 20000])
    def test_near_duplicates_of_any_length_are_found(self, n_words: int) -> None:
        rng = random.Random(n_words)
        texts = []
        for i in range(40):
            words = write_words(rng, n_words)
            copy = edited(rng, words, 0.015) if i % 2 else with_other_ending(rng, words, 0.09)
            texts += [" ".join(words), " ".join(copy)]
        pairs = {(i, i + 1) for i in range(0, 80, 2) if likeness(texts[i], texts[i + 1])[0] >= MIN_JACCARD}
        assert len(pairs) > 30
        found = candidates(texts)
        assert pairs <= found
        assert len(found) < 2 * len(texts), "unrelated texts are not worth comparing"

    @pytest.mark.parametrize("n_words", [1000, 4000])
    def test_chapters_are_found_in_their_book(self, n_words: int) -> None:
        rng = random.Random(n_words)
        chapters = [write_words(rng, n_words) for _ in range(60)]
        book = [word for chapter in chapters for word in chapter]
        copies = [edited(rng, chapter, 0.03) for chapter in chapters]
        texts = [" ".join(words) for words in (book, *copies)]
        pairs = {(0, i) for i in range(1, 61) if likeness(texts[0], texts[i])[1] >= MIN_CONTAINMENT}
        assert len(pairs) > 40
        assert pairs <= candidates(texts)

    def test_a_large_family_is_found_whole(self) -> None:
        """More relatives than partners are looked at: each is still compared with the first ones."""
        rng = random.Random(1)
        words = write_words(rng, 2000)
        family = [" ".join(edited(rng, words, 0.005)) for _ in range(3 * MOST_PARTNERS)]
        assert {(0, i) for i in range(1, len(family))} <= candidates(family)

    def test_a_phrase_of_many_documents_makes_no_candidates(self) -> None:
        """A short text shows a long one a few hashes; a single one that many texts have says nothing."""
        rng = np.random.default_rng(5)
        phrase = rng.integers(0, THRESHOLD, 1, np.uint64)
        index = SketchIndex()

        def paper(n: int, below: np.uint64) -> np.ndarray:
            own = rng.integers(int(THRESHOLD), int(below), SMALLEST - 1, np.uint64)
            return np.sort(np.concatenate([phrase, own if n == SMALLEST else own % THRESHOLD]))

        for _ in range(20):  # all of a short text's hashes but one are above the threshold
            sketches = [paper(SMALLEST, np.uint64(2**62)), paper(100, np.uint64(2**62))]
            index.add(np.concatenate(sketches), np.array(list(map(len, sketches))))
        assert sum(map(len, index.candidates(np.arange(40)))) == 0

    def test_the_single_hash_of_a_shortest_text_finds_its_container(self) -> None:
        rng = random.Random(3)
        texts = [" ".join(write_words(rng, 30)) for _ in range(20)]
        assert candidates([*texts, " ".join(texts[7].split()[4:9])]) == {(7, 20)}

    @pytest.mark.parametrize("portion", ["_AT_A_TIME", "_LOOKED_UP_AT_A_TIME", "_ENTRIES_AT_A_TIME"])
    def test_portions_of_any_size_give_the_same_pairs(
        self, portion: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rng = random.Random(4)
        originals = [write_words(rng, 300) for _ in range(12)]
        texts = [" ".join(edited(rng, words, 0.01)) for words in originals for _ in range(4)]
        whole = candidates(texts)
        assert len(whole) >= 12 * 6
        monkeypatch.setattr(minhash, portion, 7)
        assert candidates(texts) == whole

    def test_all_hashes_of_several_documents_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(minhash, "_ENTRIES_AT_A_TIME", 7)
        hashes = sorted(random.Random(5).choices(range(300), k=400))
        runs = minhash._shared_runs(np.array([h << 24 | n for n, h in enumerate(hashes)], np.uint64))
        found = zip(
            (runs.key >> np.uint64(24)).tolist(), runs.first.tolist(), runs.last.tolist(), strict=True
        )
        several = [h for h, n in sorted(Counter(hashes).items()) if n > 1]
        assert list(found) == [(h, bisect_left(hashes, h), bisect_right(hashes, h)) for h in several]

    def test_the_order_of_adding_does_not_matter(self) -> None:
        rng = random.Random(2)
        texts = []
        for _ in range(30):
            words = write_words(rng, 800)
            texts += [" ".join(words), " ".join(edited(rng, words, 0.1))]
        orders = [rng.sample(range(60), 60) for _ in range(3)]
        assert len({frozenset(candidates(texts, order)) for order in orders}) == 1

    def test_documents_left_out_have_no_partners(self) -> None:
        rng = random.Random(3)
        text = " ".join(write_words(rng, 300))
        index = SketchIndex()
        add(index, [text] * 3 + [""])
        assert np.concatenate(list(index.candidates(np.array([0, 2, 3])))).tolist() == [[0, 1], [0, 1]]


class TestTasks:
    def test_every_pair_is_in_one_task_and_few_documents_are_in_each(self) -> None:
        rng = np.random.default_rng(0)
        pairs = np.unique(np.sort(rng.integers(0, 2000, (3000, 2)), axis=1), axis=0)
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        tasks = list(_batches(pairs, rng.integers(0, 20, 2000)))
        assert sorted(pair for task in tasks for pair in task) == [tuple(pair) for pair in pairs.tolist()]
        assert max(len(set(itertools.chain(*task))) for task in tasks) <= DOCUMENTS_A_TASK

    def test_each_document_of_a_family_is_read_once(self) -> None:
        """Not once for each partner: 60 documents have 1,770 pairs."""
        family = list(itertools.combinations(range(0, 600, 10), 2))
        others = [(start, start + 1) for start in range(1, 600, 10)]
        tasks = list(_batches(np.array(sorted(family + others)), np.arange(600) % 7))
        assert sum(len({*itertools.chain(*task)} & set(range(0, 600, 10))) for task in tasks) <= 2 * 60


class TestJudging:
    @pytest.mark.parametrize(
        ("matches", "dropped"),
        [
            ([(0, 1, 100, 100, 95)], {1: ("near_duplicate", 0)}),
            ([(0, 1, 100, 1000, 90)], {0: ("contained", 1)}),
            ([(0, 1, 1000, 100, 90)], {1: ("contained", 0)}),
            ([(0, 1, 100, 100, 85)], {1: ("contained", 0)}),
            ([(0, 1, 100, 1000, 79)], {}),
            ([(0, 1, 100, 100, 95), (1, 2, 100, 100, 95)], {1: ("near_duplicate", 0)}),
            ([(0, 2, 100, 100, 95), (1, 2, 100, 100, 99)], {2: ("near_duplicate", 0)}),
            (
                [(0, 1, 100, 300, 90), (1, 2, 300, 900, 290), (0, 2, 100, 900, 70)],
                {1: ("contained", 2)},
            ),
            (
                [(0, 1, 100, 100, 99), (0, 2, 100, 900, 90), (1, 2, 100, 900, 90)],
                {1: ("near_duplicate", 0), 0: ("contained", 2)},
            ),
        ],
        ids=[
            "earlier-stays",
            "container-stays",
            "later-chapter",
            "of-equal-size",
            "related-only",
            "chain-not-passed-on",
            "earliest-stands-for-it",
            "container-that-is-dropped-stands-for-none",
            "near-first",
        ],
    )
    def test_each_rule_drops_what_it_names(
        self, matches: list[tuple[int, ...]], dropped: dict[int, tuple[str, int]]
    ) -> None:
        found = judge([Match(*match) for match in matches], True, True)
        assert {document: duplicate[:2] for document, duplicate in found.items()} == dropped

    def test_each_rule_can_be_switched_off(self) -> None:
        matches = [Match(0, 1, 100, 100, 95), Match(2, 3, 100, 1000, 95)]
        assert judge(matches, near=False, contained=False) == {}
        assert [d.reason for d in judge(matches, near=True, contained=False).values()] == ["near_duplicate"]
        assert {d.reason for d in judge(matches, near=False, contained=True).values()} == {"contained"}

    def test_laws_on_random_likenesses(self) -> None:
        """Of two duplicates one goes; who stands for a near-duplicate is none, who contains one stays."""
        for seed in range(200):
            rng = random.Random(seed)
            size = [rng.choice([100, 100, 110, 130, 400]) for _ in range(12)]
            matches = []
            for one, two in itertools.combinations(range(12), 2):
                if rng.random() < 0.4:
                    both = round(min(size[one], size[two]) * rng.uniform(0.5, 1))
                    matches.append(Match(one, two, size[one], size[two], both))
            dropped = judge(rng.sample(matches, len(matches)), True, True)
            assert dropped == judge(matches, True, True)
            for match in matches:
                if match.containment >= MIN_CONTAINMENT:
                    assert match.one in dropped or match.two in dropped, (seed, match)
            for number, (reason, of, similarity) in dropped.items():
                assert similarity >= (MIN_JACCARD if reason == "near_duplicate" else MIN_CONTAINMENT)
                if reason == "contained":
                    assert of not in dropped
                    assert size[of] >= size[number]
                else:
                    assert dropped.get(of, ("contained",))[0] == "contained"
                    assert of < number

    def test_connected_components_of_a_graph(self) -> None:
        edges = [(1, 5), (7, 2), (5, 9), (2, 3), (4, 4)]
        assert sorted(connected_components(edges)) == [[1, 5, 9], [2, 3, 7], [4]]

    def test_first_of_equal_keys(self) -> None:
        keys = np.array([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4], [1, 2]], np.uint64)
        assert sorted(equal_keys(keys)) == [(2, 0), (4, 1), (5, 0)]
        assert equal_keys(keys[:0]) == []


@pytest.mark.parametrize(
    ("one", "two", "equal"),
    [
        ("A theorem.", "a  Theorem", True),
        ("$x_1$ and y", "$ x_{1} $\nand y", True),
        ("$x_1$", "$x_2$", False),
        ("Zoë – É", "zoëé", True),
        ("Zoë", "Zoe", False),
    ],
)
def test_texts_are_equal_but_for_blanks_case_and_punctuation(one: str, two: str, equal: bool) -> None:
    assert (text_key(word_bytes(one)) == text_key(word_bytes(two))) is equal


# ---------------------------------------------------------------- the stage


def _planted() -> tuple[list[dict[str, object]], dict[str, tuple[str, str]]]:
    """Rows, and for those to be dropped (reason, who stands for them)."""
    rng = random.Random(7)
    rows, expected = [], {}

    def paper(paper_id: str, words: list[str], created: str) -> None:
        rows.append(document(paper_id, " ".join(words), created=created))

    for i in range(8):
        words = write_words(rng, 1500)
        paper(f"0704.{i:04}", words, "2007-04-10")
        paper(f"0705.{i:04}", edited(rng, words, 0.01), f"2007-0{3 + i % 3}-01")
        # The earlier first version stays, whatever the ids.
        late, early = (0, 1) if i % 3 < 2 else (1, 0)
        pair = (f"0704.{i:04}", f"0705.{i:04}")
        expected[pair[late]] = ("near_duplicate", pair[early])
    for i in range(6):
        words = write_words(rng, 1000)
        paper(f"0706.{i:04}", words, "2007-06-01")
        paper(f"0707.{i:04}", [word.upper() for word in words], "2007-06-01")
        expected[f"0707.{i:04}"] = ("exact_duplicate", f"0706.{i:04}")
    chapters = [write_words(rng, 1200) for _ in range(6)]
    paper("0708.9999", [word for chapter in chapters for word in chapter], "2007-08-01")
    for i, chapter in enumerate(chapters):
        paper(f"0708.{i:04}", edited(rng, chapter, 0.01), f"2007-0{7 + i % 3}-01")
        expected[f"0708.{i:04}"] = ("contained", "0708.9999")
    words = write_words(rng, 1200)
    paper("0709.0001", words, "2007-09-01")
    paper("0709.0002", with_other_ending(rng, words, 0.4), "2007-09-02")  # a relative: both stay
    for i in range(30):
        paper(f"0710.{i:04}", write_words(rng, 600), "2007-10-01")
    return rows, expected


def _write(folder: Path, rows: list[dict[str, object]], n_shards: int) -> None:
    for k in range(n_shards):
        write_parts(folder, f"t{k}", rows[k::n_shards])


def _outcome(folder: Path) -> dict[str, tuple[str, str]]:
    """(reason, detail) of every document."""
    return {
        row["id"]: (row["reason"], row["detail"])
        for path in (folder / "ledger/main/deduplicate").glob("*.parquet")
        for row in read_rows(path)
    }


def test_planted_duplicates_and_nothing_else(tmp_path: Path) -> None:
    rows, expected = _planted()
    _write(tmp_path, rows, 3)
    assert "near_duplicate 8" in run_stage("deduplicate", "--data", tmp_path)
    outcome = _outcome(tmp_path)
    found = {i: (reason, detail.partition(":")[0]) for i, (reason, detail) in outcome.items() if reason}
    assert found == expected
    text = {row["id"]: str(row["text"]) for row in rows}
    for paper_id, (reason, of) in expected.items():
        measured = float(outcome[paper_id][1].split()[-1])
        if reason != "exact_duplicate":
            exact = likeness(text[paper_id], text[of])[reason == "contained"]
            assert measured == pytest.approx(exact, abs=0.0006)

    # The relatives stay, in one component; so do those whose twins were dropped.
    component = {
        row["id"]: row["component"] for path in (tmp_path / DONE).glob("*.parquet") for row in read_rows(path)
    }
    assert component["0709.0002"] == component["0709.0001"] == "0709.0001"
    assert component["0705.0001"] == "0704.0001"
    assert component["0710.0003"] == "0710.0003"
    relatives = json.loads((tmp_path / DONE / "relatives.json").read_text())
    assert relatives["0709.0001"] == ["0709.0001", "0709.0002"]
    assert len(relatives["0708.0000"]) == 7

    assert "finished, not made again" in run_stage("deduplicate", "--data", tmp_path)


def test_order_shards_and_workers_do_not_matter(tmp_path: Path) -> None:
    rows, _ = _planted()
    for name, n_shards, workers in (("one", 1, 1), ("five", 5, 2)):
        _write(tmp_path / name, random.Random(workers).sample(rows, len(rows)), n_shards)
        run_script("preprocess/deduplicate.py", "--data", tmp_path / name, "--workers", workers)
    assert _outcome(tmp_path / "one") == _outcome(tmp_path / "five")
    one, five = ((tmp_path / name / DONE / "relatives.json").read_text() for name in ("one", "five"))
    assert one == five


def test_rules_are_switched_off_one_by_one(tmp_path: Path) -> None:
    rows, _ = _planted()
    _write(tmp_path, rows, 1)
    off = ["exact=false", "near=false", "contained=false"]
    for flags, reasons in (
        (off, set()),
        (off[1:], {"exact_duplicate"}),
        (off[:1], {"near_duplicate", "contained"}),
    ):
        run_stage("deduplicate", "--data", tmp_path, *flags)
        assert {reason for reason, _ in _outcome(tmp_path).values() if reason} == reasons


def test_texts_without_ngrams_and_empty_shards_pass(tmp_path: Path) -> None:
    write_parts(tmp_path, "t0", [])
    write_parts(tmp_path, "t1", [document("1", ""), document("2", "a b")])
    run_stage("deduplicate", "--data", tmp_path)
    assert ledger(tmp_path, "deduplicate") == {"1": "kept", "2": "kept"}


def test_corpus_wide_stage_refuses_to_be_divided(tmp_path: Path) -> None:
    write_parts(tmp_path, "t", [document("0704.0001")])
    failed = run_script("preprocess/deduplicate.py", "--data", tmp_path, "--shard", "0/2", check=False)
    assert failed.returncode == 2
    assert "as one task" in failed.stderr
