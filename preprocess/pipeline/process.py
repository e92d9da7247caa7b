"""What every process that runs a stage does at its start, to spend less time on memory and on imports."""

import ctypes
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt, from glibc's malloc.h
KEPT_BYTES = 64 << 20


@cache
def prepare_process() -> None:
    """Keep freed memory for the next document, and let pyarrow not import pandas."""
    _keep_freed_memory()
    _look_for_pandas_in_vain()


def _keep_freed_memory() -> None:
    """Tell glibc to keep up to KEPT_BYTES of freed memory; other C libraries are left as they are.

    Each paper takes and frees buffers of megabytes. Given back to the system and taken again, their pages are
    filled with zeros every time, which is a tenth of the time of all stages.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)


class _NoPandas:
    """Finds every module except pandas where the other finders find it."""

    @staticmethod
    def find_spec(name: str, _: Sequence[str] | None, __: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)
        return None


def _look_for_pandas_in_vain() -> None:
    """Convert a first list with pandas out of sight.

    pyarrow imports pandas to see whether that list is a Series, which takes 0.2 s and 40 MB in each process.
    It looks for pandas again when a table is converted to a DataFrame.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(_NoPandas)
