"""The compat modes: which items each reads, how it joins a submission's files, how it cleans them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from preprocess.compat import authors, common_pile, proof_pile, redpajama
from preprocess.compat.source import Joined
from preprocess.pipeline.dropped import Dropped

# `none`: this project's own extraction and cleaning. `pes2o` works on its result (pes2o.py).
ReadingMode = Literal["none", "authors", "redpajama", "proof_pile", "common_pile"]
CleaningMode = Literal["none", "authors", "redpajama", "proof_pile", "common_pile", "pes2o"]


class Mode(NamedTuple):
    """How a pipeline reads and cleans a submission."""

    kinds: frozenset[str]  # of the items that it reads (see ITEMS in schema.py)
    join: Callable[[Mapping[str, memoryview]], Joined | Dropped]  # the files of a submission by name
    # (texts of the joined files, counter of removed bytes by cause) -> clean text
    clean: Callable[[Sequence[str], Counter[str]], str | Dropped]


_TARS = frozenset({"tar", "tar.gz"})
MODES: dict[str, Mode] = {
    "authors": Mode(_TARS, authors.join, authors.clean),
    "redpajama": Mode(_TARS | {"text.gz"}, redpajama.join, redpajama.clean),
    "proof_pile": Mode(_TARS | {"text.gz"}, proof_pile.join, proof_pile.clean),
    "common_pile": Mode(frozenset({"tar.gz"}), common_pile.join, common_pile.clean),
}
