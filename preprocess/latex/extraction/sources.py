r"""The text files of an archive: what each has of a whole paper, and which others it includes."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from preprocess.latex.extraction.includes import MAX_INCLUDES, included_names

MAX_LOOKED_AT = 16 << 20  # bytes of one file; a longer one is no paper
_CLASS = re.compile(rb"\\document(class|style)(?![A-Za-z@])\s*+(?:\[[^\[\]]*+\])?+\s*+\{?+\s*+([\w./-]*)")
_BEGIN_DOCUMENT = re.compile(rb"\\begin\s*\{document\}")
_PLAIN = re.compile(
    rb"\\(?:magnification|bye|nopagenumbers|enddocument|topmatter|headline|footline|end\s*\Z|vfill\\eject"
    rb"|input\s*+\{?+\s*+(?:amstex|amsppt|harvmac|phyzzx|epsf|eplain|jnl|macros|lanlmac|tcilatex))(?![a-z])"
)
_COMMENT_BEFORE = re.compile(rb"(?<!\\)(?:\\\\)*%")


@dataclass
class Archive:
    """What the files of an archive share."""

    texts: Container[str]
    includes_left: int = MAX_INCLUDES  # to be looked at: files that all include each other are no paper


@dataclass(frozen=True)
class Source:
    """One file; what is dear to find out is looked for where it decides."""

    path: str
    text: bytes
    archive: Archive = field(repr=False)

    @cached_property
    def evidence(self) -> tuple[str, ...]:
        """What it has of a whole paper: `class`, `body`."""
        if b"document" not in self.text:  # as most parts
            return ()
        found = (("class", live_match(_CLASS, self.text)), ("body", live_match(_BEGIN_DOCUMENT, self.text)))
        return tuple(name for name, match in found if match)

    @cached_property
    def dialect(self) -> str:
        """Kind of TeX of a whole paper, "" for what is none."""
        return dialect_of(self.text)

    @property
    def class_name(self) -> bytes:
        """What it declares itself to be, b"" for what declares nothing."""
        match = live_match(_CLASS, self.text)
        return match[2] if match else b""

    @cached_property
    def includes(self) -> frozenset[str]:
        """The other texts that this one brings in."""
        folder = posixpath.dirname(self.path)
        includes = list(islice(included_names(self.text), self.archive.includes_left))
        self.archive.includes_left -= len(includes)
        named = (posixpath.join(part, name) for part, name in set(includes) if name)
        found = (resolve(name, (folder, ""), self.archive.texts) for name in named)
        return frozenset(path for path in found if path and path != self.path)


def readable(content: memoryview) -> bytes:
    """Bytes in which ASCII patterns are found and lines end with LF; only for looking, never for the text."""
    text = bytes(content[:MAX_LOOKED_AT])
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.decode("utf-16", "replace").encode("utf-8", "replace")
    return text.replace(b"\r", b"\n") if b"\r" in text else text


def live_match(pattern: re.Pattern[bytes], text: bytes, limit: int = 50) -> re.Match[bytes] | None:
    """The first match that no `%` on its line comes before. Gives up after `limit` commented ones."""
    for n, match in enumerate(pattern.finditer(text)):
        line = text.rfind(b"\n", 0, match.start()) + 1
        if match.start() - line > 2000 or not _COMMENT_BEFORE.search(text, line, match.start()):
            return match
        if n == limit:
            break
    return None


def dialect_of(text: bytes) -> str:
    """Kind of TeX of a whole paper: latex, latex209, amstex, plain; "" for what is none."""
    has_class = live_match(_CLASS, text)
    if has_class and has_class[1] == b"style":
        return "amstex" if b"amsppt" in has_class[2] else "latex209"
    if has_class or live_match(_BEGIN_DOCUMENT, text):
        return "latex"
    if live_match(_PLAIN, text):
        return "amstex" if b"amstex" in text or b"\\topmatter" in text else "plain"
    return ""


def resolve(name: str, folders: tuple[str, ...], texts: Container[str]) -> str | None:
    """The text that `name` means, seen from one of the folders."""
    for folder in folders:
        for suffix in (".tex", ""):
            path = posixpath.normpath(posixpath.join(folder, name + suffix))
            if path in texts:
                return path
    return None


def closure(path: str, sources: Mapping[str, Source]) -> set[str]:
    """A file and all that it includes."""
    return _reachable([path], lambda name: (part for part in sources[name].includes if part in sources))


def reaching(what: str, sources: Mapping[str, Source]) -> set[str]:
    """The files that have a class or a body, themselves or in what they include."""
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
