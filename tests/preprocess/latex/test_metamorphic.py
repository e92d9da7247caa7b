"""Changes without a meaning do not change the clean text: division into files, comments, packaging.

Each change is made to real papers and to papers generated from pieces.
"""

import gzip
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.extract_latex import Extracted
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from tests.support.comments import comments
from tests.support.latex_cases import paper, real_items, tar_gz, try_extract
from tests.support.verbatim import verbatim_spans

N_REAL, MAX_BYTES = 60, 60_000
CONFIG = NormalizeTextConfig.model_validate({})


def cleaned(item: bytes) -> Normalized:
    """The clean document in an archive."""
    extracted = try_extract(item)
    assert isinstance(extracted, Extracted), extracted
    clean = normalize_document(extracted.text, "T", "A", CONFIG)
    assert isinstance(clean, Normalized), clean
    return clean


# ---------------------------------------------------------------- changes: (source, rng) -> archive

Change = Callable[[str, random.Random], bytes | None]  # None where it cannot be made in a paper
_BODY_BEGINS, _BODY_ENDS = "\\begin{document}", "\\end{document}"
_NOT_IN_A_PART = re.compile(
    r"\\(?:documentclass|documentstyle|endinput|begin\{document\}|end\{document\})|\\(?:if|fi)"
)


def _line_starts(source: str) -> list[int]:
    """Offsets of the body's lines that begin outside verbatim text and comments."""
    raw = source.encode()
    opaque, after = [], 0
    for kind, start, end in [*verbatim_spans(raw), ("", len(raw), len(raw))]:
        opaque += comments(raw, after, start)
        if kind and (kind != "url" or b"\n" in raw[start:end]):
            opaque.append((start, end))
        after = end
    begin, end = source.find(_BODY_BEGINS), source.rfind(_BODY_ENDS)
    starts, offset, spans = [], 0, iter([*opaque, (len(raw), len(raw))])
    span = next(spans)
    at = 0
    for line in source.split("\n"):
        while span[1] <= offset and span[0] < len(raw):
            span = next(spans)
        if begin < at < end and not span[0] < offset < span[1]:
            starts.append(at)
        at += len(line) + 1
        offset += len(line.encode()) + 1
    return starts[1:]


def split_into_inputs(source: str, rng: random.Random) -> bytes | None:
    """Move runs of lines, or whole paragraphs, into files of their own, which may be split again."""
    cuts = [at for at in _line_starts(source) if source[at : at + 1].strip()]
    if rng.random() < 0.5:
        cuts = [at for at in cuts if source[at - 2 : at] == "\n\n"]
    files: dict[str, bytes] = {}
    for n in range(4):
        if len(cuts) < 2:
            break
        first = rng.randrange(len(cuts) - 1)
        start, end = cuts[first], cuts[min(first + rng.randrange(1, 6), len(cuts) - 1)]
        part = source[start:end]
        cuts = [at for at in cuts if at <= start]
        if not _NOT_IN_A_PART.search(part):
            gap = part[len(part.rstrip("\n")) :]  # stays where it is
            files[f"parts/p{n}.tex"] = (part.rstrip("\n") + rng.choice(("\n", ""))).encode()
            source = f"{source[:start]}\\input{{parts/p{n}{rng.choice(('', '.tex'))}}}{gap}{source[end:]}"
    return tar_gz({"main.tex": source.encode(), **files}) if files else None


def add_comments(source: str, rng: random.Random) -> bytes | None:
    """Insert lines that hold only a comment."""
    for at in reversed(_line_starts(source)):
        if rng.random() < 0.3:
            comment = rng.choice(
                ("% \\begin{figure} {", "  %% \\iffalse", "%\\end{document}", "\t% 100% } \\verb|")
            )
            source = f"{source[:at]}{comment}\n{source[at:]}"
    return gzip.compress(source.encode())


def rename_macros(source: str, rng: random.Random) -> bytes | None:
    """Give the author's commands other names, shorter and longer ones."""
    defined = set(re.findall(r"\\newcommand\*?\s*\{?\\([A-Za-z]{2,})\}?", source))
    text = cleaned(gzip.compress(source.encode())).text  # what only TeX can expand keeps its name there
    used = [name for name in sorted(defined) if not re.search(rf"\\{name}(?![A-Za-z@])", text)]
    if not used or "csname" in source:
        return None
    names = {
        name: f"zq{rng.choice(('', 'longer'))}{chr(97 + n % 26)}{n // 26 * 'q'}"
        for n, name in enumerate(used)
    }
    pattern = re.compile(rf"(?<!\\)((?:\\\\)*)\\({'|'.join(used)})(?![A-Za-z@])".encode())
    raw, out, at = source.encode(), [], 0
    verbatim = [(start, end) for kind, start, end in verbatim_spans(raw) if kind != "url"]
    for start, end in [*verbatim, (len(raw), len(raw))]:
        renamed = pattern.sub(
            lambda match: match[1] + b"\\" + names[match[2].decode()].encode(), raw[at:start]
        )
        out += [renamed, raw[start:end]]
        at = end
    return gzip.compress(b"".join(out))


def change_encoding(source: str, rng: random.Random) -> bytes | None:
    """Encode in UTF-16, in UTF-8 with a mark, or in cp1252 if it has all letters and none is declared."""
    kinds = ["utf-16", "utf-8-sig"]
    if "inputenc" not in source and "CJK" not in source and all(ord(c) < 0x100 for c in source):
        kinds += ["cp1252"] * 2
    try:
        return gzip.compress(source.encode(rng.choice(kinds)))
    except UnicodeEncodeError:
        return None


def change_line_ends(source: str, rng: random.Random) -> bytes | None:
    """Use CRLF as on Windows, or CR as on old Macs."""
    return gzip.compress(source.replace("\n", rng.choice(("\r\n", "\r"))).encode())


def change_packaging(source: str, rng: random.Random) -> bytes | None:
    """Pack in a folder, in a nested archive, in several gzip members, with other files or bytes behind."""
    raw = source.encode()
    half = len(raw) // 2
    return rng.choice(
        (
            raw,
            tar_gz({"folder/other.name.tex": raw}),
            gzip.compress(tar_gz({"ms.tex": raw, "a.eps": b"%!PS", "x.cls": b"\\def\\x{y}"})),
            tar_gz({"all.tar.gz": tar_gz({"ms.tex": raw})}),
            gzip.compress(raw[:half]) + gzip.compress(raw[half:]) + b"behind",
        )
    )


CHANGES = [
    split_into_inputs, add_comments, rename_macros, change_encoding, change_line_ends, change_packaging
]  # fmt: skip


@pytest.fixture(scope="module")
def sources(arxiv_real: Path) -> list[str]:
    """Flattened real papers whose macros can all be expanded, a seeded choice of the shorter ones."""
    found = []
    items = list(real_items(arxiv_real))
    random.Random(0).shuffle(items)
    for _, item in items:
        extracted = try_extract(item)
        if not isinstance(extracted, Extracted) or len(extracted.text) > MAX_BYTES:
            continue
        # What stays to be included would find nothing, or something else, in another archive.
        if extracted.record["unresolved"] or _BODY_BEGINS.encode() not in extracted.text:
            continue
        clean = normalize_document(extracted.text, "T", "A", CONFIG)
        if isinstance(clean, Normalized) and not clean.facts["macros_left"]:
            found.append(extracted.text.decode())
        if len(found) == N_REAL:
            break
    return found


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_meaningless_change_leaves_real_papers_as_they_are(sources: list[str], change: Change) -> None:
    tried, changed = 0, []
    for n, source in enumerate(sources):
        item = change(source, random.Random(n))
        if item is not None:
            tried += 1
            before, after = cleaned(gzip.compress(source.encode())).text, cleaned(item).text
            if before != after:
                changed.append((n, *_first_difference(before, after)))
    print(f"{change.__name__}: {tried} papers")
    assert tried >= 15
    assert not changed


def _first_difference(before: str, after: str) -> tuple[str, str]:
    at = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    return before[max(0, at - 60) : at + 60], after[max(0, at - 60) : at + 60]


# ---------------------------------------------------------------- papers of pieces

PREAMBLE = (
    "\\newcommand{\\RR}[2][n]{\\mathbb{R}^{#1}#2}\n\\newcommand{\\eps}{\\varepsilon}\n"
    "\\newcommand\\bea{\\begin{align}}\\newcommand\\eea{\\end{align}}\n\\newif\\ifdraft"
)
PIECES = [
    "Words é 5\\% more", "$\\eps x$ and $\\RR{a}$", "\\RR[m] b", "\\bea a &= b \\eea", "\\url{a%20b}",
    "~\\cite{k} \\ref{s}", "\\[\n x_1 \\]", "\\section{On $\\eps$}\\label{s}", "\\footnote{A note.\n\nTwo.}",
    "\\begin{theorem}[N]\nLet $\\eps$.\n\\end{theorem}", "\\ifdraft no\\else yes\\fi", "{\\bf bold} \\\\",
    "\\begin{figure}\n\\includegraphics{f}\n\\caption{C.}\n\\end{figure}", "\\verb|\\eps%|", "a%\n  b",
    "\\begin{verbatim}\n% \\eps\n\n\\end{verbatim}", "% a comment\n", "\n", " ", *["\n\n"] * 4,
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=3, max_size=40), st.integers(0, 1 << 16))
@pytest.mark.parametrize("change", CHANGES)
def test_meaningless_change_leaves_generated_papers_as_they_are(
    change: Change, pieces: list[str], seed: int
) -> None:
    source = paper("First.\n\n" + "".join(pieces) + "\n\nLast.", PREAMBLE)
    item = change(source, random.Random(seed))
    if item is not None:
        assert cleaned(item).text == cleaned(gzip.compress(source.encode())).text
