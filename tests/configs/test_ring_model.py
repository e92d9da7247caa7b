"""The ring model is found again in timings that it made, and in noisy ones nearly."""

import random

import pytest

from configs.ring_model import ALL_GATHER, ALL_REDUCE, Link, Timing, fit, worst_error

SIZES = [2**power for power in range(20, 29)]  # 1 MiB to 256 MiB
ETHERNET = Link(30e-6, 1.2e9)


def timings(link: Link, processes: int, kind: str = ALL_REDUCE, noise: float = 0.0) -> list[Timing]:
    random.seed(0)
    return [
        Timing(kind, size, link.seconds(kind, processes, size) * (1 + random.uniform(-noise, noise)))
        for size in SIZES
    ]


@pytest.mark.parametrize("processes", [2, 4, 16])
@pytest.mark.parametrize("kind", [ALL_REDUCE, ALL_GATHER])
@pytest.mark.parametrize("link", [ETHERNET, Link(5e-6, 300e9), Link(0.0, 1e9)])
def test_exact_timings_give_the_link(link: Link, kind: str, processes: int) -> None:
    exact = timings(link, processes, kind)
    found = fit(exact, processes)
    assert found.bytes_per_s == pytest.approx(link.bytes_per_s, rel=1e-6)
    assert found.latency_s == pytest.approx(link.latency_s, rel=1e-6, abs=1e-12)
    assert worst_error(found, exact, processes) < 1e-6


def test_noisy_timings_give_nearly_the_link() -> None:
    noisy = timings(ETHERNET, 4, noise=0.1)
    found = fit(noisy, 4)
    assert found.bytes_per_s == pytest.approx(ETHERNET.bytes_per_s, rel=0.1)
    assert worst_error(found, noisy, 4) < 0.2


def test_small_tensors_count_as_much_as_large_ones() -> None:
    """The fit is relative: one large tensor that took twice as long does not move all others by as much."""
    *most, last = timings(ETHERNET, 2)
    found = fit([*most, Timing(last.kind, last.n_bytes, 2 * last.seconds)], 2)
    assert worst_error(found, most, 2) < 0.25


def test_a_latency_below_zero_is_none() -> None:
    """Caches make small tensors faster than the bandwidth of large ones says."""
    cached = [Timing(ALL_REDUCE, size, size / 1e9 * (0.5 if size < 2**23 else 1)) for size in SIZES]
    found = fit(cached, 2)
    assert found.latency_s == 0
    assert 1e9 < found.bytes_per_s < 2e9


def test_an_all_reduce_is_two_all_gathers() -> None:
    seconds = {kind: ETHERNET.seconds(kind, 8, 1e9) for kind in (ALL_REDUCE, ALL_GATHER, "reduce_scatter")}
    assert seconds[ALL_REDUCE] == seconds[ALL_GATHER] + seconds["reduce_scatter"]


def test_one_process_exchanges_nothing() -> None:
    assert ETHERNET.seconds(ALL_REDUCE, 1, 1e9) == 0


@pytest.mark.parametrize("sizes", [(), (2**20,), (2**20, 2**20)])
def test_one_size_gives_no_link(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two sizes"):
        fit([Timing(ALL_REDUCE, size, 1.0) for size in sizes], 2)


def test_times_that_do_not_grow_give_no_link() -> None:
    with pytest.raises(ValueError, match="no bandwidth"):
        fit([Timing(ALL_REDUCE, 2**20, 10.0), Timing(ALL_REDUCE, 2**28, 0.001)], 2)
