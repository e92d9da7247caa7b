"""Hard inputs end with their right result in bounded memory; work on them grows no faster than they do.

Work is counted, not timed: calls of functions, the bytes that searches and copies go through, and the
instructions of the compiled core. What happens inside a regular expression cannot be counted; `make
bench-growth` measures it.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import wasmtime

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.latex import lexer
from preprocess.latex.core import wasm as core
from preprocess.latex.extraction.archive import Unpacked, unpack
from preprocess.latex.extraction.flatten import Flattener
from preprocess.normalize_text import NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.hard_inputs import GROWING, LIMITED

MAX_BYTES = 1 << 30  # more than the process has before
MAX_INSTRUCTIONS = 1 << 60
MAX_GROWTH = 1.25  # of the work, as a multiple of the growth of the input: 4 where the work is quadratic


def read(archive: bytes) -> str:
    """Extract and normalise a paper; why it was dropped, "" where it was kept."""
    result = extract_paper(archive, "paper.tex", ExtractLatexConfig())
    if isinstance(result, Extracted):
        normalize_document(result.text, "T", "A", NormalizeTextConfig())
    return result.reason if isinstance(result, Dropped) else ""


def unpacked_bytes(archive: bytes) -> int:
    """Bytes of all files of an archive."""
    unpacked = unpack(archive, "paper.tex")
    assert isinstance(unpacked, Unpacked)
    return unpacked.n_bytes


@contextmanager
def limited_memory() -> Iterator[None]:
    """At most MAX_BYTES more than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LIMITED, *GROWING])
def test_hard_input_ends_with_its_result_in_bounded_memory(name: str) -> None:
    hard = (LIMITED | GROWING)[name]
    archive = hard.make(hard.size)
    with limited_memory():
        reason = read(archive)
    assert reason == hard.reason


# ---------------------------------------------------------------- growth of the work


class Work:
    """Counts the calls of Python and C functions while it is entered, and the bytes of CountedText.

    `instructions` of the core are counted by the core itself.
    """

    def __init__(self) -> None:
        self.calls = self.scanned = self.instructions = 0

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        self.calls += event in ("call", "c_call")

    def __enter__(self) -> "Work":
        CountedText.work = self
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


class CountedText(bytes):
    """Bytes that count what searches and slices of them go through."""

    work: Work

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        limit = len(self) if end is None else min(end, len(self))
        at = super().find(sub, start, limit)
        CountedText.work.scanned += max(0, (limit if at < 0 else at) - start)
        return at

    def rfind(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        limit = len(self) if end is None else min(end, len(self))
        at = super().rfind(sub, start, limit)
        CountedText.work.scanned += max(0, limit - (start if at < 0 else at))
        return at

    def count(self, sub: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        limit = len(self) if end is None else min(end, len(self))
        CountedText.work.scanned += max(0, limit - start)
        return super().count(sub, start, limit)

    def __getitem__(self, key: Any) -> Any:
        piece = super().__getitem__(key)
        if isinstance(key, slice):
            CountedText.work.scanned += len(piece)
        return piece


def count_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each pass over a document, and each search for arguments, its text as CountedText."""

    def counted(holder: Any, name: str, place: int) -> None:
        function = getattr(holder, name)

        def with_counted_text(*arguments: Any, **options: Any) -> Any:
            passed = list(arguments)
            passed[place] = CountedText(passed[place])
            return function(*passed, **options)

        monkeypatch.setattr(holder, name, with_counted_text)

    counted(Flattener, "_read_commands", 1)
    counted(lexer.Groups, "__init__", 1)


@pytest.fixture(scope="module")
def metered() -> core.Instance:
    """The compiled core, with a counter of its instructions."""
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    return core.Instance(engine, wasmtime.Module.from_file(engine, str(core.MODULE)), fuel=MAX_INSTRUCTIONS)


@pytest.mark.parametrize("name", GROWING)
def test_work_grows_no_faster_than_the_input(
    name: str, metered: core.Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_texts(monkeypatch)
    monkeypatch.setattr(core._local, "instance", metered, raising=False)
    monkeypatch.setattr(core, "_KEPT_MEMORY", core.MAX_MEMORY)
    hard = GROWING[name]
    small, large, n_bytes = Work(), Work(), []
    for work, size in ((small, hard.size // 16), (large, hard.size // 4)):
        archive = hard.make(size)
        n_bytes.append(unpacked_bytes(archive))
        before = metered.store.get_fuel()
        with work:
            read(archive)
        work.instructions = before - metered.store.get_fuel()
    growth = MAX_GROWTH * max(4, n_bytes[1] / n_bytes[0])
    assert large.calls <= growth * small.calls
    assert large.scanned <= growth * small.scanned
    assert large.instructions <= growth * small.instructions
