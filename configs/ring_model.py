"""How long a collective among n processes takes in a ring: the formula that measurements are compared with.

In a ring each process sends to its neighbour only. An all-reduce takes 2 (n - 1) steps, each with 1/n of the
bytes; an all-gather and a reduce-scatter take n - 1 (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce
algorithms for clusters of workstations"). A step costs its latency and its bytes over the bandwidth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ALL_REDUCE, ALL_GATHER = "all_reduce", "all_gather"
ROUNDS = {ALL_REDUCE: 2, ALL_GATHER: 1, "reduce_scatter": 1}  # times that the data go round the ring


@dataclass(frozen=True)
class Link:
    """What connects a process with the next: seconds before the first byte arrives, bytes a second."""

    latency_s: float
    bytes_per_s: float

    def seconds(self, kind: str, processes: int, n_bytes: float) -> float:
        """Duration of a collective. `n_bytes`: of the whole tensor, not of one process's part."""
        steps = ROUNDS[kind] * (processes - 1)
        return steps * (self.latency_s + n_bytes / processes / self.bytes_per_s)


@dataclass(frozen=True)
class Timing:
    """One measured collective."""

    kind: str
    n_bytes: int
    seconds: float


def fit(timings: Sequence[Timing], processes: int) -> Link:
    """The link whose predictions are nearest to the timings: the sum of squared relative errors is least.

    Relative, because otherwise the largest tensor alone would decide. A latency below 0 is taken as 0. Raises
    ValueError with fewer than two sizes or processes.
    """
    if processes < 2 or len({timing.n_bytes for timing in timings}) < 2:
        raise ValueError("a link is fitted to collectives of two processes and two sizes or more")
    # seconds = latency * steps + cost * steps * bytes / n, divided by seconds: 1 = latency * x + cost * y
    xx = xy = yy = x1 = y1 = 0.0
    for timing in timings:
        steps = ROUNDS[timing.kind] * (processes - 1)
        x, y = steps / timing.seconds, steps * timing.n_bytes / processes / timing.seconds
        xx, xy, yy, x1, y1 = xx + x * x, xy + x * y, yy + y * y, x1 + x, y1 + y
    latency = (x1 * yy - y1 * xy) / (xx * yy - xy * xy)
    cost = (xx * y1 - xy * x1) / (xx * yy - xy * xy)  # seconds a byte
    if latency < 0:
        latency, cost = 0.0, y1 / yy
    if cost <= 0:
        raise ValueError("larger tensors did not take longer: the timings tell of no bandwidth")
    return Link(latency, 1 / cost)


def worst_error(link: Link, timings: Sequence[Timing], processes: int) -> float:
    """The largest relative difference between the model and a timing: 0.1 is 10 %."""
    errors = (link.seconds(t.kind, processes, t.n_bytes) / t.seconds - 1 for t in timings)
    return max(map(abs, errors))
