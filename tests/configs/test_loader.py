"""Configuration: defaults < YAML < key=value, and errors that name file and key."""

from pathlib import Path

import pytest
from pydantic import Field

from configs.loader import Config, UserError, merge, parse_overrides, read_yaml, validate


class _Inner(Config):
    rate: float = 0.5


class _Outer(Config):
    steps: int = Field(10, gt=0)
    inner: _Inner = _Inner()


def test_command_line_goes_over_yaml_goes_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("steps: 20\ninner: {rate: 2e-4}\n")
    config = validate(_Outer, merge(read_yaml(file), parse_overrides(["inner.rate=1e-3"])), str(file))
    assert (config.steps, config.inner.rate) == (20, 1e-3)
    assert _Outer().steps == 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepz: 3", "stepz: unknown key; known: inner, steps"),
        ("inner: {rte: 1}", "inner.rte: unknown key; known: rate"),
        ("steps: many", "steps: "),
        ("steps: 0", "steps: Input should be greater than 0"),
        ("inner: {rate: .inf}", "inner.rate: Input should be a finite number"),
        ("inner: {rate: .nan}", "inner.rate: Input should be a finite number"),
        ("steps: 1\nsteps: 2", "key 'steps' is given twice"),
        ("- 1", "a mapping of keys to values is expected"),
        ("steps: [", "line 1"),
    ],
    ids=[
        "unknown",
        "unknown-nested",
        "type",
        "impossible",
        "infinite",
        "nan",
        "twice",
        "no-mapping",
        "no-yaml",
    ],
)
def test_error_names_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        validate(_Outer, read_yaml(file), str(file))
    assert "broken.yaml" in str(error.value)
    assert says in str(error.value)


def test_missing_file_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "run20.yaml").write_text("")
    with pytest.raises(UserError, match="run20"):
        read_yaml(tmp_path / "run99.yaml")


@pytest.mark.parametrize("item", ["lr", "=3", "a..b=1"])
def test_override_without_key_or_value_is_refused(item: str) -> None:
    with pytest.raises(UserError, match="expected key=value"):
        parse_overrides([item])
