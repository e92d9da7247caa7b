"""Recipes of tokenizers: each file in configs/tokenizers/ names its base and the keys that differ from it."""

from typing import Any

from configs.loader import CONFIGS, UserError, read_yaml


def read_tokenizer_recipe(name: str) -> tuple[dict[str, Any], list[str]]:
    """(values of configs/tokenizers/<name>.yaml merged into its bases, names of this file and all its bases).

    Raises UserError if a file is missing or the bases form a circle.
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
