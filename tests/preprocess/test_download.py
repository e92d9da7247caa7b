"""Downloads as users start them: from an S3 bucket, from a mirror, paper by paper; killed, started twice."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from configs.loader import UserError
from preprocess import download
from preprocess.fetch.sources import WebSource
from preprocess.fetch.transfer import Budget, Transfer
from preprocess.pipeline.manifest import MANIFEST, read_manifest
from preprocess.sample_corpus import make_sample
from tests.conftest import ROOT
from tests.support import PATIENCE_S
from tests.support.corpus import run_stage
from tests.support.faulty_server import CuttingProxy, FaultyServer, serve
from tests.support.storage import serve_s3

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCY"
KEY_ID = "AKIAI44QH8DHBEXAMPLE"


@pytest.fixture(scope="module")
def sample() -> dict[str, bytes]:
    """The bucket's files by name: tars of six months, and their manifest."""
    files = make_sample(seed=0, n_papers=12).files
    return {name.removeprefix("src/"): data for name, data in files.items() if name.startswith("src/")}


@pytest.fixture
def server(sample: dict[str, bytes]) -> Iterator[FaultyServer]:
    with serve(dict(sample)) as server:
        yield server


def run(*args: object) -> None:
    with mock.patch.object(sys, "argv", ["preprocess/download.py", *map(str, args)]):
        download.main()


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def of_month(sample: dict[str, bytes], *months: str) -> dict[str, bytes]:
    return {
        name: data
        for name, data in sample.items()
        if name.startswith(tuple(f"arXiv_src_{m}" for m in months))
    }


# ---------------------------------------------------------------- a mirror


def test_months_of_a_mirror(tmp_path: Path, server: FaultyServer, sample: dict[str, bytes]) -> None:
    run("bulk", "--months", "0306-0704", "--to", tmp_path, "--base-url", server.url)
    assert tars(tmp_path) == of_month(sample, "0306", "0704")
    server.requests.clear()
    run("bulk", "--months", "0306-1207", "--to", tmp_path, "--base-url", server.url)
    assert tars(tmp_path) == of_month(sample, "0306", "0704", "1207")
    assert {name for name, _ in server.requests} == {MANIFEST, *of_month(sample, "1207")}  # what is new


def test_the_tars_of_papers(tmp_path: Path, server: FaultyServer, sample: dict[str, bytes]) -> None:
    manifest = tmp_path / MANIFEST
    manifest.write_bytes(sample[MANIFEST])
    ids = tmp_path / "ids.txt"
    ids.write_text(read_manifest(manifest)["arXiv_src_2105_001.tar"].last_item)
    run("bulk", "--ids", ids, "--to", tmp_path, "--base-url", server.url)
    assert list(tars(tmp_path)) == ["arXiv_src_2105_001.tar"]


def test_check_finds_and_mends_a_changed_tar(
    tmp_path: Path, server: FaultyServer, sample: dict[str, bytes]
) -> None:
    arguments = ("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
    run(*arguments)
    changed = next(tmp_path.glob("*.tar"))
    changed.write_bytes(bytes(len(changed.read_bytes())))
    run(*arguments)
    assert tars(tmp_path) != of_month(sample, "0704")
    run(*arguments, "--check")
    assert tars(tmp_path) == of_month(sample, "0704")


def test_a_killed_download_goes_on(tmp_path: Path, server: FaultyServer, sample: dict[str, bytes]) -> None:
    name = "arXiv_src_0704_001.tar"
    server.faults[name] = ["stall 70000"]  # one piece arrives, then nothing
    command = [sys.executable, "preprocess/download.py", "bulk", "--months", "0704"]
    command += ["--to", str(tmp_path), "--base-url", server.url, "--connections", "1"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        parts: list[Path] = []
        end = time.monotonic() + PATIENCE_S
        while not any(part.stat().st_size for part in parts):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
            parts = list(tmp_path.glob(f".{name}.*.part"))
        with pytest.raises(UserError, match=f"process {process.pid} on .* downloads into this folder"):
            run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
        process.send_signal(signal.SIGKILL)
    kept = parts[0].stat().st_size
    server.requests.clear()
    run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
    assert tars(tmp_path) == of_month(sample, "0704")
    assert (name, kept) in server.requests


def test_what_would_not_fit_does_not_start(tmp_path: Path, server: FaultyServer) -> None:
    usage = mock.Mock(free=1000)
    with (
        mock.patch("shutil.disk_usage", return_value=usage),
        pytest.raises(UserError, match=r"1\.0 kB are free"),
    ):
        run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
    assert [name for name, _ in server.requests] == [MANIFEST]


@pytest.mark.parametrize(
    "url",
    ["https://me:pass@mirror.example/src", "https://mirror.example/src?token=pass", "ftp://mirror/src", "x"],
)
def test_urls_that_are_refused_are_not_shown_with_their_secrets(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError) as refused:
        run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", url)
    assert "pass@" not in str(refused.value)
    assert "token" not in str(refused.value)


def test_a_manifest_that_is_none_does_not_replace_the_old_one(
    tmp_path: Path, server: FaultyServer, sample: dict[str, bytes]
) -> None:
    run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
    server.files[MANIFEST] = b"<html>Log in</html>"
    with pytest.raises(UserError, match="lists no tar"):
        run("bulk", "--months", "0704", "--to", tmp_path, "--base-url", server.url)
    assert (tmp_path / MANIFEST).read_bytes() == sample[MANIFEST]


# ---------------------------------------------------------------- the bucket


@pytest.fixture(scope="module")
def bucket(sample: dict[str, bytes]) -> Iterator[int]:
    """Port of a local S3 with arXiv's bucket."""
    import boto3

    with serve_s3() as environment, mock.patch.dict(os.environ, environment):
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="arxiv")
        for name, data in sample.items():
            s3.put_object(Bucket="arxiv", Key=f"src/{name}", Body=data)
        yield int(environment["AWS_ENDPOINT_URL"].rpartition(":")[2])


@pytest.fixture
def proxy(bucket: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """Stands between the client and the bucket; cuts nothing until asked."""
    proxy = CuttingProxy(bucket, 0, 70_000)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    yield proxy
    proxy.close()


@pytest.mark.remote
def test_the_bucket_is_paid_within_the_limit(
    tmp_path: Path, proxy: CuttingProxy, sample: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("bulk", "--months", "0704", "--to", tmp_path)
    n_bytes = sum(map(len, of_month(sample, "0704").values()))
    with pytest.raises(UserError, match=r"--max-usd allows 0\.00"):
        run(*arguments)
    run(*arguments, "--dry-run")
    assert (
        f"about {n_bytes * 0.09 / 1e9:.2f} USD (0.09 a GB), from s3://arxiv/src/" in capsys.readouterr().out
    )
    assert proxy.asked.count(b"GET /arxiv/src/arXiv_src_0704") == 0
    run(*arguments, "--max-usd", "1")
    assert tars(tmp_path) == of_month(sample, "0704")
    requests = proxy.asked.count(b"GET /arxiv/src/")
    assert proxy.asked.lower().count(b"x-amz-request-payer: requester") == requests == 3 + len(tars(tmp_path))
    assert SECRET.encode() not in proxy.asked


@pytest.mark.remote
def test_cut_connections_to_the_bucket_are_resumed(
    tmp_path: Path, proxy: CuttingProxy, sample: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transfer, "pause_after", lambda *_: None)
    proxy.cuts_left = 3
    run("bulk", "--months", "0306-1207", "--to", tmp_path, "--max-usd", "1", "--connections", "1")
    assert proxy.cuts_left == 0
    assert tars(tmp_path) == of_month(sample, "0306", "0704", "1207")
    assert proxy.asked.lower().count(b"range: bytes=") == 3


@pytest.mark.remote
def test_no_message_holds_a_credential(
    tmp_path: Path, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "BUCKET", "absent")
    with pytest.raises(UserError, match=r"404 \(NoSuchBucket\)") as refused:
        run("bulk", "--months", "0704", "--to", tmp_path)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    said = str(refused.value) + "".join(capfd.readouterr()) + written.decode()
    assert KEY_ID not in said
    assert SECRET not in said


@pytest.mark.remote
def test_without_credentials_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="boto3 finds no credentials"):
        run("bulk", "--months", "0704", "--to", tmp_path / "src")


# ---------------------------------------------------------------- single papers

TEX = gzip.compress(rb"\documentclass{article}\begin{document}Some words.\end{document}", mtime=0)
PAPERS = {
    "0704.0001": TEX,
    "0704.0002": b"%PDF-1.4 some pages",
    "hep-th/9901001": TEX,
    "0704.0003": TEX[:-20],
}


@pytest.fixture
def eprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """arXiv's e-print address, and TMP/ids.txt with the papers and one that is not there."""
    monkeypatch.setattr(Transfer, "pause_after", lambda *_: None)
    (tmp_path / "ids.txt").write_text("\n".join([*PAPERS, "0704.0404"]))
    with serve(PAPERS | {"0704.0003": TEX}) as server:
        yield server


def fetch(tmp_path: Path, server: FaultyServer, *more: object) -> None:
    run(
        *("papers", "--ids", tmp_path / "ids.txt", "--to", tmp_path / "papers", "--delay", 0),
        *("--base-url", server.url, "--contact", "me@example.org", *more),
    )


def test_papers_arrive_and_preprocessing_reads_them(tmp_path: Path, eprints: FaultyServer) -> None:
    eprints.faults["0704.0001"] = ["503 1", "drop 10", "page"]
    fetch(tmp_path, eprints)
    items = {path.name: path.read_bytes() for path in (tmp_path / "papers/items").rglob("*.*")}
    assert items == {
        "0704.0001.gz": TEX,
        "0704.0002.pdf": PAPERS["0704.0002"],
        "0704.0003.gz": TEX,
        "hep-th9901001.gz": TEX,
    }
    assert list(json.loads((tmp_path / "papers/missing.json").read_text())) == ["0704.0404"]
    said = run_stage("validate_archives", "--src", tmp_path / "papers/src", "--data", tmp_path / "data")
    assert "4 documents in, 3 kept; dropped: pdf_only 1" in said
    # One request at a time: all attempts for a paper come before those for the next.
    asked = [name for name, _ in eprints.requests]
    assert asked == ["0704.0001"] * 4 + ["0704.0002", "hep-th/9901001", "0704.0003", "0704.0404"]
    assert eprints.agents == {"arxiv-to-model/0.1 (mailto:me@example.org)"}


def test_a_cut_off_paper_is_not_taken_for_whole(
    tmp_path: Path, eprints: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    eprints.files["0704.0003"] = PAPERS["0704.0003"]
    monkeypatch.setattr(Transfer, "pause_after", _give_up)
    with pytest.raises(UserError, match=r"0704\.0003: truncated_archive; given up"):
        fetch(tmp_path, eprints)
    assert not list(tmp_path.rglob("0704.0003.gz"))


def _give_up(_: Transfer, fruitless: int, problem: Exception) -> None:
    raise UserError(f"{problem}; given up")


def test_papers_that_are_here_are_not_asked_for_again(tmp_path: Path, eprints: FaultyServer) -> None:
    eprints.faults["0704.0002"] = ["403"]
    with pytest.raises(UserError, match="403"):
        fetch(tmp_path, eprints)
    fetch(tmp_path, eprints)
    asked = [name for name, _ in eprints.requests]
    assert asked == ["0704.0001", "0704.0002", "0704.0002", "hep-th/9901001", "0704.0003", "0704.0404"]
    before = {path: path.read_bytes() for path in (tmp_path / "papers").rglob("*") if path.is_file()}
    stamps = {path: path.stat().st_mtime_ns for path in before}
    fetch(tmp_path, eprints)
    assert len(eprints.requests) == len(asked)
    assert {path: path.stat().st_mtime_ns for path in before} == stamps


def test_there_is_a_pause_between_papers(tmp_path: Path, eprints: FaultyServer) -> None:
    pauses: list[float] = []
    transfer = Transfer(WebSource(eprints.url), tmp_path, Budget(0, 0, 0))
    download.fetch_eprints(transfer, [*PAPERS], 3.0, pauses.append)
    assert pauses == [3.0] * (len(PAPERS) - 1)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        pytest.param(("--contact", "me"), "an e-mail address", id="nameless"),
        pytest.param(("--base-url", "https://export.arxiv.org/e-print"), "at least 3 s", id="hasty"),
    ],
)
def test_impolite_requests_are_refused(
    tmp_path: Path, eprints: FaultyServer, more: tuple[str, str], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        fetch(tmp_path, eprints, *more)
    assert eprints.requests == []


# ---------------------------------------------------------------- the metadata

LINES = b'{"id": "0704.0001"}\n{"id": "0704.0002"}\n'


@pytest.mark.parametrize("kind", ["plain", "zip", "gz"])
def test_the_snapshot_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "snapshot"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("arxiv-metadata-oai-snapshot.json", LINES)
    else:
        path.write_bytes(gzip.compress(LINES) if kind == "gz" else LINES)
    run("metadata", path, "--to", tmp_path / "raw/metadata.json")
    assert (tmp_path / "raw/metadata.json").read_bytes() == LINES


def test_a_cut_off_snapshot_does_not_replace_a_whole_one(tmp_path: Path) -> None:
    whole, cut = tmp_path / "metadata.json", tmp_path / "cut.json"
    whole.write_bytes(LINES)
    cut.write_bytes(LINES[:-5])
    with pytest.raises(UserError, match="cut off"):
        run("metadata", cut, "--to", whole)
    assert whole.read_bytes() == LINES
    assert {path.name for path in tmp_path.iterdir()} == {"metadata.json", "cut.json"}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arxiv-metadata-oai-snapshot.json", LINES * 1000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        zipped()[:-30],
        zipped().replace(b"\x08\x00", b"\x63\x00"),  # another method than deflate
        gzip.compress(LINES)[:-9],
        gzip.compress(LINES, mtime=0)[:12] + b"\xff" * 30,
        b"\x1f\x8bno gzip",
    ],
    ids=["cut_zip", "unknown_method", "cut_gzip", "wrong_bytes", "no_gzip"],
)
def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"snapshot: cannot be unpacked .*fetch it again"):
        run("metadata", path, "--to", tmp_path / "raw/metadata.json")
    assert [file.name for file in (tmp_path / "raw").iterdir() if file.suffix != ".lock"] == []
