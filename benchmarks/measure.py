"""Write the figures of a benchmark, with date and machine, to analysis/measurements/<name>.json."""

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

MEASUREMENTS = Path(__file__).resolve().parents[1] / "analysis" / "measurements"


def record(name: str, figures: dict[str, Any], packages: Iterable[str] = ()) -> Path:
    """Write `figures` with date, machine and the versions of `packages`; return the file's path."""
    content = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {package: version(package) for package in packages},
        **figures,
    }
    MEASUREMENTS.mkdir(exist_ok=True)
    path = MEASUREMENTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def cpu_model() -> str:
    """The processor's name according to the operating system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
