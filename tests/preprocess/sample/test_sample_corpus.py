"""The built-in sample has the same bytes every time and is packaged as arXiv does."""

import gzip
import hashlib
import io
import json
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from configs.loader import UserError
from preprocess.pipeline.identifiers import from_member_stem, month_of
from preprocess.sample.packaging import gzip_bytes
from preprocess.sample_corpus import DONE, MONTHS, Sample, make_sample, ordinary_papers, write_sample
from tests.conftest import ROOT
from tests.support.sample import N_PAPERS, unpack


def tars(sample: Sample) -> dict[str, bytes]:
    return {name: data for name, data in sample.files.items() if name.endswith(".tar")}


# ---------------------------------------------------------------- the same bytes


def test_same_seed_gives_the_same_bytes(sample: Sample) -> None:
    assert make_sample(0, N_PAPERS).files == sample.files
    assert next(ordinary_papers(1, 1)).data != next(ordinary_papers(0, 1)).data


def test_bytes_depend_on_neither_hash_seed_nor_time_zone_nor_locale(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        subprocess.run(
            [sys.executable, "preprocess/sample_corpus.py", "--out", str(out), "--papers", "3"],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": hash_seed, "TZ": f"UTC+{hash_seed}", "LC_ALL": "C"},
            cwd=ROOT,
        )
        files = sorted(path for path in out.rglob("*") if path.is_file())
        digests.add(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert len(digests) == 1


def test_adding_papers_changes_no_other_paper(sample: Sample) -> None:
    data = {s.data for s in sample.submissions}
    assert {s.data for s in make_sample(0, 5).submissions} <= data


def test_finished_folder_stays_and_a_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    assert write_sample(out, seed=0, n_papers=2)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not write_sample(out, seed=0, n_papers=2)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    manifest = out / "src" / "arXiv_src_manifest.xml"
    first = manifest.read_bytes()
    assert write_sample(out, seed=1, n_papers=2)
    assert manifest.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]  # nothing is left beside it
    (out / DONE).unlink()
    with pytest.raises(UserError, match="something else"):
        write_sample(out, seed=1, n_papers=2)


# ---------------------------------------------------------------- arXiv's packaging


def test_manifest_agrees_with_the_tars(sample: Sample) -> None:
    root = ElementTree.fromstring(sample.files["src/arXiv_src_manifest.xml"])
    entries = {e.findtext("filename", ""): {f.tag: f.text or "" for f in e} for e in root.iter("file")}
    assert root.tag == "arXivSRC"
    assert set(entries) == set(tars(sample))
    assert len(entries) > len(MONTHS)  # some months have several tars
    for name, data in tars(sample).items():
        entry = entries[name]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            folder, *members = tar.getmembers()
            contents = [tar.extractfile(m).read() for m in members]  # type: ignore[union-attr]
        assert folder.isdir()
        assert folder.name == entry["yymm"]
        assert entry["md5sum"] == hashlib.md5(data).hexdigest()
        assert entry["content_md5sum"] == hashlib.md5(b"".join(contents)).hexdigest()
        assert (int(entry["size"]), int(entry["num_items"])) == (len(data), len(members))
        stems = [Path(m.name).stem for m in members]
        assert (entry["first_item"], entry["last_item"]) == (stems[0], stems[-1])
        assert stems == sorted(stems)
        assert all(
            re.fullmatch(rf"{entry['yymm']}/[a-z-]*\d{{4}}[.\d]\d+\.(gz|pdf)", m.name) for m in members
        )
        assert name == f"src/arXiv_src_{entry['yymm']}_{int(entry['seq_num']):03d}.tar"


def test_ids_follow_arxivs_schemes(sample: Sample, items: dict[str, bytes]) -> None:
    assert len(items) == len(sample.submissions)
    shapes = {"9901": r"[a-z-]+/9901\d{3}", "0306": r"[a-z-]+/0306\d{3}"}
    shapes |= {"0704": r"0704\.\d{4}", "1207": r"1207\.\d{4}", "1501": r"1501\.\d{5}", "2105": r"2105\.\d{5}"}
    for paper_id in items:
        assert re.fullmatch(shapes[month_of(paper_id) or ""], paper_id)
    members = []
    for data in tars(sample).values():
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members += [from_member_stem(Path(m.name).stem) for m in tar if m.isreg()]
    assert sorted(map(str, members)) == sorted(items)


def test_metadata_have_every_field_and_every_paper(sample: Sample, items: dict[str, bytes]) -> None:
    *lines, broken = sample.files["metadata.json"].decode().splitlines()
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    rows = [json.loads(line) for line in lines]
    fields = (
        "id submitter authors title comments journal-ref doi report-no categories license abstract versions"
    )
    assert all(list(row) == [*fields.split(), "update_date", "authors_parsed"] for row in rows)
    counts = Counter(row["id"] for row in rows)
    kinds = {s.record.id: s.kind for s in sample.submissions}
    odd = {"two_metadata_lines": 2, "not_in_metadata": 0}
    assert all(counts[paper_id] == odd.get(kind, 1) for paper_id, kind in kinds.items())
    rfc822 = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    assert all(re.fullmatch(rfc822, version["created"]) for row in rows for version in row["versions"])


def test_python_reads_gzips_of_any_size() -> None:
    for n_bytes in (0, 1, 0xFFFF, 0x10000, 200_000):
        data = random.Random(n_bytes).randbytes(n_bytes)
        assert gzip.decompress(gzip_bytes(data)) == data


def test_default_sample_holds_4_to_7_MB_of_tex(sample: Sample) -> None:
    suffixes = (".eps", ".pdf", ".png")
    n_bytes = sum(
        len(data)
        for submission in sample.submissions
        if submission.kind == "ordinary"
        for name, data in unpack(submission.data).items()
        if not name.endswith(suffixes)
    )
    assert 4e6 < n_bytes / N_PAPERS * 320 < 7e6  # of TeX: a demo of 600k tokens hardly repeats any
