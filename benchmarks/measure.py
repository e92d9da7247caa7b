"""Write the figures of a benchmark, with date and machine, to analysis/measurements/<name>.json."""

import argparse
import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs.script import default_data_root

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


def token_arguments(doc: str | None) -> tuple[argparse.Namespace, Path]:
    """Command line (scale, variant) and data root of a benchmark that reads token shards.

    `doc`: the benchmark's docstring, shown by --help.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="mini", help="of the token shards (default: mini)")
    parser.add_argument("--data", type=Path, help="data root (default: $ARXIV_DATA, else data/<scale>)")
    parser.add_argument("--variant", default="main", help="the corpus (default: main)")
    arguments = parser.parse_args()
    return arguments, arguments.data or default_data_root(arguments.scale)


def cpu_model() -> str:
    """The processor's name according to the operating system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
