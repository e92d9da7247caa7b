"""Published logs: the history without void rows, nothing private, the same bytes every time."""

import gzip
import json
from pathlib import Path

from analysis.publish_logs import compact
from analysis.readers.run_logs import Run, find_runs, read_run
from tests.conftest import run_script
from tests.support.analysis_logs import event, header, history, interrupted_run, write

RUN = Run("demo", "run20", 0)


def test_a_published_log_reads_like_the_runs_own(tmp_path: Path) -> None:
    (interrupted_run(tmp_path / "runs") / "DONE").write_text("")
    run_script("analysis/publish_logs.py", "--logs", tmp_path / "runs", "--out", tmp_path / "logs")
    own = read_run(RUN, find_runs([tmp_path / "runs"])[RUN])
    published = read_run(RUN, find_runs([tmp_path / "logs"])[RUN])
    for kind in ("train", "perf", "val", "event"):
        assert getattr(published, kind).equals(getattr(own, kind)), kind
    assert len(published.segments) == 2
    assert published.notes == []


def test_publishing_again_changes_nothing_and_compacting_twice_is_once(tmp_path: Path) -> None:
    (interrupted_run(tmp_path / "runs") / "DONE").write_text("")
    command = ("analysis/publish_logs.py", "--logs", tmp_path / "runs", "--out", tmp_path / "logs")
    run_script(*command)
    path = tmp_path / "logs/demo/run20/seed0.jsonl.gz"
    first = path.read_bytes()
    assert "unchanged" in run_script(*command).stdout
    assert compact(read_run(RUN, [path])) == first


def test_nothing_private_is_published(tmp_path: Path) -> None:
    secret = {"hostname": "node17", "argv": ["/home/me/x.py"], "env": {"TOKEN": "hf_x"}, "out": "/scratch/me"}
    rows = [header(**secret), *history(1, 2), event(2, "checkpoint", path="/scratch/me/step_2", n_bytes=5)]
    rows[1] |= {"note": "written on node17", "loss_nats/physics": 2.5}
    path = write(tmp_path / "runs/demo/run20/seed0/log.0.jsonl", rows)
    text = gzip.decompress(compact(read_run(RUN, [path]))).decode()
    for word in ("node17", "/home", "/scratch", "hf_x", "hostname"):
        assert word not in text
    published = [json.loads(line) for line in text.splitlines()]
    assert published[1]["loss_nats/physics"] == 2.5
    assert published[-1] | {"event": "checkpoint", "n_bytes": 5} == published[-1]


def test_an_unfinished_run_is_left_out(tmp_path: Path) -> None:
    interrupted_run(tmp_path)
    done = run_script("analysis/publish_logs.py", "--logs", tmp_path, "--out", tmp_path / "logs", check=False)
    assert done.returncode == 2
    assert "demo/run20/seed0: not finished" in done.stdout
    assert not (tmp_path / "logs").exists()
