"""Corpora of runs and of other pipelines: one rule each, equal stages shared, validation papers apart."""

import csv
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from configs.loader import CONFIGS, Config, UserError
from configs.stages import CORPUS_STAGES
from preprocess.pipeline import job
from preprocess.pipeline.shard import read_rows
from tests.conftest import run_script
from tests.support.corpus import ledger, run_stage

# The first stage that a variant computes by itself; from there on it has folders of its own.
FIRST = {
    "run01": "normalize_text",
    "run02": "normalize_text",
    "run03": "deduplicate",
    "run04": "filter_quality",
    "run05": "extract_latex",
    "run22": "filter_quality",
    "redpajama": "extract_latex",
    "proof_pile": "extract_latex",
    "pes2o": "normalize_text",
}
OTHER_TEXT = ("run01", "run02", "run05", "redpajama", "proof_pile", "pes2o")


def _job(variant: str, stage: str, scale: str = "full") -> job.Job:
    recipes = tuple(job._recipes(CONFIGS / "corpus.yaml", scale, variant))
    here = Path("d")
    return job.Job(stage, here, variant, scale, here, here, (0, 1), 1, recipes, {})


def _model(stage: str) -> type[Config]:
    name = "".join(part.capitalize() for part in stage.split("_")) + "Config"
    return getattr(import_module(f"preprocess.{stage}"), name)


@pytest.mark.parametrize("variant", sorted(p.stem for p in (CONFIGS / "corpora").glob("*.yaml")))
@pytest.mark.parametrize("stage", CORPUS_STAGES)
def test_recipe_is_valid_for_every_stage(variant: str, stage: str) -> None:
    _job(variant, stage).config(_model(stage))


@pytest.mark.parametrize("variant", ["main", *FIRST])
def test_a_scale_sets_its_keys_in_main_and_in_all_variants(variant: str) -> None:
    for stage, key, value in (
        ("filter_metadata", "categories", "broad"),
        ("split_corpus", "min_val_papers", 2),
    ):
        full, mini = (_job(variant, stage, scale).config(_model(stage)) for scale in ("full", "mini"))
        assert getattr(mini, key) == value
        assert mini.model_copy(update={key: getattr(full, key)}) == full


@pytest.mark.parametrize(("variant", "first"), FIRST.items())
def test_stages_before_the_difference_are_shared(variant: str, first: str) -> None:
    at = CORPUS_STAGES.index(first)
    homes = {stage: _job(variant, first).corpus(stage).parent.name for stage in CORPUS_STAGES}
    assert {homes[stage] for stage in CORPUS_STAGES[:at]} <= {"main"}
    assert {homes[stage] for stage in CORPUS_STAGES[at:]} == {variant}


def test_a_variant_has_its_own_folders_from_where_it_differs_and_main_has_its_own() -> None:
    made = _job("broad", "extract_latex")
    assert made.corpus("filter_metadata") == Path("d/corpus/broad/filter_metadata")
    assert made.corpus("extract_latex") == Path("d/corpus/broad/extract_latex")
    assert _job("main", "extract_latex").corpus("normalize_text") == Path("d/corpus/main/normalize_text")


def test_the_ledger_of_a_shared_stage_is_shared() -> None:
    made = _job("run03", "deduplicate")
    assert made.ledger("filter_quality") == Path("d/ledger/main/filter_quality")
    assert made.ledger("deduplicate") == Path("d/ledger/run03/deduplicate")


def test_bases_in_a_circle_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora/a.yaml").write_text("base: b\n")
    (tmp_path / "corpora/b.yaml").write_text("base: a\n")
    monkeypatch.setattr(job, "CONFIGS", tmp_path)
    with pytest.raises(UserError, match="circle"):
        _job("a", "deduplicate")


def _run(data: Path, variant: str, *stages: str) -> None:
    for stage in stages:
        # The planted papers alone are few: two of each domain are set aside.
        few = ("min_val_papers=2",) if stage == "split_corpus" else ()
        run_stage(stage, "--data", data, "--variant", variant, *few)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("variants")
    run_script("preprocess/sample_corpus.py", "--out", data / "raw", "--papers", 24)
    _run(data, "main", *CORPUS_STAGES)
    for variant, first in FIRST.items():
        _run(data, variant, *CORPUS_STAGES[CORPUS_STAGES.index(first) :])
    return data


def _rows(data: Path, variant: str, stage: str = "split_corpus") -> dict[str, dict[str, Any]]:
    shards = (data / "corpus" / variant / stage).glob("*.parquet")
    return {row["id"]: row for path in shards for row in read_rows(path)}


@pytest.mark.slow
class TestOnTheSample:
    def test_only_the_stages_that_differ_are_written(self, data: Path) -> None:
        for variant, first in FIRST.items():
            written = {path.name for path in (data / "corpus" / variant).iterdir()}
            assert written == set(CORPUS_STAGES[CORPUS_STAGES.index(first) :]), variant

    def test_one_rule_is_switched(self, data: Path) -> None:
        """What each variant has that main has not, or the other way round."""
        main = _rows(data, "main")
        texts = {variant: _rows(data, variant) for variant in FIRST}
        changed = {
            v: {i for i in main.keys() & rows if rows[i]["text"] != main[i]["text"]}
            for v, rows in texts.items()
        }
        assert {v: bool(changed[v]) for v in FIRST} == {v: v in OTHER_TEXT for v in FIRST}
        assert sum("\\documentclass" in texts["run01"][i]["text"] for i in changed["run01"]) > 20
        dropped = {variant: main.keys() - rows for variant, rows in texts.items()}
        assert not dropped["run02"] | dropped["run03"] | dropped["run04"]
        assert dropped["run22"]
        with (data / "raw/planted.tsv").open(newline="") as file:
            planted = {row["id"]: row["stage"] for row in csv.DictReader(file, delimiter="\t")}
        assert {planted.get(i) for i in texts["run03"].keys() - main.keys()} == {"deduplicate"}
        assert {planted.get(i) for i in texts["run04"].keys() - main.keys()} == {"filter_quality"}
        assert "single_file" in ledger(data, "extract_latex", "run05").values()

    def test_no_variant_trains_on_a_validation_paper_of_main(self, data: Path) -> None:
        validation = {paper_id for paper_id, row in _rows(data, "main").items() if row["split"] == "val"}
        assert validation
        for variant in FIRST:
            train = {i for i, row in _rows(data, variant).items() if row["split"] == "train"}
            assert not train & validation, variant
