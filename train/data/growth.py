"""What token shards a run has trained on, so that a resumed run can say which ones are new.

    <run folder>/tokens/<start of the fingerprint>.json     the shards of a set of tokens and their hashes

A fingerprint says that tokens are not the same; these files say whether there are only more of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from train.data.shards import TokenSet

SHOWN = 3  # shards that a sentence names


def remember(folder: Path, *token_sets: TokenSet) -> None:
    """Write down the shards of each set below a run's folder; what is written already stays."""
    for tokens in token_sets:
        path = _file(folder, tokens.fingerprint)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(tokens.shard_hashes(), indent=0) + "\n")
            temporary.replace(path)


def describe_change(folder: Path, was: str, now: str) -> str:
    """How the shards with the fingerprint `now` differ from those with `was`; "" if one is not remembered."""
    files = _file(folder, was), _file(folder, now)
    if not all(path.is_file() for path in files):
        return ""
    before, after = (json.loads(path.read_text()) for path in files)
    return describe_shards(before, after)


def describe_shards(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The shards that were added, changed and removed, in words. Both name a shard's hash by its place."""
    kinds = {
        "added": after.keys() - before.keys(),
        "changed": {name for name in before.keys() & after.keys() if before[name] != after[name]},
        "removed": before.keys() - after.keys(),
    }
    parts = []
    for what, names in kinds.items():
        if names:
            more = ", …" if len(names) > SHOWN else ""
            parts.append(f"{len(names)} {what}: {', '.join(sorted(names)[:SHOWN])}{more}")
    same = len(before.keys() & after.keys()) - len(kinds["changed"])
    return "; ".join([*parts, f"{same} shards as before"])


def _file(folder: Path, fingerprint: str) -> Path:
    return folder / "tokens" / f"{fingerprint[:16]}.json"
