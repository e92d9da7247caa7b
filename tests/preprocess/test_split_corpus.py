"""split_corpus: whole components, sticky when the corpus grows, no validation paper in training."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.loader import UserError
from configs.stages import parts_after
from preprocess.dedup.ngram_index import NgramIndex
from preprocess.dedup.overlap import Overlap, judge
from preprocess.pipeline.shard import read_rows
from preprocess.split_corpus import Paper, SplitCorpusConfig, choose_validation
from tests.conftest import run_script
from tests.support.corpus import document, ledger, run_stage, write_parts
from tests.support.duplicates import held, with_other_ending, write_words

AFTER = "corpus/main/split_corpus"
BOOKS = "ledger/main/split_corpus"
FEW = ("min_val_papers=3", "val_share=0.1")


def split(folder: Path, rows: list[dict[str, Any]], n_shards: int = 2) -> None:
    """Deduplicate and split; shards of an earlier call stay where they are."""
    for k in range(n_shards):
        write_parts(folder, f"t{len(rows)}_{k}", rows[k::n_shards])
    run_stage("deduplicate", "--data", folder)
    run_stage("split_corpus", "--data", folder, *FEW)


def splits(folder: Path) -> dict[str, str]:
    """train or val of every document that is left."""
    return {row["id"]: row["split"] for path in (folder / AFTER).glob("*.parquet") for row in read_rows(path)}


def validation(folder: Path) -> set[str]:
    """Ids of the validation papers."""
    return {paper_id for paper_id, name in splits(folder).items() if name == "val"}


def texts(folder: Path) -> dict[str, str]:
    """Text of every document that is left."""
    return {row["id"]: row["text"] for path in (folder / AFTER).glob("*.parquet") for row in read_rows(path)}


def papers(prefix: str, n: int, seed: int, domain: str = "math", **values: Any) -> list[dict[str, Any]]:
    """Papers that have nothing in common."""
    rng = random.Random(seed)
    return [
        document(f"{prefix}.{i:04}", " ".join(write_words(rng, 200)), domain=domain, **values)
        for i in range(n)
    ]


def corpus(seed: int = 0) -> list[dict[str, Any]]:
    """Fifty papers of mathematics, thirty of cs."""
    return papers("0704", 50, seed) + papers("0705", 30, seed + 1, "cs")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of the stage."""
    return {str(path): path.read_bytes() for name in (AFTER, BOOKS) for path in (folder / name).iterdir()}


def test_each_domain_has_its_share_whatever_shards_and_workers(tmp_path: Path) -> None:
    rows = corpus()
    split(tmp_path / "one", rows, 1)
    split(tmp_path / "three", rows[::-1], 3)
    one = splits(tmp_path / "one")
    assert one == splits(tmp_path / "three")
    shutil.rmtree(tmp_path / "three" / AFTER)
    run_script("preprocess/split_corpus.py", "--data", tmp_path / "three", "--workers", 2, *FEW)
    assert one == splits(tmp_path / "three")
    domain = {row["id"]: row["domain"] for row in rows}
    assert Counter(domain[i] for i, name in one.items() if name == "val") == {"math": 5, "cs": 3}


def test_too_few_papers_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="min_val_papers"):
        split(tmp_path, papers("0704", 2, 0))


class TestChoice:
    def _components(self, *sizes: int) -> dict[str, list[Paper]]:
        names = [f"{i:02}" for i in range(len(sizes))]
        return {
            n: [Paper(f"{n}.{k}", "cs") for k in range(size)] for n, size in zip(names, sizes, strict=True)
        }

    def test_components_are_taken_whole_and_large_ones_passed_over(self) -> None:
        components = self._components(*[1, 2, 3, 9] * 5)
        config = SplitCorpusConfig(val_share=0.1, min_val_papers=7)
        chosen, dropped = choose_validation(components, {}, set(), config)
        whole = [component for component, papers in components.items() if {p.id for p in papers} & chosen]
        assert chosen == {paper.id for component in whole for paper in components[component]}
        assert len(chosen) == round(0.1 * 75) == 8
        assert max(len(components[component]) for component in whole) < 9
        assert not dropped

    @pytest.mark.parametrize("seed", range(5))
    def test_choosing_again_gives_the_same(self, seed: int) -> None:
        """What a run that was killed after it had written its choice relies on."""
        rng = random.Random(seed)
        components = self._components(*rng.choices([1, 1, 2, 3, 5], k=60))
        config = SplitCorpusConfig(val_share=0.1, min_val_papers=4, seed=seed)
        earlier = {paper.id for some in components.values() for paper in some if rng.random() < 0.05}
        chosen, dropped = choose_validation(components, {}, earlier, config)
        assert earlier <= chosen
        assert choose_validation(components, {}, chosen, config) == (chosen, dropped)

    def test_seeds_choose_differently(self) -> None:
        components = self._components(*[1] * 100)
        chosen = [choose_validation(components, {}, set(), SplitCorpusConfig(seed=s))[0] for s in (0, 1)]
        assert chosen[0] != chosen[1]


Grown = tuple[Path, set[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """(folder, the validation papers of the small corpus, new rows about them)."""
    folder = tmp_path_factory.mktemp("grown")
    split(folder, corpus())
    before = validation(folder)
    rng = random.Random(3)
    text = {paper_id: some.split() for paper_id, some in texts(folder).items()}
    rows = papers("0801", 60, 9) + papers("0802", 10, 10, "cs")
    relative, copied, replaced, *cut = sorted(before)
    words = (
        ("0803.0001", "2008-03-01", with_other_ending(rng, text[relative], 0.35)),
        ("0803.0002", "2008-03-01", with_other_ending(rng, text[copied], 0.02)),
        # Older than the validation paper: deduplication keeps it instead, in a component of another name.
        ("0701.0001", "2007-01-01", with_other_ending(rng, text[replaced], 0.02)),
        ("0803.0010", "2008-03-01", write_words(rng, 300) + text[cut[0]][:50]),
        ("0803.0011", "2008-03-01", write_words(rng, 300) + text[cut[0]][50:120]),
        ("0803.0012", "2008-03-01", write_words(rng, 300) + text[cut[0]][120:]),
        ("0803.0013", "2008-03-01", write_words(rng, 300) + text[cut[1]][:70]),
    )
    rows += [document(paper_id, " ".join(some), created=created) for paper_id, created, some in words]
    split(folder, rows)
    return folder, before, rows


class TestGrowth:
    def test_validation_papers_stay(self, grown: Grown) -> None:
        folder, before, _ = grown
        replaced = sorted(before)[2]
        now = validation(folder)
        assert before - {replaced} <= now
        assert "0701.0001" in now, "what deduplication keeps in its place is validation"
        assert ledger(folder, "deduplicate")[replaced] == "near_duplicate"
        assert len(now) == 12 + 4, "a tenth of 115 and of 40"

    def test_new_relatives_are_dropped(self, grown: Grown) -> None:
        folder, before, _ = grown
        verdicts = ledger(folder, "split_corpus")
        assert verdicts["0803.0001"] == "val_duplicate"
        assert ledger(folder, "deduplicate")["0803.0002"] == "near_duplicate"
        # A quarter of one may stay; with the second part, or with the third, it would be too much.
        parts = [verdicts[f"0803.001{k}"] for k in range(4)]
        assert parts == ["kept", "val_duplicate", "val_duplicate", "kept"]
        shards = (folder / BOOKS).glob("*.parquet")
        rows = [row for path in shards for row in read_rows(path) if row["reason"]]
        assert {row["id"] for row in rows} == {"0803.0001", "0803.0011", "0803.0012"}
        assert {row["detail"].partition(":")[0] for row in rows} <= before

    def test_no_validation_paper_is_half_in_training(self, grown: Grown) -> None:
        folder, _, rows = grown
        text, val = texts(folder), validation(folder)
        training = [text[i] for i in text if i not in val]
        shares = [held(text[i], training) for i in val]
        assert max(shares) <= 0.5
        assert max(shares) > 0.2, "a quarter may stay in training"
        everything = training + [str(row["text"]) for row in rows]
        assert max(held(text[i], everything) for i in val) > 0.9, "without the rule it would be"

    def test_another_run_and_a_killed_one_give_the_same_bytes(self, grown: Grown) -> None:
        folder, _, _ = grown
        before = bytes_of(folder)
        assert "not made again" in run_stage("split_corpus", "--data", folder, *FEW)
        # Killed after the choice, in the middle of the shards.
        (folder / BOOKS / "_DONE.json").unlink()
        next((folder / AFTER).glob("*.parquet")).unlink()
        (folder / BOOKS / ".validation/of-other-inputs").mkdir(parents=True)
        run_stage("split_corpus", "--data", folder, *FEW)
        assert bytes_of(folder) == before

    @pytest.mark.parametrize("order", [(1, 0), (2, 0, 1)], ids=["two", "three"])
    def test_tasks_of_an_array_give_the_same_bytes(
        self, grown: Grown, tmp_path: Path, order: tuple[int, ...]
    ) -> None:
        """Each round in another order. Of the second round a task is killed, and another one runs twice."""
        before = bytes_of(grown[0])
        folder = tmp_path / "d"
        shutil.copytree(grown[0], folder)
        shutil.rmtree(folder / AFTER)
        (folder / BOOKS / "_DONE.json").unlink()
        done = folder / BOOKS / "_DONE.json"
        for number, tasks in enumerate((order, order[::-1], order)):
            if number == 2:
                next((folder / BOOKS / ".validation").glob("*/overlaps/*.npz")).unlink()
                tasks = (*tasks, *tasks)
            for i in tasks:
                run_stage("split_corpus", "--data", folder, *FEW, "--shard", f"{i}/{len(order)}")
                n_shards = len(list((folder / AFTER).glob("*.parquet")))
                assert done.exists() == (n_shards == len(list((folder / BOOKS).glob("*.parquet"))) > 0)
        assert {name.replace(str(folder), ""): some for name, some in bytes_of(folder).items()} == {
            name.replace(str(grown[0]), ""): some for name, some in before.items()
        }

    def test_a_single_task_ends_what_an_array_began(self, grown: Grown, tmp_path: Path) -> None:
        before = bytes_of(grown[0])
        folder = tmp_path / "d"
        shutil.copytree(grown[0], folder)
        (folder / BOOKS / "_DONE.json").unlink()
        shutil.rmtree(folder / AFTER)
        said = run_stage("split_corpus", "--data", folder, *FEW, "--shard", "1/2")
        assert "start the array again" in said
        run_script("preprocess/split_corpus.py", "--data", folder, "--workers", 2, *FEW)
        assert list(bytes_of(folder).values()) == list(before.values())


def test_a_validation_paper_that_many_papers_quote_is_left_out(tmp_path: Path) -> None:
    """Each of them holds less than a fiftieth of it, which counts as a phrase."""
    split(tmp_path, corpus())
    quoted, rng = min(validation(tmp_path)), random.Random(8)
    words = texts(tmp_path)[quoted].split()
    quotes = [" ".join(write_words(rng, 300) + words[k : k + 10]) for k in range(0, len(words) - 10, 3)]
    split(tmp_path, [document(f"0801.{k:04}", text) for k, text in enumerate(quotes)])
    assert ledger(tmp_path, "split_corpus")[quoted] == "val_contained"


def test_another_seed_forgets_the_earlier_choice(tmp_path: Path) -> None:
    split(tmp_path, corpus())
    before = validation(tmp_path)
    run_stage("split_corpus", "--data", tmp_path, *FEW, "seed=1")
    assert len(validation(tmp_path)) == len(before)
    assert validation(tmp_path) != before


def test_a_variant_validates_on_the_papers_of_its_base(tmp_path: Path) -> None:
    """Without deduplication, copies of main's validation papers are dropped from the variant's training."""
    rows = corpus()
    split(tmp_path, rows)
    chosen = validation(tmp_path)
    copies = [
        row | {"id": f"0709.{k:04}"} for k, row in enumerate(row for row in rows if row["id"] in chosen)
    ]
    variant = tmp_path / "corpus/broad"  # whose stages all differ from main's
    for stage in parts_after("filter_quality"):
        shutil.copytree(tmp_path / "corpus/main" / stage, variant / stage)
    write_parts(tmp_path, "copies", papers("0708", 100, 5) + copies, variant="broad")
    flags = ("--data", tmp_path, "--variant", "broad")
    run_stage("deduplicate", *flags, "exact=false", "near=false", "contained=false")
    run_stage("split_corpus", *flags, *FEW)
    verdicts = ledger(tmp_path, "split_corpus", "broad")
    assert {i for i, verdict in verdicts.items() if verdict == "val_duplicate"} == {
        row["id"] for row in copies
    }
    memory = json.loads((tmp_path / "ledger/broad/split_corpus/validation.json").read_text())
    assert chosen < set(memory["papers"])


def test_a_variant_before_its_base_is_refused(tmp_path: Path) -> None:
    """Alone, `broad` would choose validation papers of its own, on which `main` would train."""
    flags = ("--data", tmp_path, "--variant", "broad")
    write_parts(tmp_path, "t", corpus(), variant="broad")
    run_stage("deduplicate", *flags)
    with pytest.raises(UserError, match=r"validation papers .* of corpus 'main', .* VARIANT=main first"):
        run_stage("split_corpus", *flags, *FEW)
    assert not (tmp_path / "corpus/broad/split_corpus").exists()


def test_an_ngram_that_a_text_repeats_is_found_once() -> None:
    index = NgramIndex.of_sets([np.array([3, 5], np.uint64), np.array([5, 9], np.uint64)])
    found = index.find(np.array([9, 5, 7, 5, 9, 9], np.uint64))
    assert index.hashes[found].tolist() == [5, 5, 9]
    assert index.passages[found].tolist() == [0, 1, 1]


def test_a_validation_paper_of_common_phrases_is_left_out() -> None:
    """60 of its 100 n-grams stand in training, in papers that have too little of it to be dropped."""
    index = NgramIndex.of_sets([np.arange(100, dtype=np.uint64), np.arange(100, 200, dtype=np.uint64)])
    in_phrases = (index.hashes < 60) | ((index.hashes >= 100) & (index.hashes < 110))
    overlaps = [
        Overlap("t1", 0, np.arange(5)),
        Overlap("t2", 1, np.arange(100, 150)),
        Overlap("t3", 1, np.arange(140, 160)),
    ]
    verdicts = judge(["v0", "v1"], index, in_phrases, overlaps)
    assert {i: verdict.reason for i, verdict in verdicts.items()} == {
        "v0": "val_contained",
        "t2": "val_duplicate",
    }
    assert "0.600" in verdicts["v0"].detail
    assert verdicts["t2"].detail.startswith("v1: holds 0.500")
