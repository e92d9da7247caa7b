"""10,000 damaged and hostile archives, from seeds: none crashes or hangs the stages, none touches a file.

Where a text comes out, every byte is accounted for by cause, and it is UTF-8 without control characters.
"""

import gzip
import io
import random
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preprocess.extract_latex import Extracted
from preprocess.latex.core import wasm
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from tests.support.latex_cases import paper, tar_gz, try_extract

N_EACH = 2_000
MAX_CALLS = 2_000_000  # of functions for one archive, which usually takes some thousands: then it hangs
CONFIG = NormalizeTextConfig.model_validate({})
PREAMBLE = (
    "\\usepackage[latin1]{inputenc}\n\\newcommand{\\R}[2][n]{\\mathbb{R}^{#1}#2}\n\\def\\x#1.{<#1>}\n\\newif\\ifdraft"
    "\n\\newenvironment{e}{A}{B}\\let\\y\\R"
)
BODY = (
    "Größe $\\R{x}$ 5\\% % note\n\n\\section{S}\\label{s}\nText \\verb|%| \\ifdraft no\\else yes\\fi.\n"
    "\\url{a%20b} "
    "\\begin{e}t\\end{e}\\begin{figure}[t]\\includegraphics{f}\\caption[s]{C $c$}\\end{figure}\n"
    "\\begin{verbatim}\n\\end{document} %\n\\end{verbatim}\\footnote{n}\\x a.\\iffalse gone\\fi\n\\cite{k}"
)
FILES = {
    "main.tex": paper(f"{BODY}\\input{{s/a}}\\import{{s/}}{{b}}\\bibliography{{x}}", PREAMBLE).encode(
        "latin-1"
    ),
    "s/a.tex": BODY.encode("latin-1"),
    "s/b.tex": BODY.encode("utf-16"),
    "main.bbl": b"\\begin{thebibliography}{9}\\bibitem{k} K.\\end{thebibliography}",
    "00README.json": b'{"sources": [{"filename": "main.tex", "usage": "toplevel"}]}',
    "f.eps": b"%!PS\n" + bytes(range(256)) * 4,
}
ITEM = tar_gz(FILES)
TAR = gzip.decompress(ITEM)


# ---------------------------------------------------------------- damage


def _damaged(rng: random.Random, data: bytes) -> bytes:
    """`data` with a few bits flipped, and pieces removed, repeated or overwritten."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        kind, at, n = rng.randrange(5), rng.randrange(len(out)), rng.randrange(1, 600)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at > 64:
            del out[at:]
        elif kind == 2:
            source = rng.randrange(len(out))
            out[at:at] = out[source : source + n]
        elif kind == 3:
            out[at : at + 8] = rng.randbytes(8)
        elif len(out) > n + 64:
            del out[at : at + n]
    return bytes(out)


def damaged_gzip(rng: random.Random) -> bytes:
    """A packed archive with damage, sometimes packed again or with bytes behind it."""
    data = _damaged(rng, ITEM)
    return rng.choice((data, data, gzip.compress(data, 1), data + data, data + rng.randbytes(50)))


def damaged_tar(rng: random.Random) -> bytes:
    """A tar with damage whose headers have valid checksums, so that they are used."""
    out = bytearray(_damaged(rng, TAR))
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar" or rng.random() < 0.02:
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % (sum(out[at : at + 512]) % 8**6)
    return bytes(out) if rng.random() < 0.5 else gzip.compress(out, 1)


_NAMES = (
    "../up.tex", "../../etc/passwd", "/etc/passwd", "a/../../b.tex", "..", ".", "", "C:\\x.tex", "..\\w.tex",
    "a\nb.tex", "n" * 300 + ".tex", "\udcff.tex", "main.tex/child.tex", "s//a.tex", "anc/x.tex", "main.tex",
    "~/x", "00README.XXX", "p.tar.gz", "x.bbl", "-rf",
)  # fmt: skip
_TYPES = (
    tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
    tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, b"V", b"Z",
)  # fmt: skip


def hostile_tar(rng: random.Random) -> bytes:
    """Names that leave the archive, links, devices, headers that lie, in any order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for _ in range(rng.randrange(1, 12)):
            info = tarfile.TarInfo(rng.choice(_NAMES))
            info.type = rng.choice(_TYPES) if rng.random() < 0.6 else tarfile.REGTYPE
            info.linkname = rng.choice(("/etc/passwd", "../../x", info.name, "main.tex"))
            content = rng.choice(
                (*FILES.values(), b"", ITEM, b"25 path=../../evil.tex\n", b"\\input{/etc/passwd}")
            )
            info.size = len(content)
            buffer.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
            buffer.write(content + bytes(-len(content) % 512))
        if rng.random() < 0.7:
            file = tarfile.TarInfo("main.tex")
            file.size = len(FILES["main.tex"])
            tar.addfile(file, io.BytesIO(FILES["main.tex"]))
    return gzip.compress(buffer.getvalue(), 1) if rng.random() < 0.7 else _damaged(rng, buffer.getvalue())


_PIECES = [
    *re.findall(r"\\[a-zA-Z]+\*?|\\.|[{}\[\]$%&#]|\w+|\s+", f"{PREAMBLE}\n{BODY}"),
    "\\begin{document}", "\\end{document}", "\\endinput", "\\input{main}", "\\input{s/a}", "\\include{../x}",
    "\\documentclass[s/a]{subfiles}", "\\usepackage[utf-16]{inputenc}", "\\lstnewenvironment{q}{",
    "\\excludecomment{e}", "\\topmatter", "\\def\\y#1#2{\\y#2#1}", "\\global", "\\long", "\\csname",
    "\\catcode`\\%=12", "\\begin{comment}", "\\parskip=", "\\vskip", "^^M", "\r", "\r\n", "\ufeff", "\x00",
    "\x1f", "\u2581", "\U0001d4d0",
]  # fmt: skip


def scrambled_tex(rng: random.Random) -> bytes:
    """LaTeX with tokens inserted, repeated and removed at random."""
    source = re.findall(r"\\[a-zA-Z]+\*?|\\.|\s+|\w+|.", FILES["main.tex"].decode("latin-1"), re.DOTALL)
    for _ in range(rng.randrange(1, 40)):
        at = rng.randrange(len(source) - 1)
        n = rng.randrange(1, 30)
        match rng.randrange(3):
            case 0:
                source[at:at] = rng.choices(_PIECES, k=n)
            case 1:
                source[at:at] = source[max(0, at - n) : at] * rng.randrange(1, 4)
            case _ if len(source) > n + 10:
                del source[at : at + n]
    text = "".join(source).encode(rng.choice(("utf-8", "utf-16", "cp1252")), "replace")
    return gzip.compress(text, 1) if rng.random() < 0.5 else tar_gz({**FILES, "main.tex": text})


def noise(rng: random.Random) -> bytes:
    """Random bytes behind the first bytes of some kind of file."""
    heads = (
        b"\x1f\x9d\x90",
        b"\x1f\x8b\x08\0",
        b"\\documentclass{a}\\begin{document}",
        b"%PDF",
        b"\xfe\xff",
        b"",
    )
    n_bytes = rng.randrange(2000)
    body = (
        rng.randbytes(n_bytes)
        if rng.random() < 0.5
        else bytes(rng.choices(b"\\{}[]%$#&a \n\0\xff", k=n_bytes))
    )
    return rng.choice(heads) + body


# ---------------------------------------------------------------- what must hold

_guarded = False
_READS = (sys.prefix, sys.base_prefix)  # Python's own modules: codecs are imported when first used


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Fails if a file is opened or made, or a process started, while the stages read an archive."""
    if not _guarded:
        return
    if event == "open" and str(arguments[0]).startswith(_READS) and "w" not in str(arguments[1] or ""):
        return
    if event in ("open", "os.mkdir", "os.symlink", "os.link", "os.rename", "os.remove", "subprocess.Popen"):
        raise AssertionError(f"{event} {arguments}")


sys.addaudithook(_guard)


@contextmanager
def guarded() -> Iterator[None]:
    """Fails where a file is touched, and after MAX_CALLS calls of functions."""
    global _guarded
    n_calls = 0
    wasm.clean(b"")  # the first text of a process reads the core's module

    def count(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 2 * MAX_CALLS:  # each is reported when it begins and when it ends
            raise AssertionError(f"not done after {MAX_CALLS} calls")

    sys.setprofile(count)
    _guarded = True
    try:
        yield
    finally:
        _guarded = False
        sys.setprofile(None)


@pytest.mark.slow
@pytest.mark.parametrize("make", [damaged_gzip, damaged_tar, hostile_tar, scrambled_tex, noise])
def test_every_outcome_is_balanced_and_clean(make: Callable[[random.Random], bytes]) -> None:
    outcomes = {"kept": 0, "dropped": 0}
    for seed in range(N_EACH):
        item = make(random.Random(seed))
        with guarded():
            extracted = try_extract(item)  # checks that every byte is accounted for
            clean = None
            if isinstance(extracted, Extracted):
                clean = normalize_document(extracted.text, "T", "A", CONFIG)
        outcomes["kept" if isinstance(clean, Normalized) else "dropped"] += 1
        if isinstance(extracted, Extracted) and isinstance(clean, Normalized):
            assert len(extracted.text) == len(clean.text.encode()) + sum(clean.removed.values()), seed
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u2581]", clean.text), seed
            assert b"root:" not in extracted.text
            assert not any(path.startswith(("/", "..")) for path in extracted.record["files"]), seed
    print(make.__name__, outcomes)
    assert outcomes["kept"] > N_EACH // 20, outcomes  # else most of the code is not reached


def test_guard_sees_endless_work() -> None:
    with pytest.raises(AssertionError, match="not done"), guarded():
        while True:
            len(ITEM)


def test_guard_sees_opened_files() -> None:
    with pytest.raises(AssertionError, match="open"), guarded():
        Path("/etc/hostname").read_bytes()
