"""One text from a paper's files: what `\\input`, `\\include` and their relatives bring in.

Everything else stays as it was written, comments and preamble included. Commands inside comments and
verbatim text, and after `\\endinput` or the end of the document, bring in nothing.
"""

import posixpath
import re
from collections import Counter
from dataclasses import dataclass, field

from preprocess.latex.includes import INCLUDE, include_target, resolve
from preprocess.latex.mainfile import TEX_SUFFIXES, MainFile

MAX_DEPTH = 20  # of includes within includes; TeX itself stops at 15 open files
VERBATIM = (
    rb"verbatim\*?|Verbatim\*?|BVerbatim|LVerbatim|lstlisting|minted|alltt|comment|filecontents\*?|code"
)
_STOP = re.compile(
    rb"%[^\n]*|\\(?:[\\%]|begin\s*\{(" + VERBATIM + rb")\}|verb\*?([^A-Za-z*\s])|end\s*\{\s*document\s*\}"
    rb"|(?:input|include|subfile|import|subimport|InputIfFileExists|subfileinclude|includefrom|subincludefrom|loadfile"
    rb"|endinput|bibliography|printbibliography|url|path|href|lstinline)(?![A-Za-z@]))"
)
_BEGIN_DOCUMENT = re.compile(rb"^[^%\n]*?\\begin\s*\{\s*document\s*\}[ \t]*\n?", re.MULTILINE)
_BIBLIOGRAPHY = re.compile(rb"\\(?:bibliography\s*\{[^{}]*\}|printbibliography(?:\s*\[[^\]]*\])?)")
_URL_ARGUMENT = re.compile(rb"\s*(?:\{[^{}\n]{0,2000}\}|\|[^|\n]{0,2000}\|)")


@dataclass
class Flattened:
    """A paper's text, and how it came about."""

    text: bytes
    used: list[str]  # files in the order in which they were first read
    unresolved: list[str]  # names that no file of the archive answers to
    flags: list[str]


@dataclass
class _Reader:
    files: dict[str, bytes]
    removed: Counter[str]
    max_bytes: int
    bbl: str | None
    out: list[bytes] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    n_bytes: int = 0
    ended: bool = False  # \end{document} was read

    def flag(self, name: str) -> None:
        if name not in self.flags:
            self.flags.append(name)

    def emit(self, piece: bytes) -> None:
        self.out.append(piece)
        self.n_bytes += len(piece)

    def read(self, name: str, folder: str, opened: tuple[str, ...]) -> None:
        """Emit a file with what it includes. `folder`: where `\\import` has put the base of names."""
        text = self.files[name]
        if name in self.used:
            self.removed["file_included_again"] -= len(text)
        else:
            self.used.append(name)
        start, end = 0, len(text)
        if opened and (body := _BEGIN_DOCUMENT.search(text)):
            # A subfile, or a part that can also stand alone: its preamble is not the paper's.
            start = body.end()
            self.removed["part_preamble"] += start
        position = start
        while match := _STOP.search(text, position):
            token = match[0]
            position = match.end()
            if token[:1] == b"%" or token in (b"\\\\", b"\\%"):
                continue
            if environment := match[1]:
                close = text.find(b"\\end{" + environment + b"}", position)
                position = close if close >= 0 else position
            elif match[2]:
                line_end = text.find(b"\n", position)
                close = text.find(match[2], position, line_end if line_end >= 0 else end)
                position = close + 1 if close >= 0 else position
            elif token.startswith(b"\\end"):
                if token == b"\\endinput":
                    line_end = text.find(b"\n", position)  # TeX reads the line to its end
                    end = line_end + 1 if line_end >= 0 else end
                    self.removed["after_endinput"] += len(text) - end
                elif opened:
                    end = match.start()
                    self.removed["part_preamble"] += len(text) - end
                else:
                    self.ended = True
                    end = position
                    self.removed["after_end_document"] += len(text) - end
                break
            elif token in (b"\\url", b"\\path", b"\\href", b"\\lstinline"):
                if argument := _URL_ARGUMENT.match(text, position):
                    position = argument.end()
            else:
                command = (_BIBLIOGRAPHY if b"bibliography" in token else INCLUDE).match(text, match.start())
                if command and self._follow(command, name, folder, opened, text[start : match.start()]):
                    self.removed["include_commands"] += len(command[0])
                    start = position = command.end()
                    if self.ended:
                        self.removed["after_end_document"] += len(text) - start
                        return
        self.emit(text[start:end])
        if opened and text and not text[start:end].endswith(b"\n"):
            # TeX ends every line, so that a comment on a file's last line does not run on into the next file.
            self.removed["line_ends"] -= 1
            self.emit(b"\n")

    def _follow(
        self, command: re.Match[bytes], name: str, folder: str, opened: tuple[str, ...], before: bytes
    ) -> bool:
        """Emit `before` and the file that a command brings in; False if the command stays as it is."""
        if command.re is _BIBLIOGRAPHY:
            if self.bbl is None or self.bbl in self.used:
                return False
            target, base = self.bbl, folder
        else:
            sub, wanted = include_target(command)
            if command[2]:
                inside = folder if command[2].startswith(b"sub") else ""
                base = posixpath.normpath(posixpath.join(inside, sub))
                found = resolve(wanted, [base], self.files)
            else:
                base = folder
                # TeX looks from the root; writers who compile elsewhere mean the file's own folder.
                found = resolve(wanted, [folder, "", posixpath.dirname(name)], self.files)
            if found is None or not _is_text(self.files[found]):
                if "#" not in wanted and wanted not in self.unresolved:
                    self.unresolved.append(wanted)
                return False
            target = found
        if target in opened or target == name:
            self.flag("include_cycle")
            return False
        if len(opened) >= MAX_DEPTH or self.n_bytes + len(self.files[target]) > self.max_bytes:
            self.flag("include_limit")
            return False
        self.emit(before)
        self.read(target, base, (*opened, name))
        return True


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:4096] and not data.startswith((b"%!PS", b"%PDF"))


def flatten(files: dict[str, bytes], main: MainFile, max_bytes: int, removed: Counter[str]) -> Flattened:
    """The paper's text. Adds to `removed` every byte of `files` that is not in it, by cause.

    `files` are UTF-8 with LF line ends. At most about `max_bytes` are written: an include beyond that stays a
    command and is flagged.
    """
    reader = _Reader(files, removed, max_bytes, _bibliography_file(files, main.name))
    reader.read(main.name, "", ())
    for name, data in files.items():
        if name not in reader.used:
            removed[f"unused_{_kind(name)}"] += len(data)
    return Flattened(b"".join(reader.out), reader.used, reader.unresolved, reader.flags)


def _bibliography_file(files: dict[str, bytes], main: str) -> str | None:
    """`<main>.bbl`, or the only .bbl there is."""
    own = posixpath.splitext(main)[0] + ".bbl"
    if own in files:
        return own
    others = [name for name in files if name.lower().endswith(".bbl")]
    return others[0] if len(others) == 1 else None


_KINDS = {
    "tex": TEX_SUFFIXES,
    "styles": (".sty", ".cls", ".bst", ".clo", ".def", ".fd", ".cfg"),
    "bibliography": (".bbl", ".bib"),
    "figures": (
        ".eps",
        ".ps",
        ".pdf",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".pstex",
        ".svg",
        ".epsi",
        ".tikz",
        ".pgf",
    ),
}


def _kind(name: str) -> str:
    if name.startswith("anc/"):
        return "ancillary"
    lower = name.lower()
    return next((kind for kind, suffixes in _KINDS.items() if lower.endswith(suffixes)), "other_files")
