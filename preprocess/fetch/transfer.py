"""Bring files here: repeated attempts, resumed where they broke off, checked by md5, within a limit on money.

A file is written as `.<name>.<start of its md5>.part` and renamed once its size and md5 are right. A part
that is found goes on from its end, so a download that was killed gives the same bytes.
"""

import os
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from configs.loader import UserError, writing
from preprocess.fetch.sources import Source, Transient
from preprocess.pipeline.manifest import ManifestEntry, md5_of

ATTEMPTS = 8  # in a row that bring no byte; with the pauses between them about four minutes
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 120.0
DAMAGED_COPIES = 3  # of a file, each transferred whole with a wrong md5, before it is given up
PIECE = 64 << 10  # bytes; what a dead connection loses of them has to be sent again

Result = TypeVar("Result")


class Stopped(Exception):
    """Another thread failed, or the user stopped: leave what is here and end."""


@dataclass
class Budget:
    """What transfers have cost. Threads share it."""

    limit_usd: float
    usd_per_gb: float
    usd_per_request: float
    spent_usd: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def price(self, n_bytes: int, n_requests: int) -> float:
        """US dollars for so many bytes and requests."""
        return n_bytes / 1e9 * self.usd_per_gb + n_requests * self.usd_per_request

    def spend(self, n_bytes: int, n_requests: int = 0) -> None:
        """Count a transfer. Raises UserError if it exceeds the limit."""
        usd = self.price(n_bytes, n_requests)
        with self._lock:
            if usd and self.spent_usd + usd > self.limit_usd:
                raise UserError(
                    f"the limit of {self.limit_usd:.2f} USD is used up (repeated transfers cost, too). What "
                    "came is kept: the same command with a new limit goes on from there"
                )
            self.spent_usd += usd


@dataclass
class Transfer:
    """How files come from a source to a folder."""

    source: Source
    folder: Path
    budget: Budget
    stopped: threading.Event = field(default_factory=threading.Event)
    pause: Callable[[float], object] | None = None  # default: until `stopped`

    def fetch(self, entry: ManifestEntry, arrived: Callable[[int], object]) -> None:
        """Bring one tar to the folder. `arrived`: told how many bytes are new.

        Raises UserError if the source gives it up, gives wrong bytes again and again or costs too much.
        """
        part = self.folder / part_name(entry)
        for other in self.folder.glob(f".{entry.name}.*.part"):
            if other != part:  # of a tar that arXiv has replaced since
                other.unlink()
        for _ in range(DAMAGED_COPIES):
            self._complete(entry, part, arrived)
            if md5_of(part) == entry.md5:
                part.replace(self.folder / entry.name)
                return
            part.unlink()
            arrived(-entry.size)
        raise UserError(
            f"{self.source.where}: {entry.name} came {DAMAGED_COPIES} times with an md5 other than the "
            f"manifest's {entry.md5}: fetch the manifest again, or choose another source"
        )

    def _complete(self, entry: ManifestEntry, part: Path, arrived: Callable[[int], object]) -> None:
        """Transfer until `part` has the size that the manifest states."""
        longest, fruitless = 0, 0
        while (have := part.stat().st_size if part.exists() else 0) != entry.size:
            if have > entry.size:
                part.unlink()
                continue
            try:
                self._continue(entry, part, have, arrived)
                problem = Transient(f"{entry.name}: the connection ended too early")
            except Transient as error:
                problem = error
            now = part.stat().st_size if part.exists() else 0
            if now == entry.size:
                return
            fruitless = 0 if now > longest else fruitless + 1
            longest = max(longest, now)
            self.pause_after(fruitless, problem)

    def _continue(
        self, entry: ManifestEntry, part: Path, have: int, arrived: Callable[[int], object]
    ) -> None:
        self.budget.spend(0, n_requests=1)
        with self.source.open(entry.name, have) as answer, writing(part), part.open("ab") as file:
            if answer.total is not None and answer.total != entry.size:
                raise Transient(
                    f"{entry.name}: the answer is of {answer.total:,} bytes, the manifest says {entry.size:,}"
                )
            if answer.start != have:  # the server knows no ranges
                if answer.start:
                    raise Transient(f"{entry.name}: asked for byte {have:,}, got {answer.start:,}")
                file.truncate(0)
                arrived(-have)
            while True:
                if self.stopped.is_set():
                    raise Stopped
                room = min(PIECE, entry.size - file.tell())
                if not room:
                    break
                piece = answer.read(room)
                if not piece:
                    break
                file.write(piece)
                arrived(len(piece))
                self.budget.spend(len(piece))
            file.flush()
            os.fsync(file.fileno())  # before the rename, so that a crash leaves no named file without content

    def fetch_whole(self, name: str) -> bytes:
        """A small file whose size nobody states beforehand. Raises UserError after ATTEMPTS attempts."""
        return self.repeat(lambda: self.fetch_once(name))

    def fetch_once(self, name: str) -> bytes:
        """As `fetch_whole`, in one attempt. Raises Transient, too."""
        with self.source.open(name) as answer:
            data = b"".join(iter(lambda: answer.read(PIECE), b""))
        if answer.total is not None and len(data) != answer.total:
            raise Transient(f"{name}: {len(data):,} of {answer.total:,} bytes came")
        return data

    def repeat(self, attempt: Callable[[], Result]) -> Result:
        """The result of the first attempt that is not Transient. Raises UserError after ATTEMPTS."""
        for fruitless in range(1, ATTEMPTS + 1):
            try:
                return attempt()
            except Transient as error:
                self.pause_after(fruitless, error)
        raise AssertionError  # pause_after raises at the last

    def pause_after(self, fruitless: int, problem: Transient) -> None:
        """Pause before the next attempt, longer each time. Raises UserError after ATTEMPTS fruitless ones."""
        if fruitless >= ATTEMPTS:
            raise UserError(
                f"{problem}; given up after {ATTEMPTS} attempts. What came is kept: the same command goes on "
                "from there"
            )
        growing = min(FIRST_PAUSE_S * 2 ** max(fruitless - 1, 0), LONGEST_PAUSE_S)
        # Spread, so that connections that broke together do not come back together.
        (self.pause or self.stopped.wait)(max(problem.retry_after_s, growing * random.uniform(0.75, 1.25)))
        if self.stopped.is_set():
            raise Stopped

    def fetch_all(self, entries: Sequence[ManifestEntry], connections: int) -> None:
        """Bring the tars, several at a time. The first error stops all; their parts stay."""
        parts = [self.folder / part_name(entry) for entry in entries]
        here = sum(part.stat().st_size for part in parts if part.exists())
        total = sum(entry.size for entry in entries)
        with (
            tqdm(total=total, initial=here, unit="B", unit_scale=True, desc="downloading") as bar,
            ThreadPoolExecutor(connections) as threads,
        ):
            tasks = [threads.submit(self._fetch_or_stop, entry, bar.update) for entry in entries]
            try:
                wait(tasks)
            finally:  # also after Ctrl-C
                self.stopped.set()
        errors = [error for task in tasks if (error := task.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def _fetch_or_stop(self, entry: ManifestEntry, arrived: Callable[[int], object]) -> None:
        try:
            if self.stopped.is_set():
                raise Stopped
            self.fetch(entry, arrived)
        except BaseException:
            self.stopped.set()
            raise


def part_name(entry: ManifestEntry) -> str:
    """Name of the unfinished file. It changes when arXiv replaces the tar."""
    return f".{entry.name}.{entry.md5[:8]}.part"
