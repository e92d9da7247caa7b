"""A corpus that grows by a month at a time: only what is new is made; it ends as if all had come at once."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from configs.stages import CORPUS_STAGES, TABLE
from preprocess.pipeline.identifiers import month_of
from preprocess.pipeline.manifest import MANIFEST
from preprocess.pipeline.shard import content_hash, read_rows
from preprocess.sample_corpus import make_sample
from preprocess.tokenizer.growth import count_added
from tests.support.corpus import run_stage
from train.data.shards import open_tokens

MONTHS = ("0704", "1207", "1501")
VALUES = {
    "split_corpus": ("min_val_papers=2",),
    "train_tokenizer": ("vocab_size=700", "allow_smaller=true"),
}


@dataclass
class Step:
    """The corpus after a month has come."""

    said: dict[str, str]  # by stage
    stamps: dict[str, int]  # by file below the data root
    validation: set[str]
    fingerprint: str  # of the training tokens


@pytest.fixture(scope="module")
def arrive(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, tuple[str, ...]], Step]:
    """Lets months come to a data root and runs all stages."""
    files = make_sample(seed=0, n_papers=96).files
    lines = files["metadata.json"].splitlines(keepends=True)

    def arrive(data: Path, months: tuple[str, ...]) -> Step:
        src = data / "raw/src"
        src.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = data / "raw" / name
            if name.endswith(".tar") and name[14:18] in months and not path.exists():
                path.write_bytes(content)
        (src / MANIFEST).write_bytes(files[f"src/{MANIFEST}"])
        chosen = [line for line in lines if (month_of(line.decode().split('"')[3]) or "") in months]
        (data / "raw/metadata.json").write_bytes(b"".join(chosen))
        said = {
            stage.name: run_stage(stage.name, "--data", data, *VALUES.get(stage.name, ())) for stage in TABLE
        }
        made = [
            path
            for kind in ("corpus", "ledger", "tokens", "tokenizers")
            for path in (data / kind).rglob("*.*")
        ]
        stamps = {str(path.relative_to(data)): path.stat().st_mtime_ns for path in made}
        validation = {row["id"] for row in rows(data, "split_corpus") if row["split"] == "val"}
        return Step(said, stamps, validation, open_tokens(data, "main", "main", "train").fingerprint)

    return arrive


def rows(data: Path, stage: str) -> list[dict[str, str]]:
    """The documents of a stage, in order."""
    return [
        row for path in sorted((data / "corpus/main" / stage).glob("*.parquet")) for row in read_rows(path)
    ]


@pytest.fixture(scope="module")
def grown(
    arrive: Callable[[Path, tuple[str, ...]], Step], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Step]]:
    """(data root, the corpus after each month)."""
    data = tmp_path_factory.mktemp("grown")
    return data, [arrive(data, MONTHS[:n]) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def at_once(
    arrive: Callable[[Path, tuple[str, ...]], Step], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Step]:
    """(data root, the corpus) where all months came together."""
    data = tmp_path_factory.mktemp("at_once")
    return data, arrive(data, MONTHS)


def test_a_shard_of_an_earlier_month_is_made_once(grown: tuple[Path, list[Step]]) -> None:
    _, steps = grown
    per_tar = [stage.name for stage in TABLE if stage.kind in ("metadata", "shards")]
    for before, after in pairwise(steps):
        for stage in per_tar:
            old = {name: stamp for name, stamp in before.stamps.items() if f"/main/{stage}/" in name}
            old = {name: stamp for name, stamp in old.items() if not name.endswith("_TARS.json")}
            assert old
            assert old.items() <= after.stamps.items(), stage


def test_all_stages_before_the_split_end_as_if_all_had_come_at_once(
    grown: tuple[Path, list[Step]], at_once: tuple[Path, Step]
) -> None:
    for stage in CORPUS_STAGES[:-1]:
        shards = {
            path.name: content_hash(path) for path in (at_once[0] / "corpus/main" / stage).glob("*.parquet")
        }
        assert {
            path.name: content_hash(path) for path in (grown[0] / "corpus/main" / stage).glob("*.parquet")
        } == shards, stage


def test_validation_papers_stay_and_are_the_only_difference(
    grown: tuple[Path, list[Step]], at_once: tuple[Path, Step]
) -> None:
    data, steps = grown
    assert steps[0].validation <= steps[1].validation <= steps[2].validation
    assert len(steps[0].validation) > 0
    fields = ("id", "domain", "text")
    both = [
        {row["id"]: tuple(row[field] for field in fields) for row in rows(root, "split_corpus")}
        for root in (data, at_once[0])
    ]
    # What one of them lacks was too close to validation papers that the other does not have.
    assert all(both[0][paper_id] == both[1][paper_id] for paper_id in both[0].keys() & both[1].keys())
    assert len(both[0].keys() ^ both[1].keys()) <= len(steps[2].validation ^ at_once[1].validation)


def test_the_tokenizer_and_the_token_shards_stay(grown: tuple[Path, list[Step]]) -> None:
    _, steps = grown
    for before, after in pairwise(steps):
        assert "the corpus has only grown" in after.said["train_tokenizer"]
        tokenizer = {name: s for name, s in before.stamps.items() if name.startswith("tokenizers/")}
        assert tokenizer.items() <= after.stamps.items()
        shards = {name: s for name, s in before.stamps.items() if name.endswith((".bin", ".idx.parquet"))}
        kept = shards.items() & after.stamps.items()
        # Those whose documents a new paper dropped, or joined to another component, are made again.
        assert len(kept) >= len(shards) / 2
        assert before.fingerprint != after.fingerprint
        assert after.stamps.keys() > before.stamps.keys()


def test_the_same_months_again_make_nothing(
    arrive: Callable[[Path, tuple[str, ...]], Step], grown: tuple[Path, list[Step]], tmp_path: Path
) -> None:
    data = shutil.copytree(grown[0], tmp_path / "data", copy_function=shutil.copy2)
    assert arrive(data, MONTHS).stamps == grown[1][-1].stamps


@pytest.mark.parametrize(
    ("recipe", "cleaned", "n_added"),
    [
        pytest.param("r", {"a": "1", "b": "2", "c": "3"}, 1, id="a_shard_more"),
        pytest.param("r", {"a": "1", "b": "2"}, 0, id="the_same"),
        pytest.param("r", {"a": "1", "b": "other", "c": "3"}, 0, id="another_text"),
        pytest.param("r", {"a": "1", "c": "3", "d": "4"}, 0, id="a_shard_less"),
        pytest.param("other", {"a": "1", "b": "2", "c": "3"}, 0, id="another_recipe"),
    ],
)
def test_a_corpus_has_only_grown_if_all_else_is_the_same(
    recipe: str, cleaned: dict[str, str], n_added: int
) -> None:
    assert count_added({"recipe_hash": "r", "cleaned": {"a": "1", "b": "2"}}, recipe, cleaned) == n_added
    assert count_added({}, recipe, cleaned) == 0
