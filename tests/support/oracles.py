"""Other programs that tests use: pandoc and latexpand, which read LaTeX as ours does, and chromium.

They are looked up on the PATH. If REQUIRE names one and apt-get exists, Debian's is fetched. From latexpand's
package, which depends on 350 MB of TeX, one Perl script is unpacked and nothing is installed.
"""

import json
import re
import resource
import shutil
import subprocess
import tarfile
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import PATIENCE_S
from tests.support.verbatim import verbatim_spans

_LATEXPAND = "./usr/share/texlive/texmf-dist/scripts/latexpand/latexpand"
_FOUND = re.compile(r"Found (?:input for )?file: (.*)")
_PANDOC_HEAP = "-M1g"  # some papers make it grow without end
PANDOC_CPU_S = 60  # of the processor: the same papers are read on a busy machine


def missing(program: str, required: bool) -> str:
    """Why a program is not available, "" if it is."""
    if shutil.which(program) or (required and shutil.which("apt-get")):
        return ""
    return f"{program} is not installed; REQUIRE={program} brings it in where there is apt-get"


def bring(program: str) -> list[str]:
    """The command that starts `program`; installs it first if necessary."""
    if shutil.which(program):
        return [program]
    _apt_get("update", "-qq")
    if program != "latexpand":
        _apt_get("install", "-y", "-qq", "--no-install-recommends", program)
        return [program]
    folder = Path(tempfile.gettempdir()) / "latexpand-for-tests"
    script = folder / "latexpand"
    if not script.is_file():
        folder.mkdir(exist_ok=True)
        _apt_get("download", "-qq", "texlive-extra-utils", cwd=folder)
        package = next(folder.glob("texlive-extra-utils*.deb"))
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpack,
            tarfile.open(fileobj=unpack.stdout, mode="r|") as tar,
        ):
            content = next(tar.extractfile(member) for member in tar if member.name == _LATEXPAND)
            script.write_bytes(content.read() if content else b"")
        package.unlink()
    return ["perl", str(script)]


def _apt_get(*arguments: str, cwd: Path | None = None) -> None:
    """Run apt-get when no other test does: two at once fail (slurm/devcluster.sh takes the same lock)."""
    command = ["flock", "/var/lib/apt", "apt-get", *arguments]
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)


def files_of_latexpand(
    command: list[str], files: Mapping[str, memoryview], main: str, folder: Path
) -> set[str]:
    """The members that latexpand includes in `main`; writes them to `folder`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    done = subprocess.run([*command, "--verbose", main], cwd=folder, capture_output=True, timeout=PATIENCE_S)
    said = done.stderr.decode("utf-8", "replace")
    return {Path(line).as_posix() for line in _FOUND.findall(said)} & set(files)


# ---------------------------------------------------------------- what pandoc reads in a paper

# Runs of letters; of Chinese and Japanese single characters, since nothing parts their words.
_WORD = re.compile(r"[\u3040-\u9fff]|[^\W\d_\u3040-\u9fff]{2,}")


class PandocBody:
    """Words and display formulas that pandoc read in a paper, without those that it adds itself.

    It adds names of theorems, "Proof." and its QED symbol, labels of references and citations, and the
    alternative text "image".
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.displays: list[str] = []
        self._text: list[str] = []
        self._visit(document["blocks"])
        self.words = _WORD.findall("".join(self._text))

    def _visit(self, node: Any) -> None:
        if isinstance(node, list):
            for child in node:
                self._visit(child)
        if not isinstance(node, dict):
            return
        kind: str = node.get("t", "")
        content: Any = node.get("c")
        if kind == "Str":
            self._text.append(content)
        elif kind in ("Strong", "Emph", "SmallCaps", "Quoted", "Superscript", "Subscript", "Underline"):
            self._visit(content)
        elif kind == "Math":
            self._text.append(" ")
            if content[0]["t"] == "DisplayMath":
                self.displays.append(content[1])
        elif kind in ("Code", "CodeBlock"):
            self._text += (" ", content[1], " ") if kind == "CodeBlock" else (content[1],)
        elif kind in ("Link", "Span"):
            if not any(key in ("reference-type", "label") for key, _ in content[0][2]):
                self._visit(content[1])
        elif kind == "Div":
            self._visit(_without_name(content[1]) if content[0][1] else content[1])
        elif kind == "Image" and [child.get("c") for child in content[1]] == ["image"]:
            pass
        elif kind not in ("RawInline", "RawBlock", "Cite"):
            self._text.append(" ")
            self._visit(content)
            self._text.append(" ")


def _without_name(blocks: list[Any]) -> list[Any]:
    """The blocks of a theorem or proof without its name and the QED symbol."""
    paragraphs = [block["c"][:] if block["t"] in ("Para", "Plain") else None for block in blocks]
    if paragraphs and paragraphs[0] and paragraphs[0][0]["t"] in ("Strong", "Emph"):
        del paragraphs[0][0]
    if paragraphs and paragraphs[-1] and paragraphs[-1][-1].get("c") == "◻":
        del paragraphs[-1][-1]
    return [
        {"t": block["t"], "c": inlines} if inlines is not None else block
        for block, inlines in zip(blocks, paragraphs, strict=True)
    ]


def read_with_pandoc(command: list[str], text: bytes) -> PandocBody | None:
    """The body that pandoc reads in a flattened paper, None if it cannot read the paper."""
    done = subprocess.run(
        [*command, "+RTS", _PANDOC_HEAP, "-RTS", "-f", "latex", "-t", "json"],
        input=text,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (PANDOC_CPU_S, PANDOC_CPU_S)),
    )
    return PandocBody(json.loads(done.stdout)) if done.returncode == 0 else None


# ---------------------------------------------------------------- what a clean text has of it

_COMBINING = dict(
    zip(
        "'`^\"~=.uvHckrdb",
        "\u0301\u0300\u0302\u0308\u0303\u0304\u0307\u0306\u030c\u030b\u0327\u0328\u030a\u0323\u0331",
        strict=True,
    )
)
_LETTERS = {
    "ss": "ß", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å",
    "AA": "Å", "i": "i", "j": "j", "LaTeX": "LaTeX", "TeX": "TeX",
}  # fmt: skip
_ACCENT = re.compile(
    r"\\(?:(['`^\"~=.])\s*|([uvHckrdb])(?:\s+|(?=\{)))(?:\{\\?([A-Za-z])\s*\}|\\([ij])(?![A-Za-z])\s?|([A-Za-z]))"
)
_LETTER = re.compile(
    r"\\(" + "|".join(sorted(_LETTERS, key=len, reverse=True)) + r")(?![A-Za-z])(?:\s+|\{\})?"
)
_NO_WORD = re.compile(r"\\[-/]|[{}]")


def words_of(text: str) -> list[str]:
    """Words of a clean text as pandoc shows them: accents are resolved, command names are not words."""
    source, words, at = text.encode(), [], 0
    for _, start, end in verbatim_spans(source):
        words += _words_outside_verbatim(source[at:start].decode())
        words += _WORD.findall(source[start:end].decode())
        at = end
    return words + _words_outside_verbatim(source[at:].decode())


def _words_outside_verbatim(text: str) -> list[str]:
    text = _ACCENT.sub(lambda m: (m[3] or m[4] or m[5]) + _COMBINING[m[1] or m[2]], text)
    text = _LETTER.sub(lambda m: _LETTERS[m[1]], text)
    text = re.sub(r"\\[A-Za-z@]+", " ", re.sub(r"\\[-/]", "", text))
    return _WORD.findall(unicodedata.normalize("NFKC", _NO_WORD.sub("", text)))


def word_key(word: str) -> str:
    """A form of a word that is the same for different spellings."""
    return unicodedata.normalize("NFKC", word).casefold()


# pandoc renames the environments of displays, writes operators its own way and keeps comments; labels, layout
# and blanks say nothing about a formula.
_NO_FORMULA = re.compile(
    r"(?<!\\)%[^\n]*\n?[ \t]*"
    r"|\\(?:operatorname\*?|mathop|mathrm|ensuremath|protect|nonumber|notag|displaystyle|limits|allowbreak"
    r"|noalign|quad|qquad|(?:small|med|big)skip)(?![A-Za-z])"
    r"|\\(?:label|tag|index|vspace)\*?\{[^{}]*\}"
    r"|\\(?:begin|end)\{(?:aligned|gathered|split|equation|align|gather|multline|eqnarray|displaymath|math|alignat"
    r"|flalign|subequations|multlined)\*?\}(?:\s*\{\d+\})?"
    r"|\\[,;:! ]|\\\\(?:\[[^\]]*\])?|[\s{}&~]"
)


def formula_key(formula: str) -> str:
    """A form of a formula that is the same for different spellings."""
    return _NO_FORMULA.sub("", formula)


_DISPLAY = re.compile(
    r"\\\[.*?\\\]|\$\$.*?\$\$|\\begin\{((?:equation|align|gather|multline|eqnarray|displaymath|alignat|flalign)\*?)\}"
    r".*?\\end\{\1\}",
    re.DOTALL,
)
_FORMULA_TOKEN = re.compile(r"\\[A-Za-z]+|.", re.DOTALL)


def display_tokens(text: str) -> list[list[str]]:
    """The display formulas of a clean text as TeX's tokens."""
    return [_FORMULA_TOKEN.findall(formula_key(match[0])) for match in _DISPLAY.finditer(text)]


def is_within(formula: str, displays: list[list[str]]) -> bool:
    """Whether the tokens of a formula are a subsequence of one of `displays`."""
    tokens = _FORMULA_TOKEN.findall(formula_key(formula))
    for display in displays:
        if len(tokens) <= len(display) <= 2 * len(tokens) + 20:
            rest = iter(display)
            if all(token in rest for token in tokens):
                return True
    return False
