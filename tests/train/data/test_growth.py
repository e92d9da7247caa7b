"""How a set of token shards differs from an earlier one, in words."""

import pytest

from train.data.growth import describe_shards

BEFORE = {"train/cs/a": "1", "train/math/a": "2", "train/math/b": "3"}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param(BEFORE | {"train/cs/c": "4"}, "1 added: train/cs/c; 3 shards as before", id="grown"),
        pytest.param(BEFORE | {"train/cs/a": "9"}, "1 changed: train/cs/a; 2 shards as before", id="changed"),
        pytest.param(
            {"train/math/b": "3", "train/math/c": "5"},
            "1 added: train/math/c; 2 removed: train/cs/a, train/math/a; 1 shards as before",
            id="replaced",
        ),
        pytest.param(
            BEFORE | {f"train/cs/{name}": "4" for name in "fedcb"},
            "5 added: train/cs/b, train/cs/c, train/cs/d, …; 3 shards as before",
            id="many",
        ),
    ],
)
def test_words(after: dict[str, str], words: str) -> None:
    assert describe_shards(BEFORE, after) == words
