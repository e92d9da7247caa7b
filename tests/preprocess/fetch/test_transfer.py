"""A tar arrives with the same bytes whatever the server does, or not at all, within the limit on money."""

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.loader import UserError
from preprocess.fetch import transfer as module
from preprocess.fetch.sources import WebSource
from preprocess.fetch.transfer import ATTEMPTS, PIECE, Budget, Transfer, part_name
from preprocess.pipeline.manifest import ManifestEntry
from tests.support.faulty_server import FaultyServer, serve

TAR = random.Random(0).randbytes(300_000)
NAME = "arXiv_src_0704_001.tar"
STALL_S = 0.5


def entry(name: str = NAME, data: bytes = TAR) -> ManifestEntry:
    return ManifestEntry(name, hashlib.md5(data).hexdigest(), len(data), 1)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serve({NAME: TAR, "other.tar": TAR[::-1]}) as server:
        yield server


def transfer_to(
    folder: Path, server: FaultyServer, budget: Budget | None = None
) -> tuple[Transfer, list[float]]:
    """(transfer, the pauses that it makes, in seconds, which it does not wait)."""
    pauses: list[float] = []
    source = WebSource(server.url, timeout_s=STALL_S)
    return Transfer(source, folder, budget or Budget(0, 0, 0), pause=pauses.append), pauses


@pytest.mark.parametrize(
    ("faults", "starts"),
    [
        pytest.param([], [0], id="none"),
        pytest.param(["drop 100000", "drop 1", "drop 70000"], [0, 100_000, 100_001, 170_001], id="drops"),
        pytest.param(["drop 0"] * (ATTEMPTS - 2), [0] * (ATTEMPTS - 1), id="drops_before_the_first_byte"),
        pytest.param(["drop 1000"] * 20, [1000 * n for n in range(21)], id="progress_resets_the_count"),
        pytest.param(["503", "drop 50000", "503", "503"], [0, 0, 50_000, 50_000, 50_000], id="unavailable"),
        pytest.param(["stall 200000", "stall 10"], [0, 3 * PIECE, 3 * PIECE], id="slow_to_death"),
        pytest.param(["flip"], [0, 0], id="wrong_bytes"),
        pytest.param(["drop 100000", "flip", ""], [0, 100_000, 0], id="wrong_bytes_in_the_second_half"),
        pytest.param(["page", ""], [0, 0], id="a_page_for_people"),
        pytest.param(["drop 100000", "page"], [0, 100_000, 100_000], id="a_page_does_not_lose_the_part"),
        pytest.param(["drop 100000", "shift"], [0, 100_000, 100_000], id="another_place_than_asked"),
        pytest.param(["drop 100000", "whole"], [0, 100_000], id="no_ranges"),
        pytest.param(["length many"], [0], id="a_length_that_is_no_number"),
        pytest.param(["length 1000"], [0, 0], id="a_wrong_length"),
    ],
)
def test_faults_do_not_change_the_bytes(
    tmp_path: Path, server: FaultyServer, faults: list[str], starts: list[int]
) -> None:
    server.faults[NAME] = list(faults)
    arrived: list[int] = []
    transfer_to(tmp_path, server)[0].fetch(entry(), arrived.append)
    assert (tmp_path / NAME).read_bytes() == TAR
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert [start for _, start in server.requests] == starts
    assert sum(arrived) == len(TAR)  # what the progress bar shows at the end


def test_a_part_goes_on_from_its_end_and_one_of_a_replaced_tar_is_dropped(
    tmp_path: Path, server: FaultyServer
) -> None:
    (tmp_path / part_name(entry())).write_bytes(TAR[:250_000])
    replaced = tmp_path / part_name(entry(data=b"older"))
    replaced.write_bytes(b"old")
    transfer_to(tmp_path, server)[0].fetch(entry(), lambda _: None)
    assert (tmp_path / NAME).read_bytes() == TAR
    assert server.requests == [(NAME, 250_000)]
    assert not replaced.exists()


def test_a_part_that_is_too_long_begins_anew(tmp_path: Path, server: FaultyServer) -> None:
    (tmp_path / part_name(entry())).write_bytes(TAR + b"more")
    transfer_to(tmp_path, server)[0].fetch(entry(), lambda _: None)
    assert (tmp_path / NAME).read_bytes() == TAR


def test_pauses_grow_and_follow_retry_after(tmp_path: Path, server: FaultyServer) -> None:
    server.faults[NAME] = ["503", "503", "503 900", "503"]
    transfer, pauses = transfer_to(tmp_path, server)
    transfer.fetch(entry(), lambda _: None)
    assert len(pauses) == 4
    assert pauses[0] < pauses[1] < pauses[3] < pauses[2] == 900


def test_a_retry_after_that_is_no_number_changes_nothing(tmp_path: Path, server: FaultyServer) -> None:
    server.faults[NAME] = ["503 nan", "503 soon", "503 -5"]
    transfer, pauses = transfer_to(tmp_path, server)
    transfer.fetch(entry(), lambda _: None)
    assert 0 < pauses[0] < pauses[1] < pauses[2] < 60


def test_given_up_after_attempts_without_a_byte_with_the_part_kept(
    tmp_path: Path, server: FaultyServer
) -> None:
    server.faults[NAME] = ["drop 1000", *["503"] * ATTEMPTS]
    transfer, pauses = transfer_to(tmp_path, server)
    with pytest.raises(UserError, match=f"503; given up after {ATTEMPTS} attempts"):
        transfer.fetch(entry(), lambda _: None)
    assert len(pauses) == ATTEMPTS  # the first fault brought bytes
    assert (tmp_path / part_name(entry())).read_bytes() == TAR[:1000]
    assert not (tmp_path / NAME).exists()


def test_wrong_bytes_again_and_again_never_get_the_name(tmp_path: Path, server: FaultyServer) -> None:
    server.faults[NAME] = ["flip"] * 10
    with pytest.raises(UserError, match="3 times with an md5 other than"):
        transfer_to(tmp_path, server)[0].fetch(entry(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "fault", "says"),
    [
        pytest.param("absent.tar", "", "404: no such file", id="absent"),
        pytest.param(NAME, "403", "403: it allows no access", id="no_access"),
    ],
)
def test_a_refusal_is_not_asked_again(
    tmp_path: Path, server: FaultyServer, name: str, fault: str, says: str
) -> None:
    server.faults[name] = [fault] * 9
    with pytest.raises(UserError, match=says):
        transfer_to(tmp_path, server)[0].fetch(entry(name), lambda _: None)
    assert len(server.requests) == 1


def test_a_failure_stops_the_other_transfers(tmp_path: Path, server: FaultyServer) -> None:
    server.faults["other.tar"] = ["stall 1000"] * 9
    entries = [entry("other.tar", TAR[::-1]), entry("absent.tar")]
    transfer, _ = transfer_to(tmp_path, server)
    with pytest.raises(UserError, match="absent"):
        transfer.fetch_all(entries, connections=2)
    assert len(server.requests) <= 3
    with pytest.raises(UserError, match="absent"):  # tars that wait for their turn are not begun
        transfer_to(tmp_path, server)[0].fetch_all(entries[1:] + entries[:1], connections=1)
    assert server.requests[-1][0] == "absent.tar"


def test_connections_bring_tars_at_once(tmp_path: Path, server: FaultyServer) -> None:
    both = threading.Barrier(2, timeout=60)
    transfer, _ = transfer_to(tmp_path, server)
    source_open = transfer.source.open

    def open_together(name: str, start: int = 0) -> object:
        both.wait()
        return source_open(name, start)

    transfer.source.open = open_together  # type: ignore[method-assign,assignment]
    transfer.fetch_all([entry(), entry("other.tar", TAR[::-1])], connections=2)
    assert (tmp_path / NAME).read_bytes() == TAR == (tmp_path / "other.tar").read_bytes()[::-1]


def test_the_limit_on_money_counts_repeated_bytes(
    tmp_path: Path, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE", 10_000)
    usd_per_gb = 1e9 / len(TAR)  # one dollar for the tar
    server.faults[NAME] = ["flip"]
    transfer, _ = transfer_to(tmp_path, server, Budget(1.5, usd_per_gb, 0))
    with pytest.raises(UserError, match=r"limit of 1\.50 USD is used up"):
        transfer.fetch(entry(), lambda _: None)
    part = tmp_path / part_name(entry())
    assert 100_000 < part.stat().st_size < 200_000  # half of the second copy
    assert TAR.startswith(part.read_bytes())


def test_requests_cost_too(tmp_path: Path, server: FaultyServer) -> None:
    server.faults[NAME] = ["503"] * 3
    with pytest.raises(UserError, match="limit"):
        transfer_to(tmp_path, server, Budget(2.5, 0, 1.0))[0].fetch(entry(), lambda _: None)
    assert len(server.requests) == 2
