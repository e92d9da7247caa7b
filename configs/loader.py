"""How every script reads its configuration.

Defaults in a pydantic model < YAML files, in order < `key=value` on the command line. Unknown
keys, wrong types and impossible values are errors that name the file and the key.
"""

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from configs import require

require("pyarrow", "pydantic", "yaml")
import pydantic  # noqa: E402  # after the sentence that says what to install
import yaml  # noqa: E402

# Scripts that draw from logs import these from configs.script, which needs the standard library alone.
from configs.script import (  # noqa: E402
    EXIT_LAW_BROKEN,
    EXIT_REQUEUE,
    EXIT_USER_ERROR,
    LawBroken,
    UserError,
    default_data_root,
    default_runs_root,
    format_bytes,
    run_main,
    writing,
)

__all__ = [
    "CONFIGS",
    "EXIT_LAW_BROKEN",
    "EXIT_REQUEUE",
    "EXIT_USER_ERROR",
    "Config",
    "ConfigT",
    "LawBroken",
    "UserError",
    "default_data_root",
    "default_runs_root",
    "format_bytes",
    "merge",
    "parse_overrides",
    "read_yaml",
    "run_main",
    "validate",
    "writing",
]

CONFIGS = Path(__file__).resolve().parent


class Config(pydantic.BaseModel):
    """Base of all configurations: immutable, no key that nobody reads, no number that is not finite."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 2e-4 as a number (YAML 1.1 takes it for text) and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping in a YAML file. Raises UserError naming the file and the line."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "no YAML file"
        raise UserError(f"{path}: no such file; {path.parent} holds {there}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds a {type(values).__name__}; a mapping of keys to values is expected")
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`; mappings are merged key by key, all else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`["a.b=3", "c=x"]` as `{"a": {"b": 3}, "c": "x"}`; values are YAML."""
    values: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not all(key.split(".")):
            raise UserError(f"{item!r} on the command line: expected key=value, for instance lr=3e-4")
        try:
            value: Any = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
        except yaml.YAMLError as error:
            raise UserError(f"{item!r} on the command line: {error}") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def validate(model: type[ConfigT], values: dict[str, Any], origin: str) -> ConfigT:
    """`values` as a `model`; `origin` (file names) stands in the error. Raises UserError."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
            if problem["type"] == "extra_forbidden":
                lines.append(
                    f"{key}: unknown key; known: {', '.join(sorted(_known_keys(model, problem['loc'])))}"
                )
            else:
                lines.append(f"{key}: {problem['msg']} (given: {problem['input']!r:.80})")
        raise UserError(f"{origin}: " + "; ".join(lines)) from None


def _known_keys(model: type[pydantic.BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            return []
        if not issubclass(field.annotation, pydantic.BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
