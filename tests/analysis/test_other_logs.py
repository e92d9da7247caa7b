"""Logs of other trainers are drawn: TensorBoard, Hugging Face, nanoGPT; damage is named."""

import contextlib
import json
import math
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import plot_runs
from analysis.figures import style
from analysis.readers.other_logs import find_other_logs, read_events, read_other_run
from analysis.readers.run_logs import Run, RunLog
from configs.script import UserError


def loss(step: int) -> float:
    return 2 + 5 * math.exp(-step / 40)


def record(step: int, **scalars: float) -> bytes:
    """A record of an event file, its checksums zero."""
    values = b""
    for tag, number in scalars.items():
        name = tag.replace("__", "/").encode()
        value = b"\x0a" + bytes([len(name)]) + name + b"\x15" + struct.pack("<f", number)
        values += b"\x0a" + bytes([len(value)]) + value
    steps = bytes([step & 127 | 128, step >> 7])
    event = b"\x09" + struct.pack("<d", 1.7e9) + b"\x10" + steps + b"\x2a" + bytes([len(values)]) + values
    return struct.pack("<Q", len(event)) + bytes(4) + event + bytes(4)


def tensorboard(folder: Path) -> None:
    rows = [record(0)] + [record(s, train__loss=loss(s), lr=1e-3) for s in range(1, 101)]
    rows += [record(s, val__loss=loss(s) + 0.1) for s in range(20, 101, 20)]
    (folder / "events.out.tfevents.1.host").write_bytes(b"".join(rows))


def hugging_face(folder: Path) -> None:
    rows: list[dict[str, float]] = [
        {"step": s, "loss": loss(s), "learning_rate": 1e-3, "grad_norm": 0.5, "epoch": s / 100}
        for s in range(1, 101)
    ]
    rows += [{"step": s, "eval_loss": loss(s) + 0.1, "eval_runtime": 1.0} for s in range(20, 101, 20)]
    for row in rows:
        row["num_input_tokens_seen"] = row["step"] * 2048
    (folder / "trainer_state.json").write_text(
        json.dumps({"log_history": [*rows, {"step": 100, "total_flos": 1}]})
    )


def nanogpt(folder: Path) -> None:
    rows: list[dict[str, float]] = [{"iter": s, "train_loss": loss(s), "lr": 1e-3} for s in range(1, 101)]
    rows += [{"iter": s, "val_loss": loss(s) + 0.1} for s in range(20, 101, 20)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "log.jsonl").write_text(text + '{"iter": 101, "tra')


@pytest.mark.parametrize("write", [tensorboard, hugging_face, nanogpt])
def test_a_log_of_another_trainer_is_read_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(style, "DPI", 40)
    for folder in ("logs/small/seed0", "logs/small/seed1", "logs/large"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder)  # type: ignore[operator]
    found = find_other_logs([tmp_path / "logs"])
    assert list(found) == [Run("other", "large", 0), Run("other", "small", 0), Run("other", "small", 1)]
    log = read_other_run(*next(iter(found.items())))
    assert log.train["step"].tolist() == list(range(1, 101))
    assert log.train["loss_nats"].to_numpy() == pytest.approx([loss(s) for s in range(1, 101)], rel=1e-6)
    assert log.train["lr"].to_numpy() == pytest.approx(1e-3)
    assert log.val["loss_nats"].to_numpy() == pytest.approx([loss(s) + 0.1 for s in range(20, 101, 20)])
    unit = 2048 if write is hugging_face else 1
    assert log.train["tokens_seen"].iloc[-1] == 100 * unit

    monkeypatch.setattr(sys, "argv", ["p", "--logs", str(tmp_path / "logs"), "--out", str(tmp_path / "out")])
    assert plot_runs.main() == 0
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert names == {"training_loss_large.png", "training_loss_small.png", "overlay_large_small.png"}
    said = json.loads((tmp_path / "out/overlay_large_small.json").read_text())
    assert "This project's own run" not in said["note"]
    assert ("torn" in capsys.readouterr().out) == (write is nanogpt)


@pytest.mark.tracking
def test_what_tensorboard_itself_writes_is_read(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_text("header", "x" * 500)
        for step in range(300):
            writer.add_scalar("train/loss_nats", loss(step), step)
            writer.add_scalar("val/loss_nats/all", loss(step) + 1, step, new_style=True)
    (item,) = find_other_logs([tmp_path]).items()
    log = read_other_run(*item)
    assert log.train["step"].tolist() == list(range(300))
    assert log.val["loss_nats"].to_numpy() == pytest.approx([loss(s) + 1 for s in range(300)], rel=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=20))
def test_damaged_events_end_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    good = b"".join(record(s, train__loss=loss(s)) for s in range(10))
    path = tmp_path_factory.mktemp("events") / "events.out.tfevents.1"
    path.write_bytes(good[:at] + junk + good[at + len(junk) :])
    with contextlib.suppress(UserError):  # any other exception fails the test
        for step, scalars in read_events(path, []):
            assert 0 <= step < 1 << 62
            assert all(map(math.isfinite, scalars.values()))


DAMAGE = {
    "no loss": ("log.jsonl", b'{"iter": 1, "speed": 2.0}\n', "holds no training loss.*found iter, speed"),
    "a broken line": ("log.jsonl", b'{"iter": 1, "loss": 2.0}\n{"it\n{"iter": 2}\n', "log.jsonl:2: not JSON"),
    "nested too deep": ("trainer_state.json", b"[" * 200_000, "not a trainer_state.json"),
    "no history": ("trainer_state.json", b'{"a": 1}', "not a trainer_state.json"),
    "a huge record": ("a.tfevents", struct.pack("<Q", 1 << 60) + bytes(8), "damaged: a record of"),
}


@pytest.mark.parametrize(("name", "content", "says"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_other_run(Run("other", "x", 0), [tmp_path / name])


def test_this_projects_own_logs_are_not_taken_for_others(tmp_path: Path) -> None:
    folder = tmp_path / "mini/run20/seed0"
    folder.mkdir(parents=True)
    (folder / "log.0.jsonl").write_text('{"kind": "header"}\n{"kind": "train", "step": 1}\n')
    (folder / "notes.jsonl").write_text("no JSON\n")
    assert find_other_logs([tmp_path]) == {}


def test_a_log_is_whole_where_several_files_hold_it(tmp_path: Path) -> None:
    for part, steps in enumerate((range(1, 60), range(50, 101))):
        name = tmp_path / f"events.out.tfevents.{part}.host"
        name.write_bytes(b"".join(record(s, train__loss=loss(s) + part) for s in steps))
    log: RunLog = read_other_run(*next(iter(find_other_logs([tmp_path]).items())))
    assert log.train["step"].tolist() == list(range(1, 101))
    assert log.train["loss_nats"][54] == pytest.approx(loss(55) + 1)  # the later file's
