"""Run the compiled core: it finds the commands of a file that includes others, and cleans a flattened paper.

The module is WebAssembly. It reads and writes nothing but its own memory, every access is checked, and an
input that it cannot handle stops it with an error instead of harming the process.
"""

import ctypes
import hashlib
import resource
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

from configs.loader import UserError

MODULE = Path(__file__).with_name("core.wasm")
# Of the module. It stands here because a stage makes its shards again when the text of its modules changes.
SHA256 = "e814f3587064cd4ed2fbe5db5cc2a8c834b0f680051dcbeaa816493529223a48"
MAX_MEMORY = 1 << 30  # bytes; 10 MB of sentences take 59 MB, and extract_latex lets 16 MB pass
_KEPT_MEMORY = 64 << 20  # an instance that has grown beyond these bytes is given back
# The causes of enum Cause in core.h, in its order.
CAUSES = (
    "control_characters", "comments", "comment_environments", "verbatim", "conditionals", "preamble",
    "after_end_document", "expl_regions", "macro_definitions", "macro_expansion", "layout", "prose_layout",
    "front_matter", "figures", "tables", "algorithms", "drawings", "bibliography", "white_space",
)  # fmt: skip
_TREATMENTS = {"keep": 0, "captions": 1, "drop": 2}
_ADDRESSES, _REQUEST = struct.Struct("<3I"), struct.Struct("<8I")  # as in interface.c
_RESULT = struct.Struct(f"<6I{len(CAUSES)}i2I")
_PAGE, _ROOM = 1 << 16, 1 << 16  # bytes: of a page of memory; that are free behind a text at least
_local = threading.local()


class CoreStopped(Exception):
    """The core could not finish a text: it needs more than MAX_MEMORY, or the core has a mistake."""


@dataclass(frozen=True)
class Cleaned:
    """The body of a paper as clean text, and what cleaning did."""

    text: bytes
    removed: Counter[str]  # bytes by cause; negative if bytes were added
    n_replaced: int  # uses of the author's macros that were expanded
    n_left: int  # uses that stay
    left_most: list[str]  # the five macros that stay most often


def clean(
    text: bytes,
    *,
    expand_macros: bool = True,
    drop_front_matter: bool = True,
    figures: str = "captions",
    tables: str = "keep",
    algorithms: str = "keep",
    bibliography: str = "drop",
) -> Cleaned:
    """Clean a flattened paper (UTF-8 with LF line ends).

    `figures`, `tables`, `algorithms` and `bibliography` are `keep`, `captions` or `drop`. Raises CoreStopped.
    """
    treatments = [_TREATMENTS[how] for how in (figures, tables, algorithms, bibliography)]
    with _instance() as core:
        return core.clean(text, expand_macros, drop_front_matter, *treatments)


def find_commands(text: bytes, names: Iterable[bytes]) -> tuple[int, ...]:
    r"""The offsets in `text` at which commands begin, outside comments and verbatim text.

    `names`: of the commands, for instance rb"\input" and rb"\begin{document}". Raises CoreStopped.
    """
    with _instance() as core:
        return core.find_commands(text, b"\n".join(names))


@contextmanager
def _instance() -> Iterator["Instance"]:
    """The instance of this thread; a new one follows where it stops or has grown large."""
    instance: Instance | None = getattr(_local, "instance", None)
    instance = _local.instance = instance or _new_instance()
    try:
        yield instance
    except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
        _local.instance = None
        raise CoreStopped(str(stop).splitlines()[0]) from stop
    finally:
        if instance.n_bytes > _KEPT_MEMORY:
            _local.instance = None


def _new_instance() -> "Instance":
    """An instance for this thread."""
    # Reserving 4 GB of addresses saves a check at each access, a seventh of the time. Where the addresses of
    # a process are limited (`ulimit -v`), they are not reserved.
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return Instance(*_compiled(not is_limited))


@cache
def _compiled(reserves_addresses: bool) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """The module as machine code, which takes 0.15 s to make. wasmtime keeps it in the user's cache."""
    code = MODULE.read_bytes()
    if hashlib.sha256(code).hexdigest() != SHA256:
        raise UserError(f"{MODULE} is not the module that belongs to this checkout: get it from git again")
    try:
        engine = _engine(reserves_addresses, caches=True)
    except wasmtime.WasmtimeError:  # there is no folder for a cache
        engine = _engine(reserves_addresses, caches=False)
    return engine, wasmtime.Module(engine, code)


def _engine(reserves_addresses: bool, caches: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    if not reserves_addresses:
        config.memory_reservation, config.memory_guard_size = 0, 1 << 16
        config.memory_reservation_for_growth = 16 << 20
    if caches:
        config.cache = True
    return wasmtime.Engine(config)


class Instance:
    """The module with its memory, for one text after the other.

    `fuel`: instructions that it may carry out, for an engine that counts them.
    """

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, fuel: int = 0) -> None:
        self.store = wasmtime.Store(engine)
        if fuel:
            self.store.set_fuel(fuel)
        self.store.set_limits(memory_size=MAX_MEMORY)
        exports: Any = wasmtime.Instance(self.store, module, []).exports(self.store)
        self._memory, self._clean = exports["memory"], exports["clean"]
        self._find_commands = exports["find_commands"]
        begin = exports["begin"](self.store)
        self._locate()
        self._input, self._request, self._result = _ADDRESSES.unpack(self._read(begin, _ADDRESSES.size))

    def clean(self, text: bytes, *options: int) -> Cleaned:
        """As the function `clean`."""
        self._write(text, _REQUEST.pack(len(text), 0, *options))
        self._clean(self.store)
        self._locate()
        text_at, n_bytes, n_replaced, n_left, names_at, n_names, *counts = self._values()[:-2]
        names = self._read(names_at, n_names).decode("utf-8", "replace").split("\n")[:-1]
        removed = Counter({cause: n for cause, n in zip(CAUSES, counts, strict=True) if n})
        return Cleaned(self._read(text_at, n_bytes), removed, n_replaced, n_left, names)

    def find_commands(self, text: bytes, names: bytes) -> tuple[int, ...]:
        """As the function `find_commands`, with a name a line."""
        self._write(text + names, _REQUEST.pack(len(text), len(names), *[0] * 6))
        self._find_commands(self.store)
        self._locate()
        *_, offsets, n = self._values()
        return struct.unpack(f"<{n}I", self._read(offsets, 4 * n))

    def _write(self, text: bytes, request: bytes) -> None:
        missing = self._input + len(text) + _ROOM - self.n_bytes
        if missing > 0:
            self._memory.grow(self.store, -(-missing // _PAGE))
            self._locate()
        ctypes.memmove(self._address(self._input, len(text)), text, len(text))
        ctypes.memmove(self._address(self._request, len(request)), request, len(request))

    def _values(self) -> tuple[int, ...]:
        return _RESULT.unpack(self._read(self._result, _RESULT.size))

    def _read(self, at: int, n_bytes: int) -> bytes:
        return ctypes.string_at(self._address(at, n_bytes), n_bytes)

    def _locate(self) -> None:
        """Ask where the memory is and how large it is; both can change when it grows."""
        self.n_bytes = int(self._memory.data_len(self.store))
        self._start = ctypes.addressof(self._memory.data_ptr(self.store).contents)

    def _address(self, at: int, n_bytes: int) -> int:
        """Where the bytes at offset `at` of the module's memory are in this process."""
        if at < 0 or at + n_bytes > self.n_bytes:
            raise wasmtime.WasmtimeError(f"bytes {at} to {at + n_bytes} are outside of the core's memory")
        return self._start + at
