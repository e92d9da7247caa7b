"""What a job's processes achieve: a matrix product on each, collectives among all; how their clocks differ.

Every function with a `group` must be called by all its processes.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
import torch.distributed as dist

from configs.ring_model import ALL_GATHER, ALL_REDUCE, Timing

MIB = 2**20
SIZES = {  # bytes of the collectives; on a CPU fewer, because gloo takes seconds for a gigabyte
    "cuda": tuple(4**k * MIB for k in range(6)),
    "cpu": tuple(4**k * MIB for k in range(3)),
}
PRODUCT = {"cuda": (8192, torch.bfloat16), "cpu": (1024, torch.float32)}  # rows and columns, dtype
REPEATS = 5  # the least of them is taken: whatever disturbs a measurement makes it longer


def product_flop_per_s(device: torch.device) -> float:
    """FLOP/s of a large matrix product; n x n matrices take 2 n^3 FLOPs."""
    size, dtype = PRODUCT[device.type]
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    calls = 10 if device.type == "cuda" else 1  # one takes milliseconds there
    return 2 * size**3 / _least_seconds(lambda: left @ right, device, calls=calls)


def time_collectives(
    device: torch.device, group: dist.ProcessGroup | None, sizes: Sequence[int], repeats: int = REPEATS
) -> list[Timing]:
    """All-reduce and all-gather of tensors of these sizes: the slowest process's time, least over repeats."""
    timings = []
    n_processes = dist.get_world_size(group)
    for n_bytes in sizes:
        whole = torch.zeros(n_bytes // 4 // n_processes * n_processes, device=device)
        own = whole.chunk(n_processes)[0].clone()

        def all_reduce(whole: torch.Tensor = whole) -> None:
            dist.all_reduce(whole, group=group)

        def all_gather(whole: torch.Tensor = whole, own: torch.Tensor = own) -> None:
            dist.all_gather_single(whole, own, group=group)

        for kind, collective in ((ALL_REDUCE, all_reduce), (ALL_GATHER, all_gather)):
            seconds = _least_seconds(collective, device, repeats=repeats, group=group, together=True)
            timings.append(Timing(kind, n_bytes, seconds))
    return timings


def link_bytes_per_s(device: torch.device, group: dist.ProcessGroup) -> float:
    """Bytes a second that arrive from the previous process of the group while all send to their next."""
    rank, n_processes = dist.get_rank(group), dist.get_world_size(group)
    to, source = (dist.get_global_rank(group, (rank + step) % n_processes) for step in (1, -1))
    sent, received = (torch.zeros(SIZES[device.type][-1] // 4, device=device) for _ in range(2))

    def pass_on() -> None:
        operations = [
            dist.P2POp(dist.isend, sent, to, group=group),
            dist.P2POp(dist.irecv, received, source, group=group),
        ]
        for work in dist.batch_isend_irecv(operations):
            work.wait()

    return received.nbytes / _least_seconds(pass_on, device, repeats=3, group=group)


def clock_offset_s() -> float:
    """How far this process's clock is ahead of the first process's, to about a millisecond.

    All read their clocks when they leave a barrier. The median of several readings leaves out those in which
    one of them was late.
    """
    offsets = []
    for _ in range(REPEATS):
        dist.barrier()
        own = torch.tensor(time.time(), dtype=torch.float64)
        first = own.clone()
        dist.broadcast(first, src=0)
        offsets.append(float(own - first))
    return median(offsets)


def _least_seconds(
    work: Callable[[], object],
    device: torch.device,
    repeats: int = REPEATS,
    calls: int = 1,
    group: dist.ProcessGroup | None = None,
    together: bool = False,
) -> float:
    """Least seconds of a call over repeats, after one untimed. `together`: those of the slowest process."""
    least = float("inf")
    for repeat in range(repeats + 1):
        if together:
            dist.barrier(group=group)
        _finish(device)
        began = time.perf_counter()
        for _ in range(calls):
            work()
        _finish(device)
        seconds = torch.tensor((time.perf_counter() - began) / calls, dtype=torch.float64, device=device)
        if together:
            dist.all_reduce(seconds, op=dist.ReduceOp.MAX, group=group)
        if repeat:
            least = min(least, float(seconds))
    return least


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
