"""The text files of an archive: which parts of a paper each one has, and which other files it includes."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from preprocess.latex.extraction.includes import MAX_INCLUDES, included_names

MAX_LOOKED_AT = 16 << 20  # bytes of a file that are searched; no paper is longer
_CLASS = re.compile(rb"\\document(class|style)(?![A-Za-z@])\s*+(?:\[[^\[\]]*+\])?+\s*+\{?+\s*+([\w./-]*)")
_BEGIN_DOCUMENT = re.compile(rb"\\begin\s*\{document\}")
_PLAIN = re.compile(
    rb"\\(?:magnification|bye|nopagenumbers|enddocument|topmatter|headline|footline|end\s*\Z|vfill\\eject"
    rb"|input\s*+\{?+\s*+(?:amstex|amsppt|harvmac|phyzzx|epsf|eplain|jnl|macros|lanlmac|tcilatex))(?![a-z])"
)
_COMMENT_BEFORE = re.compile(rb"(?<!\\)(?:\\\\)*%")


@dataclass
class Archive:
    """The paths of an archive's text files, and how many include commands may still be examined.

    The limit holds for all files together: n files that all include each other have n² include commands.
    """

    texts: Container[str]
    includes_left: int = MAX_INCLUDES


@dataclass(frozen=True)
class Source:
    """One text file. Properties that are expensive to find are searched for when they are first needed."""

    path: str
    text: bytes
    archive: Archive = field(repr=False)

    @cached_property
    def _marks(self) -> tuple[re.Match[bytes] | None, re.Match[bytes] | None]:
        """The declaration of the document class, and the beginning of the body."""
        return _class_and_body(self.text)

    @cached_property
    def evidence(self) -> tuple[str, ...]:
        """Which of `class` (a document class) and `body` (a \\begin{document}) the file has."""
        return tuple(name for name, match in zip(("class", "body"), self._marks, strict=True) if match)

    @cached_property
    def dialect(self) -> str:
        """The file's dialect as `dialect_of` gives it."""
        return _dialect(self.text, *self._marks)

    @property
    def class_name(self) -> bytes:
        """The name of its document class; b"" where it declares none."""
        declared, _ = self._marks
        return declared[2] if declared else b""

    @cached_property
    def includes(self) -> frozenset[str]:
        """The paths of the other text files that this one includes."""
        folder = posixpath.dirname(self.path)
        includes = list(islice(included_names(self.text), self.archive.includes_left))
        self.archive.includes_left -= len(includes)
        named = (posixpath.join(part, name) for part, name in set(includes) if name)
        found = (resolve(name, (folder, ""), self.archive.texts) for name in named)
        return frozenset(path for path in found if path and path != self.path)


def searchable(content: memoryview) -> bytes:
    """The content in a form that ASCII patterns match (no UTF-16, LF line ends). Only for searching."""
    text = bytes(content[:MAX_LOOKED_AT])
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.decode("utf-16", "replace").encode("utf-8", "replace")
    return text.replace(b"\r", b"\n") if b"\r" in text else text


def live_match(pattern: re.Pattern[bytes], text: bytes, limit: int = 50) -> re.Match[bytes] | None:
    """The first match outside comments; None where there is none or `limit` commented ones come first."""
    for n, match in enumerate(pattern.finditer(text)):
        line = text.rfind(b"\n", 0, match.start()) + 1
        if match.start() - line > 2000 or not _COMMENT_BEFORE.search(text, line, match.start()):
            return match
        if n == limit:
            break
    return None


def dialect_of(text: bytes) -> str:
    """Dialect of a whole paper: latex, latex209, amstex or plain; "" for a text that is not a whole paper."""
    return _dialect(text, *_class_and_body(text))


def declares_class(text: bytes) -> bool:
    """Whether a text declares a document class outside comments."""
    return live_match(_CLASS, text) is not None


def _class_and_body(text: bytes) -> tuple[re.Match[bytes] | None, re.Match[bytes] | None]:
    """The first live declaration of a document class, and the first live \\begin{document}."""
    if b"document" not in text:  # true of most parts; this check is fast
        return None, None
    return live_match(_CLASS, text), live_match(_BEGIN_DOCUMENT, text)


def _dialect(text: bytes, declared: re.Match[bytes] | None, body: re.Match[bytes] | None) -> str:
    if declared and declared[1] == b"style":
        return "amstex" if b"amsppt" in declared[2] else "latex209"
    if declared or body:
        return "latex"
    if live_match(_PLAIN, text):
        return "amstex" if b"amstex" in text or b"\\topmatter" in text else "plain"
    return ""


def resolve(name: str, folders: tuple[str, ...], texts: Container[str]) -> str | None:
    """The path of the text file that `name` refers to, relative to the first folder that has it."""
    for folder in folders:
        for suffix in (".tex", ""):
            path = posixpath.normpath(posixpath.join(folder, name + suffix))
            if path in texts:
                return path
    return None


def closure(path: str, sources: Mapping[str, Source]) -> set[str]:
    """The paths of a file and of all files that it includes, directly or through others."""
    return _reachable([path], lambda name: (part for part in sources[name].includes if part in sources))


def with_evidence(what: str, sources: Mapping[str, Source]) -> set[str]:
    """The files that have a `class` or a `body` (`what`), themselves or in a file that they include."""
    including: defaultdict[str, list[str]] = defaultdict(list)
    for source in sources.values():
        for part in source.includes:
            including[part].append(source.path)
    return _reachable(
        [path for path, source in sources.items() if what in source.evidence], including.__getitem__
    )


def _reachable(todo: list[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    seen = set(todo)
    while todo:
        new = set(following(todo.pop())) - seen
        seen |= new
        todo += new
    return seen
