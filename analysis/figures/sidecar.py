"""The JSON file beside each figure: the logs that it shows, the command, a hash of what is drawn."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.readers.run_logs import Run, RunLog

ROOT = Path(__file__).resolve().parents[2]


def write(
    stem: Path,
    figure: Figure,
    logs: Sequence[RunLog],
    files: dict[Run, list[Path]],
    measured: Sequence[Path] = (),
) -> Path:
    """Write `stem`.json: sha256 of every log, each run's header, commit, command, text and arrays.

    `measured`: files of analysis/measurements that the figure shows.
    """
    content = {
        "figure": stem.name,
        "title": figure.texts[0].get_text(),
        "note": " ".join(figure.texts[2].get_text().split()),
        "arrays_sha256": arrays_sha256(figure),
        "command": shlex.join(["python", *sys.argv]),
        **commit(),
        "logs": [
            {
                "run": str(log.run),
                "files": _hashed(files[log.run]),
                "configuration": log.header,
            }
            for log in logs
        ],
        "measured": _hashed(measured),
    }
    path = stem.with_name(f"{stem.name}.json")
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    return path


def _hashed(files: Sequence[Path]) -> list[dict[str, str]]:
    return [{"path": str(path), "sha256": file_sha256(path)} for path in files]


def arrays_sha256(figure: Figure) -> str:
    """Hash of every line, band and mark in a figure, with labels and limits: what its pixels come from."""
    digest = hashlib.sha256()

    def add(values: Any) -> None:
        digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())

    for axes in figure.axes:
        digest.update(f"{axes.get_xlabel()}|{axes.get_ylabel()}|{axes.get_xscale()}".encode())
        add([*axes.get_xlim(), *axes.get_ylim()])
        for line in axes.lines:
            digest.update(str(line.get_label()).encode())
            add(line.get_xydata())
        for collection in axes.collections:
            for path in collection.get_paths():
                add(path.vertices)
        for patch in axes.patches:
            add(patch.get_path().vertices)
    return digest.hexdigest()


_file_hashes: dict[tuple[Path, int, int], str] = {}


def file_sha256(path: Path) -> str:
    """sha256 of a file; read once, though several figures show it."""
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    if key not in _file_hashes:
        with path.open("rb") as file:
            _file_hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _file_hashes[key]


def commit() -> dict[str, Any]:
    """Commit of this checkout and whether files differ from it; None where there is no git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"git_sha": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}
