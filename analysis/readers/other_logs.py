"""Logs of other trainers as run logs: TensorBoard, Hugging Face's Trainer, nanoGPT-style JSON lines.

In: event files (`events.out.tfevents.*`), `trainer_state.json`, and `*.jsonl` whose rows have `iter` or
`step` and a loss, anywhere below a root of logs. The folder of a file names its run; a folder `seed<k>` below
it tells the seed. Out: RunLogs at scale "other". Where a log does not say how many tokens a step has, the
x axis counts steps.

An event file is read with the few lines below, so that TensorBoard need not be installed. Its format is
TFRecord (length, checksum, data, checksum) around protocol buffers of type tensorflow.Event, of which the
fields step (2) and summary (5) with its tags and scalars are read; everything else is skipped.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.readers.log_bytes import pieces
from analysis.readers.log_rows import COLUMNS, Row, Segment, is_number
from analysis.readers.run_logs import Run, RunLog
from configs.script import UserError

SCALE = "other"
STEP_KEYS = ("step", "iter", "iter_num", "global_step")
TOKEN_KEYS = ("tokens_seen", "num_input_tokens_seen", "train/num_input_tokens_seen", "tokens")
# Names that other trainers give to our columns, the surer ones first.
TRAIN_KEYS = {
    "loss_nats": ("train/loss_nats", "train_loss", "train/loss", "loss/train", "Loss/train", "loss"),
    "lr": ("train/lr", "lr", "learning_rate", "train/learning_rate"),
    "grad_norm": ("train/grad_norm", "grad_norm"),
}
VAL_KEYS = ("val/loss_nats/all", "val_loss", "eval_loss", "eval/loss", "val/loss", "loss/val", "Loss/val")
MOST_JSON_BYTES = 256 << 20  # of a trainer_state.json; a million logged steps have 200 MB
MOST_RECORD_BYTES = 64 << 20  # of an event file: images and graphs are skipped, scalars are small

Values = dict[str, float]


def find_other_logs(roots: Iterable[Path]) -> dict[Run, list[Path]]:
    """Log files of other trainers below some roots, by run. Files of this project's own logs are left out."""
    found: dict[Run, list[Path]] = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and _is_other_log(path):
                parts = path.parent.relative_to(root).parts or (root.resolve().name,)
                seed = parts[-1].removeprefix("seed")
                named = len(parts) > 1 and seed.isdecimal() and parts[-1].startswith("seed")
                names = parts[:-1] if named else parts
                run = Run(SCALE, "_".join(names), int(seed) if named else 0)
                found.setdefault(run, []).append(path)
    return found


def _is_other_log(path: Path) -> bool:
    if "tfevents" in path.name or path.name == "trainer_state.json":
        return True
    if path.suffix != ".jsonl":
        return False
    with path.open("rb") as file:
        try:
            row = json.loads(file.readline(1 << 20))
        except ValueError:
            return False
    return isinstance(row, dict) and "kind" not in row and any(key in row for key in STEP_KEYS)


def read_other_run(run: Run, files: list[Path]) -> RunLog:
    """The log of another trainer. Raises UserError naming a file that is damaged or holds no loss."""
    notes: list[str] = []
    steps: dict[int, Values] = {}
    for path in files:
        for step, values in _read(path, notes):
            steps.setdefault(step, {}).update(values)  # a later file has logged the step again
    rows = [row for step in sorted(steps) for row in _rows(step, steps[step])]
    if not any(row["kind"] == "train" for row in rows):
        names = sorted({name for values in steps.values() for name in values})
        raise UserError(
            f"{files[0]}: holds no training loss; expected one of {', '.join(TRAIN_KEYS['loss_nats'])}, "
            f"found {', '.join(names)[:300] or 'nothing'}"
        )
    header: Row = {"source": sorted({path.name.split(".")[0] for path in files})}
    if not any("tokens_seen" in row for row in rows):
        header["progress"] = "steps"
    for row in rows:
        row.setdefault("tokens_seen", row["step"] if "progress" in header else math.nan)
    frames = {kind: _frame([row for row in rows if row["kind"] == kind], kind) for kind in COLUMNS}
    return RunLog(run, [Segment(header)], notes, **frames)


def _frame(rows: list[Row], kind: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["restart", *COLUMNS[kind]])
    frame["restart"] = 0
    for column in COLUMNS[kind]:
        if is_number(kind, column):
            frame[column] = pd.to_numeric(frame[column])
    frame["tokens_seen"] = frame["tokens_seen"].interpolate() if len(frame) else frame["tokens_seen"]
    return frame.dropna(subset=["tokens_seen"], ignore_index=True)


def _rows(step: int, values: Values) -> Iterator[Row]:
    """Our rows from the numbers that another trainer logged at a step."""
    common: Row = {"step": step}
    tokens = next((values[key] for key in TOKEN_KEYS if key in values), None)
    if tokens is not None:
        common["tokens_seen"] = tokens
    train = {
        column: next((values[key] for key in keys if key in values), None)
        for column, keys in TRAIN_KEYS.items()
    }
    if train["loss_nats"] is not None:
        yield {"kind": "train", **common, **train, "skipped": False, "clipped": False}
    held_out = next((values[key] for key in VAL_KEYS if key in values), None)
    if held_out is not None:
        yield {"kind": "val", **common, "domain": "all", "loss_nats": held_out}


def _read(path: Path, notes: list[str]) -> Iterator[tuple[int, Values]]:
    if "tfevents" in path.name:
        return read_events(path, notes)
    return _read_trainer_state(path) if path.name == "trainer_state.json" else _read_lines(path, notes)


def _read_trainer_state(path: Path) -> Iterator[tuple[int, Values]]:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise UserError(f"{path}: more than {MOST_JSON_BYTES >> 20} MiB: this is no trainer_state.json")
    try:
        history = json.loads(path.read_bytes())["log_history"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}: not a trainer_state.json (JSON with log_history)") from None
    for row in history if isinstance(history, list) else []:
        if isinstance(row, dict) and (found := _step_and_numbers(row)):
            yield found


def _read_lines(path: Path, notes: list[str]) -> Iterator[tuple[int, Values]]:
    n_lines = 0
    for piece in pieces(path):
        for line in piece.split(b"\n"):
            n_lines += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                if not piece.endswith(b"\n") and line == piece.rsplit(b"\n", 1)[-1]:
                    notes.append(f"{path}:{n_lines}: the last line is torn and left out")
                    return
                raise UserError(f"{path}:{n_lines}: not JSON; restore the file or delete the line") from None
            if isinstance(row, dict) and (found := _step_and_numbers(row)):
                yield found
        n_lines -= 1  # behind the newline that ends a piece stands the next one's first line


def _step_and_numbers(row: dict[str, Any]) -> tuple[int, Values] | None:
    numbers = {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    }
    step = next((numbers[key] for key in STEP_KEYS if key in numbers), None)
    return None if step is None or step < 0 else (int(step), numbers)


def read_events(path: Path, notes: list[str]) -> Iterator[tuple[int, Values]]:
    """(step, scalars by tag) of each event of a TensorBoard event file. Raises UserError naming damage."""
    with path.open("rb") as file:
        while head := file.read(12):
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
            if length > MOST_RECORD_BYTES:
                raise UserError(f"{path}: damaged: a record of {length:,} bytes at {file.tell() - 12:,}")
            record = file.read(length + 4)
            if len(head) < 12 or len(record) < length + 4:
                notes.append(f"{path}: the last record is torn and left out")
                return
            try:
                event = list(_fields(record[:length]))
                step = next((value for number, value in event if number == 2 and isinstance(value, int)), 0)
                scalars: Values = {}
                for number, summary in event:
                    if number == 5 and isinstance(summary, bytes):
                        scalars |= _scalars(summary)
            except (IndexError, ValueError, struct.error):
                raise UserError(
                    f"{path}: damaged: the record that ends at byte {file.tell():,} is no event"
                ) from None
            if scalars and step < 1 << 62:
                yield step, scalars


def _scalars(summary: bytes) -> Values:
    found: Values = {}
    for number, value in _fields(summary):
        if number == 1 and isinstance(value, bytes):  # a Summary.Value: tag (1), simple_value (2), tensor (8)
            parts = dict(_fields(value))
            tag, plain, tensor = parts.get(1), parts.get(2), parts.get(8)
            if isinstance(tag, bytes) and isinstance(plain, float):
                found[tag.decode("utf-8", "replace")] = plain
            elif isinstance(tag, bytes) and isinstance(tensor, bytes):
                inner = dict(_fields(tensor))  # dtype (1): 1 is float32; tensor_content (4), float_val (5)
                content = next((inner[n] for n in (4, 5) if isinstance(inner.get(n), bytes)), b"")
                if inner.get(1) == 1 and isinstance(content, bytes) and len(content) == 4:
                    found[tag.decode("utf-8", "replace")] = struct.unpack("<f", content)[0]
                elif isinstance(inner.get(5), float):
                    found[tag.decode("utf-8", "replace")] = float(inner[5])
    return {tag: value for tag, value in found.items() if math.isfinite(value)}


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of each field of a protocol buffer. Raises ValueError, IndexError, struct.error."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, number = key & 7, key >> 3
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field that is longer than its message")
            yield number, message[at : at + length]
            at += length
        elif kind in (1, 5):
            form, size = ("<d", 8) if kind == 1 else ("<f", 4)
            yield number, struct.unpack_from(form, message, at)[0]
            at += size
        else:
            raise ValueError(f"a field of kind {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(value, position behind it) of a number in base 128, the lowest digit first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
