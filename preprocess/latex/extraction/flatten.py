r"""One text from many files: `\input` and its relatives followed within the archive, the bibliography put in.

Names are resolved among the archive's own members and nowhere else, relative to the main file as TeX does.
Every byte that is put in or left out is counted under its cause.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from preprocess.latex.extraction import includes
from preprocess.latex.extraction.archive import kind_of
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.latex.extraction.members import NOT_TEX_SUFFIXES, is_ancillary
from preprocess.latex.lexer import VERBATIM_ENVIRONMENTS, Groups, live_events, opaque_pattern
from preprocess.pipeline.dropped import Dropped

MAX_DEPTH = 40  # of files in files; TeX itself opens 15 to 128 at a time
MAX_REPEATED_BYTES = 8 << 20  # of files put in again: without a limit thirty small ones make 2^30 copies
MAX_PACKAGE_BYTES = 64 << 10  # a larger style file is a publisher's, not the author's macros

_OPAQUE = (*VERBATIM_ENVIRONMENTS, b"comment")
_COMMANDS = (
    includes.STANDARD + rb"|(?P<bibliography>bibliography\s*\{[^{}]*\})"
    rb"|(?P<package>(?:usepackage|RequirePackage)\s*+(?:\[[^\[\]]*+\])?+\s*+\{(?P<packages>[^{}\\#]*)\})"
    rb"|(?P<begin_document>begin\s*\{document\})"
    rb"|(?P<end_document>end\s*\{document\})"
    rb"|(?P<endinput>endinput(?![A-Za-z@])(?!\s*\\(?:fi|else)(?![A-Za-z@])))"  # in a conditional: TeX knows
    rb"|(?P<parent>documentclass\s*\[(?P<parent_file>[^\[\]{}\n]*)\]\s*\{subfiles\})"
)
_NAMES = (
    *includes.NAMES, b"bibliography", b"usepackage", b"RequirePackage", b"begin{document}", b"end{document}",
    b"endinput", b"documentclass",
)  # fmt: skip


@lru_cache(maxsize=64)
def _live(own_commands: frozenset[bytes]) -> re.Pattern[bytes]:
    """What is looked for in a file; the author's own include commands besides the standard ones."""
    commands = _COMMANDS + rb"|" + includes.own(own_commands) if own_commands else _COMMANDS
    return opaque_pattern(_OPAQUE, commands, (*_NAMES, *own_commands))


# A file without any of these is taken as it stands; most end with \end{document}, which alone is none.
_NEEDS_READING = re.compile(
    rb"\\(?=[@iIsbuRe])(?:@?input|include|subfile|(?:sub)?(?:import|inputfrom|includefrom)|InputIfFileExists"
    rb"|bibliography(?![A-Za-z])|usepackage|RequirePackage|endinput|end\s*\{document\}(?!\s*\Z))"
)
_CLASS = re.compile(rb"\\document(?:class|style)(?![A-Za-z@])")
_HEAD_BYTES = 20_000  # of a file: a class is declared within
_OPENING_BRACE = re.compile(rb"\s*\{")
_REST_OF_LINE = re.compile(rb"[ \t]*\n")


@dataclass
class Flattened:
    """The text of a paper, with what happened on the way."""

    text: bytes = b""
    files: list[str] = field(default_factory=list)
    codecs: dict[str, str] = field(default_factory=dict)  # of the files that were not UTF-8
    unresolved: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    removed: Counter[str] = field(default_factory=Counter)


class _TooLarge(Exception):
    """A paper costs more than the limits allow."""


class Flattener:
    """Reads the members of one archive into one text of limited size.

    `max_commands`: backslashes and comment signs. The time of all later passes goes with these, so that this
    is a limit of time which holds on every machine alike.
    """

    def __init__(
        self,
        members: Mapping[str, memoryview],
        main: str,
        max_bytes: int,
        max_commands: int,
        follow_own: bool = False,  # the author's own include commands too; `run` finds out whether there are
    ) -> None:
        self.members, self.main = members, main
        self._limits, self._follow_own = (max_bytes, max_commands), follow_own
        self._raw_main = bytes(members[main][:max_bytes])
        self._bytes_left, self._commands_left = max_bytes, max_commands
        self.root = posixpath.dirname(main)
        self.result = Flattened()
        self._read: dict[str, bytes] = {}
        self._uncounted: list[bytes] = []  # texts whose commands are not yet taken off
        self._uncounted_bytes = 0
        self._open: list[str] = []
        self._repeated = self._n_includes = 0
        self._file_names = {posixpath.basename(path).lower() for path in members}
        self._by_lower_case: dict[str, str] | None = None
        self._has_styles = any(name.endswith(".sty") for name in self._file_names)

    def run(self) -> Flattened | Dropped:
        """The text of the main file with all that it includes."""
        try:
            self.result.text = self._follow(self.main, self.root, "main")
        except _TooLarge as excess:
            return Dropped("too_large", str(excess))
        if not self._follow_own and self._leaves_own_parts():
            return Flattener(self.members, self.main, *self._limits, follow_own=True).run()
        return self.result

    def _leaves_own_parts(self) -> bool:
        """Whether files were left that commands of the author's bring in. Looking for these is dear."""
        left = self.members.keys() - self._read.keys()
        if all(is_ancillary(path) or path.lower().endswith(NOT_TEX_SUFFIXES) for path in left):
            return False
        return any(includes.own_commands(text, self._file_names) for text in self._read.values())

    def _follow(self, path: str, base: str, role: str = "part") -> bytes:
        """The text of `path` with its includes followed. `role`: main, part, or parent of a subfile."""
        text = self._load(path)
        self._open.append(path)
        own_commands = includes.own_commands(text, self._file_names) if self._follow_own else frozenset()
        if (
            role == "main"
            or own_commands
            or _NEEDS_READING.search(text)
            or _CLASS.search(text, 0, _HEAD_BYTES)
        ):
            text = self._read_commands(text, base, role, _live(own_commands))
        self._open.pop()
        return text

    def _load(self, path: str) -> bytes:
        """A member's text. Its bytes are in the balance once; a further copy is an addition."""
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
        """Take the commands of a file from the limit; they are counted only where there are as many bytes."""
        self._uncounted.append(self._read[path])
        self._uncounted_bytes += len(self._read[path])
        if self._uncounted_bytes <= self._commands_left:
            return
        self._commands_left -= sum(text.count(b"\\") + text.count(b"%") for text in self._uncounted)
        self._uncounted_bytes = 0
        self._uncounted.clear()
        if self._commands_left < 0:
            raise _TooLarge(f"{path} brings the text above the limit of commands and comments")

    def _read_commands(self, text: bytes, base: str, role: str, pattern: re.Pattern[bytes]) -> bytes:
        removed = self.result.removed
        is_subfile = (
            role == "part" and _CLASS.search(text, 0, _HEAD_BYTES) is not None
        )  # also `standalone`: its body counts
        pieces: list[bytes] = []
        groups, at, in_preamble = Groups(text), 0, role != "part"
        for kind, start, end, match in live_events(text, pattern):
            if kind == "begin_document":
                in_preamble = False
                if is_subfile:
                    removed["preamble_of_part"] += end - at + sum(map(len, pieces))
                    pieces.clear()
                    at = end
                elif role == "parent":
                    removed["body_of_parent"] += len(text) - start
                    pieces.append(text[at:start])
                    return b"".join(pieces)
            elif kind in ("end_document", "endinput"):
                if kind == "end_document" and role == "main":
                    start = line_end.end() if (line_end := _REST_OF_LINE.match(text, end)) else end
                removed[f"after_{kind}"] += len(text) - start
                pieces.append(text[at:start])
                return b"".join(pieces)
            elif in_preamble and kind in ("package", "parent"):
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
                # The last line end of a file is a space, not half of an empty line; and without one a comment
                # on the last line would swallow what follows.
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
        """(member, base folder of its own includes) that a command asks for, None where the command stays."""
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
        """The member that TeX opens: in `base`, the main file's folder, the root, the file's own folder."""
        there = (posixpath.basename(name + suffix).lower() in self._file_names for suffix in suffixes)
        if not name or not any(there):
            return None
        for folder in dict.fromkeys((base, self.root, "", posixpath.dirname(self._open[-1]))):
            for suffix in suffixes:
                path = posixpath.normpath(posixpath.join(folder, name + suffix))
                if path in self.members:
                    return path
        if self._by_lower_case is None:  # archives from systems that do not mind the case
            self._by_lower_case = {path.lower(): path for path in sorted(self.members, reverse=True)}
        for suffix in suffixes:
            path = posixpath.normpath(posixpath.join(base, name + suffix)).lower()
            if path in self._by_lower_case:
                return self._by_lower_case[path]
        return None

    @cached_property
    def _bibliography(self) -> str | None:
        """The paper's .bbl: the one named like the main file, else the only one."""
        own = posixpath.splitext(self.main)[0] + ".bbl"
        if own in self.members:
            return own
        there = [path for path in self.members if path.lower().endswith(".bbl")]
        return there[0] if len(there) == 1 else None

    def _loaded(self, match: re.Match[bytes], base: str) -> list[str]:
        """The author's own style files that a command loads, or a subfile's parent; each once."""
        if match["parent"] is not None:
            path = self._find(_decode(match["parent_file"]), base, (".tex", ""))
            return [path] if path and path not in self._read else []
        if not self._has_styles:
            return []
        names = (name.strip() for name in _decode(match["packages"]).split(","))
        paths = dict.fromkeys(path for name in names if (path := self._find(name, base, (".sty",))))
        small = (path for path in paths if len(self.members[path]) <= MAX_PACKAGE_BYTES)
        return [path for path in small if path not in self._read and kind_of(self.members[path]) == "text"]


def _behind_branches(groups: Groups, at: int) -> int:
    r"""Behind the two branches of `\InputIfFileExists`: the file is there, the branches are set-up code."""
    for _ in range(2):
        brace = _OPENING_BRACE.match(groups.text, at)
        end = groups.end(brace.end() - 1) if brace else -1
        if end < 0:
            break
        at = end
    return at


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "replace").strip()
