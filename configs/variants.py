"""Recipes of tokenizers: a file names its base and what differs."""

from typing import Any

from configs.loader import CONFIGS, UserError, read_yaml


def read_tokenizer_recipe(name: str) -> tuple[dict[str, Any], list[str]]:
    """(values of configs/tokenizers/<name>.yaml on top of its bases, names from it to its last base).

    Raises UserError where a file is missing or the bases form a circle.
    """
    values: dict[str, Any] = {}
    names: list[str] = []
    following: str | None = name
    while following is not None:
        path = CONFIGS / "tokenizers" / f"{following}.yaml"
        if following in names:
            raise UserError(f"{path}: its bases form a circle: {' -> '.join([*names, following])}")
        names.append(following)
        own = read_yaml(path)
        following = own.pop("base", None)
        own.pop("description", None)
        values = own | values
    return values, names
