r"""Make one text of many files: follow `\input` and similar commands, and insert the bibliography.

Names are resolved among the archive's members alone, relative to the main file as TeX does. Every byte that
is inserted or left out is counted under its cause.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from preprocess.latex.core.wasm import CoreStopped, find_commands
from preprocess.latex.extraction import includes
from preprocess.latex.extraction.archive import kind_of
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.latex.extraction.members import NOT_TEX_SUFFIXES, is_ancillary
from preprocess.latex.extraction.sources import declares_class
from preprocess.latex.lexer import Groups
from preprocess.pipeline.dropped import Dropped

MAX_DEPTH = 40  # nested includes; TeX itself opens 15 to 128 files at a time
MAX_REPEATED_BYTES = 8 << 20  # of files included again: thirty small ones could otherwise make 2^30 copies
MAX_PACKAGE_BYTES = 64 << 10  # a larger style file is a publisher's, not the author's macros

_COMMAND = re.compile(
    rb"\\(?:" + includes.STANDARD + rb"|(?P<bibliography>bibliography\s*\{[^{}]*\})"
    rb"|(?P<package>(?:usepackage|RequirePackage)\s*+(?:\[[^\[\]]*+\])?+\s*+\{(?P<packages>[^{}\\#]*)\})"
    rb"|(?P<begin_document>begin\s*\{document\})"
    rb"|(?P<end_document>end\s*\{document\})"
    rb"|(?P<endinput>endinput(?!\s*\\(?:fi|else)(?![A-Za-z@])))"  # not within \if
    rb"|(?P<parent>documentclass\s*\[(?P<parent_file>[^\[\]{}\n]*)\]\s*\{subfiles\}))"
)
_NAMES = (
    *includes.NAMES, rb"\bibliography", rb"\begin{document}", rb"\end{document}", rb"\endinput",
    rb"\documentclass",
)  # fmt: skip
_PACKAGE_NAMES = (rb"\usepackage", rb"\RequirePackage")
_CLASS = re.compile(rb"\\document(?:class|style)(?![A-Za-z@])")
_HEAD_BYTES = 20_000  # beginning of a file in which its class is searched for
_OPENING_BRACE = re.compile(rb"\s*\{")
_REST_OF_LINE = re.compile(rb"[ \t]*\n")


@dataclass
class Flattened:
    """The text of a paper (UTF-8, LF line ends) and how it came about. `removed`: bytes by cause, signed."""

    text: bytes = b""
    files: list[str] = field(default_factory=list)
    codecs: dict[str, str] = field(default_factory=dict)  # by path, of files that were not UTF-8
    unresolved: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    removed: Counter[str] = field(default_factory=Counter)


class _TooLarge(Exception):
    """The paper exceeds a limit."""


class Flattener:
    """Reads the members of one archive into one text of limited size.

    `max_bytes`: of all files that are read. `max_commands`: backslashes and comment signs; the time of all
    later passes is proportional to their number, so this limits time and acts alike on every machine.
    """

    def __init__(
        self,
        members: Mapping[str, memoryview],
        main: str,
        max_bytes: int,
        max_commands: int,
        follow_own: bool = False,  # also the author's own include commands; `run` finds out if there are any
    ) -> None:
        self.members, self.main = members, main
        self._limits, self._follow_own = (max_bytes, max_commands), follow_own
        self._raw_main = bytes(members[main][:max_bytes])
        self._bytes_left, self._commands_left = max_bytes, max_commands
        self.root = posixpath.dirname(main)
        self.result = Flattened()
        self._read: dict[str, bytes] = {}
        self._uncounted: list[bytes] = []  # texts whose commands are not yet subtracted
        self._uncounted_bytes = 0
        self._open: list[str] = []
        self._repeated = self._n_includes = 0
        self._in_preamble = True  # until the paper's \begin{document}
        self._file_names = {posixpath.basename(path).lower() for path in members}
        self._by_lower_case: dict[str, str] | None = None
        self._has_styles = any(name.endswith(".sty") for name in self._file_names)

    def run(self) -> Flattened | Dropped:
        """The text of the main file with all that it includes, or why the paper is dropped."""
        try:
            self.result.text = self._follow(self.main, self.root, "main")
        except _TooLarge as excess:
            return Dropped("too_large", str(excess))
        except CoreStopped as stop:
            return Dropped("cleaning_stopped", str(stop))
        if not self._follow_own and self._leaves_own_parts():
            return Flattener(self.members, self.main, *self._limits, follow_own=True).run()
        return self.result

    def _leaves_own_parts(self) -> bool:
        """Whether the author's own commands include files that were not read. Expensive to find out."""
        left = self.members.keys() - self._read.keys()
        if all(is_ancillary(path) or path.lower().endswith(NOT_TEX_SUFFIXES) for path in left):
            return False
        return any(includes.own_commands(text, self._file_names) for text in self._read.values())

    def _follow(self, path: str, base: str, role: str = "part") -> bytes:
        """The text of `path` with its includes followed.

        `base`: folder that names are relative to. `role`: main, part, or parent (of a subfile).
        """
        text = self._load(path)
        self._open.append(path)
        own_commands = includes.own_commands(text, self._file_names) if self._follow_own else frozenset()
        text = self._read_commands(text, base, role, own_commands)
        self._open.pop()
        return text

    def _load(self, path: str) -> bytes:
        """A member's text. Its bytes count as input once; each further copy counts as added."""
        result = self.result
        self._bytes_left -= len(self.members[path])
        if self._bytes_left < 0:
            raise _TooLarge(f"{path} brings the text above the limit of bytes")
        if path in self._read:
            self._repeated += len(self._read[path])
            result.removed["included_again"] -= len(self._read[path])
        else:
            result.files.append(path)
            decoded = to_utf8(bytes(self.members[path]), self._raw_main)
            self._read[path] = decoded.text
            if decoded.codec != "utf-8":
                result.codecs[path] = decoded.codec
            result.removed.update(decoded.removed)
        self._count_commands(path)
        return self._read[path]

    def _count_commands(self, path: str) -> None:
        """Subtract a file's commands from the limit; they are counted only when the bytes could exceed it."""
        self._uncounted.append(self._read[path])
        self._uncounted_bytes += len(self._read[path])
        if self._uncounted_bytes <= self._commands_left:
            return
        self._commands_left -= sum(text.count(b"\\") + text.count(b"%") for text in self._uncounted)
        self._uncounted_bytes = 0
        self._uncounted.clear()
        if self._commands_left < 0:
            raise _TooLarge(f"{path} brings the text above the limit of commands and comments")

    def _read_commands(self, text: bytes, base: str, role: str, own_commands: frozenset[bytes]) -> bytes:
        """`text` with each include command replaced by what it includes, cut to its body."""
        removed = self.result.removed
        is_document = role == "part" and _CLASS.search(text, 0, _HEAD_BYTES) is not None
        if is_document and not self._has_class and declares_class(text):
            # The files before it only set options and include it: this part is the paper.
            is_document, role, self._has_class = False, "main", True
            self._raw_main = bytes(self.members[self._open[-1]])
        pieces: list[bytes] = []
        groups, at = Groups(text), 0
        names = _NAMES + _PACKAGE_NAMES if self._in_preamble and self._has_styles else _NAMES
        for kind, start, end, match in _commands(text, names, own_commands):
            if start < at:
                continue  # in a branch of \InputIfFileExists, which was left out
            if kind == "begin_document":
                if is_document:  # a subfile or `standalone`: its body counts
                    removed["preamble_of_part"] += end - at + sum(map(len, pieces))
                    pieces.clear()
                    at = end
                elif role == "parent":
                    removed["body_of_parent"] += len(text) - start
                    pieces.append(text[at:start])
                    return b"".join(pieces)
                else:
                    self._in_preamble = False
            elif kind in ("end_document", "endinput"):
                if kind == "end_document" and role == "part" and not is_document and not text[end:].strip():
                    continue  # it ends the paper, not only the part
                if kind == "end_document" and role == "main":
                    start = line_end.end() if (line_end := _REST_OF_LINE.match(text, end)) else end
                removed[f"after_{kind}"] += len(text) - start
                pieces.append(text[at:start])
                return b"".join(pieces)
            elif self._in_preamble and kind in ("package", "parent"):
                for path in self._loaded(match, base):
                    part = self._follow(path, base, "parent" if kind == "parent" else "part")
                    pieces += (text[at:end], b"\n", part)
                    removed["include_commands"] -= 1
                    at = end
            elif kind in ("input", "import", "own", "bibliography") and (
                found := self._target(kind, match, base)
            ):
                if match[0].startswith(b"\\InputIf"):
                    end = _behind_branches(groups, end)
                removed["include_commands"] += end - start
                part = self._follow(*found)
                # The line end at the end of a file must not make an empty line; and a file without one needs
                # one, or a comment on its last line would swallow what follows.
                line_ends = _REST_OF_LINE.match(text, end) is not None
                if part.endswith(b"\n") and line_ends:
                    part = part[:-1]
                    removed["include_commands"] += 1
                elif not part.endswith(b"\n") and not line_ends:
                    part += b"\n"
                    removed["include_commands"] -= 1
                pieces += (text[at:start], part)
                at = end
        pieces.append(text[at:])
        return b"".join(pieces)

    # ---------------------------------------------------------------- names

    def _target(self, kind: str, match: re.Match[bytes], base: str) -> tuple[str, str] | None:
        """(member, base folder for its includes) that a command names; None where the command stays."""
        result = self.result
        self._n_includes += 1
        if self._n_includes > includes.MAX_INCLUDES:
            result.flags.add("include_budget")
            return None
        if kind == "bibliography":
            path = self._bibliography
            if path is None:
                return None
        else:
            folder, name = includes.file_named(match)
            if kind == "import":
                below = base if match[0].startswith(b"\\sub") else self.root
                base = posixpath.join(below, folder.lstrip("/"))
                folder = ""
            path = self._find(posixpath.join(folder, name) if name else "", base, (".tex", ""))
        if path is None or kind_of(self.members[path]) not in ("text", "empty"):
            if kind != "own":
                result.unresolved.append(_decode(match[0])[:100])
        elif path in self._open:
            result.flags.add("include_cycle")
        elif len(self._open) >= MAX_DEPTH:
            result.flags.add("include_depth")
        elif path in self._read and self._repeated + len(self._read[path]) > MAX_REPEATED_BYTES:
            result.flags.add("include_budget")
        else:
            return path, base
        return None

    def _find(self, name: str, base: str, suffixes: tuple[str, ...]) -> str | None:
        """The member that TeX opens: in `base`, the main file's folder, the root, or the file's folder."""
        there = (posixpath.basename(name + suffix).lower() in self._file_names for suffix in suffixes)
        if not name or not any(there):
            return None
        for folder in dict.fromkeys((base, self.root, "", posixpath.dirname(self._open[-1]))):
            for suffix in suffixes:
                path = posixpath.normpath(posixpath.join(folder, name + suffix))
                if path in self.members:
                    return path
        if self._by_lower_case is None:  # authors' file systems may ignore case
            self._by_lower_case = {path.lower(): path for path in sorted(self.members, reverse=True)}
        for suffix in suffixes:
            path = posixpath.normpath(posixpath.join(base, name + suffix)).lower()
            if path in self._by_lower_case:
                return self._by_lower_case[path]
        return None

    @cached_property
    def _has_class(self) -> bool:
        """Whether the paper's document class has been read: in the main file, or in a part of it."""
        return declares_class(self._raw_main)

    @cached_property
    def _bibliography(self) -> str | None:
        """The paper's .bbl: the one named like the main file, else the only one."""
        own = posixpath.splitext(self.main)[0] + ".bbl"
        if own in self.members:
            return own
        there = [path for path in self.members if path.lower().endswith(".bbl")]
        return there[0] if len(there) == 1 else None

    def _loaded(self, match: re.Match[bytes], base: str) -> list[str]:
        """The author's own style files that a command loads, or a subfile's parent, if not read before."""
        if len(self._open) >= MAX_DEPTH:
            self.result.flags.add("include_depth")
            return []
        if match["parent"] is not None:
            path = self._find(_decode(match["parent_file"]), base, (".tex", ""))
            return [path] if path and path not in self._read else []
        names = (name.strip() for name in _decode(match["packages"]).split(","))
        paths = dict.fromkeys(path for name in names if (path := self._find(name, base, (".sty",))))
        small = (path for path in paths if len(self.members[path]) <= MAX_PACKAGE_BYTES)
        return [path for path in small if path not in self._read and kind_of(self.members[path]) == "text"]


def _commands(
    text: bytes, names: tuple[bytes, ...], own: frozenset[bytes]
) -> Iterator[tuple[str, int, int, re.Match[bytes]]]:
    """(kind, start, end, match) of each command in `text` outside comments and verbatim text.

    `own`: names of the author's include commands. The kinds are the groups of _COMMAND, and `own`.
    """
    at = 0
    for start in find_commands(text, (*names, *(b"\\" + name for name in own))):
        match = _COMMAND.match(text, start) or (includes.OWN.match(text, start) if own else None)
        if match and start >= at and (match.lastgroup != "own" or match["own_name"] in own):
            at = match.end()
            yield match.lastgroup or "", start, at, match


def _behind_branches(groups: Groups, at: int) -> int:
    r"""The offset behind the two branches of `\InputIfFileExists`, which are set-up code and are left out."""
    for _ in range(2):
        brace = _OPENING_BRACE.match(groups.text, at)
        end = groups.end(brace.end() - 1) if brace else -1
        if end < 0:
            break
        at = end
    return at


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "replace").strip()
