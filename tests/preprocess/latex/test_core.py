"""The compiled core: it is what its sources say, and nothing that it reads can harm the process around it."""

import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from configs.loader import UserError
from preprocess import normalize_text
from preprocess.latex.core import build, wasm
from preprocess.normalize_text import NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from tests.support.latex_cases import paper

CONFIG = NormalizeTextConfig()
TEXT = paper("$\\R$ and \\R.", "\\newcommand{\\R}{\\mathbb{R}}").encode()


@pytest.mark.core
def test_the_module_is_what_its_sources_compile_to(tmp_path: Path) -> None:
    build.compile_core(tmp_path / "core.wasm")
    assert (tmp_path / "core.wasm").read_bytes() == wasm.MODULE.read_bytes()


def test_another_module_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = shutil.copy(wasm.MODULE, tmp_path)
    with Path(other).open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(wasm, "MODULE", Path(other))
    with pytest.raises(UserError, match="belongs to this checkout"):
        wasm._compiled.__wrapped__(True)


def test_the_module_reaches_nothing_outside() -> None:
    module = wasmtime.Module.from_file(wasmtime.Engine(), str(wasm.MODULE))
    assert not module.imports


def test_causes_have_the_order_of_the_core() -> None:
    header = wasm.MODULE.with_name("core.h").read_text()
    named = re.search(r"enum Cause \{[^\n]*\n(.*?)N_CAUSES", header, re.DOTALL)
    assert named
    assert re.findall(r"[A-Z_]+", named[1]) == [cause.upper() for cause in wasm.CAUSES]


@pytest.mark.parametrize(
    ("more", "max_memory"),
    [(b"x" * (8 << 20), 4 << 20), (b"\\x % y\n" * (1 << 19), 8 << 20)],
    ids=["when it is read", "in the middle"],
)
def test_a_text_for_which_the_memory_is_too_small_is_dropped(
    monkeypatch: pytest.MonkeyPatch, more: bytes, max_memory: int
) -> None:
    monkeypatch.setattr(wasm, "MAX_MEMORY", max_memory)
    monkeypatch.setattr(wasm, "_local", threading.local())
    result = normalize_document(TEXT + more, "T", "A", CONFIG)
    assert isinstance(result, Dropped)
    assert result.reason == "cleaning_stopped"
    assert not isinstance(normalize_document(TEXT, "T", "A", CONFIG), Dropped)  # the next one is cleaned


def test_a_large_memory_is_given_back() -> None:
    wasm.clean(b"x " * (30 << 20))
    assert getattr(wasm._local, "instance", None) is None


def test_a_process_with_limited_addresses_cleans_as_well() -> None:
    code = f"from preprocess.latex.core import wasm; print(wasm.clean({TEXT!r}).text)"
    command = f"ulimit -v 2000000; exec {sys.executable} -c {shlex.quote(code)}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout == f"{wasm.clean(TEXT).text!r}\n"


def test_one_text_leaves_nothing_for_the_next() -> None:
    first = wasm.clean(TEXT)
    wasm.clean(b"\\newcommand{\\R}{S}\\R\\begin{verbatim}\\x\\begin{figure}\\iffalse")
    assert wasm.clean(TEXT) == first
    assert wasm.clean(b"\\R").text == b"\\R\n"


@given(st.text(st.characters(max_codepoint=0xFF), max_size=60).map(str.encode))
def test_control_characters_are_those_of_normalize_text(text: bytes) -> None:
    plain = text.translate(None, normalize_text._CONTROL_CHARACTERS)
    cleaned, expected = wasm.clean(text), wasm.clean(plain)
    assert cleaned.text == expected.text
    assert cleaned.removed["control_characters"] == len(text) - len(plain)


def test_threads_clean_at_once() -> None:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(wasm.clean(TEXT).text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"$\\mathbb{R}$ and \\mathbb{R}.\n"] * 4
