"""How long a process waits for the exchange of gradients and weights with the others.

Each strategy marks the spans in which it has nothing to compute: the collectives themselves where they block,
else the wait for their end. What overlaps with computation is not in a span. A process that waits for a
slower one waits within a collective, so this counts, too.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Exchange:
    """Adds up spans of waiting: wall time on a CPU, time in the current stream on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._spans: list[tuple[Any, Any]] = []
        self._began: Any = None  # of a span that `begin` opened and `end` closes
        self._is_open = self._is_paused = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A span. Spans within a span count once."""
        if self._is_open or self._is_paused:
            yield
            return
        self._is_open, began = True, self._now()
        try:
            yield
        finally:
            self._spans.append((began, self._now()))
            self._is_open = False

    def begin(self) -> None:
        """Open a span, for places where no block encloses it. Called again before `end`, it begins anew."""
        self._began = self._now()

    def end(self) -> None:
        """Close the span that `begin` opened, if any."""
        if self._began is not None and not self._is_paused:
            self._spans.append((self._began, self._now()))
        self._began = None

    def around(self, owner: Any, method: str) -> None:
        """Replace a method of an object by one whose calls are spans."""
        call: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.waiting():
                return call(*args, **kwargs)

        setattr(owner, method, timed)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what follows: validation and checkpoints also gather weights."""
        self._is_paused = True
        yield
        self._is_paused = False

    def read(self) -> float:
        """Seconds of all spans since the last reading."""
        spans, self._spans = self._spans, []
        if not self._on_cuda:
            return sum(ended - began for began, ended in spans)
        if spans:
            spans[-1][1].synchronize()
        return sum(began.elapsed_time(ended) for began, ended in spans) / 1000

    def _now(self) -> Any:
        """The present moment: on CUDA, which runs asynchronously, an event in its stream, else in seconds."""
        if not self._on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
