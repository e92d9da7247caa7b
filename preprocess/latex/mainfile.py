r"""Which file of an archive is the paper, and why.

In this order: what the submission itself says (00README), the only file with a class and a body, the best
score among several. "The longest file with \documentclass" is wrong in 4 of 10 archives that leave a choice.
"""

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from preprocess.latex.archive import kind_of
from preprocess.latex.includes import MAX_INCLUDES, included_names
from preprocess.latex.members import NOT_TEX_SUFFIXES, is_ancillary, said_by
from preprocess.latex.outcome import Dropped

MAX_SOURCES = 2000  # files looked at for the main one: an archive of more is a bomb
MAX_CANDIDATES = 100  # that are scored, the longest ones
MAX_LISTED = 8  # candidates in the record
MAX_LOOKED_AT = 16 << 20  # bytes of one file; a longer one is no paper
_GOOD_NAME = re.compile(
    r"(?:ms|main|paper|article|manuscript|thesis|root|arxiv)(?:[-_.]?(?:v?\d+|arxiv|final))?", re.I
)
_BAD_NAME = re.compile(
    r"respon[sc]e|rebuttal|referee|reply|cover|letter|suppl?(?:ement|$|[-_\d])|^si$|template|sample|example|poster"
    r"|slides|talk|highlights|changes|diff(?:$|[-_])",
    re.I,
)
_CLASS = re.compile(rb"\\document(class|style)(?![A-Za-z@])\s*(?:\[[^\[\]]*+\])?\s*\{?\s*([\w./-]*)")
_BEGIN_DOCUMENT = re.compile(rb"\\begin\s*\{document\}")
_NOT_A_PAPER = re.compile(rb"standalone|.*letter|scrlttr2|moderncv|tikzposter|a0poster")
_SLIDES = re.compile(rb"beamer|slides|seminar|prosper|powerdot")
_TITLE = re.compile(
    rb"\\(?:title|Title|icmltitle|titlerunning)\s*[\[{]|\\topmatter|\\centerline\s*\{\\(?:bf|big|large)"
)
_ABSTRACT = re.compile(rb"\\(?:begin\s*\{[Aa]bstract\}|(?:begin)?abstract(?![A-Za-z]))")
_PLAIN = re.compile(
    rb"\\(?:magnification|bye|nopagenumbers|enddocument|topmatter|headline|footline|end\s*\Z|vfill\\eject"
    rb"|input\s*\{?\s*(?:amstex|amsppt|harvmac|phyzzx|epsf|eplain|jnl|macros|lanlmac|tcilatex))(?![a-z])"
)
_PARENT = re.compile(rb"\\documentclass\s*\[([^\[\]{}\n]*)\]\s*\{subfiles\}")
_TEX_ROOT = re.compile(rb"(?m)^[ \t]*%+[ \t]*!?[ \t]*T[Ee]X[ \t]+root[ \t]*=[ \t]*(\S[^\r\n]*)")
_COMMAND = re.compile(rb"\\[A-Za-z]{2,}")
_FRONT_BYTES = 50_000  # of a file: title and abstract stand in it
_COMMENT_BEFORE = re.compile(rb"(?<!\\)(?:\\\\)*%")


@dataclass(frozen=True)
class Candidate:
    """A file that may be the paper: its score and what it was given for."""

    path: str
    score: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class MainFile:
    """The chosen file, why, what else there was, and of which kind of TeX it is."""

    path: str
    reason: str  # readme, only_candidate, best_score, only_tex_file
    dialect: str  # latex, latex209, amstex, plain, fragment
    candidates: tuple[Candidate, ...]


@dataclass
class _Archive:
    """What the files of an archive share."""

    texts: Container[str]
    includes_left: int = MAX_INCLUDES  # to be looked at: files that all include each other are no paper


@dataclass(frozen=True)
class _Source:
    """One file; what is dear to find out is looked for where it decides."""

    path: str
    text: bytes
    archive: "_Archive" = field(repr=False)

    @cached_property
    def evidence(self) -> tuple[str, ...]:
        """What it has of a whole paper: `class`, `body`."""
        if b"document" not in self.text:  # as most parts
            return ()
        found = (("class", _live(_CLASS, self.text)), ("body", _live(_BEGIN_DOCUMENT, self.text)))
        return tuple(name for name, match in found if match)

    @cached_property
    def dialect(self) -> str:
        """Kind of TeX of a whole paper, "" for what is none."""
        return _dialect(self.text)

    @cached_property
    def includes(self) -> frozenset[str]:
        """The other texts that this one brings in."""
        folder = posixpath.dirname(self.path)
        includes = list(islice(included_names(self.text), self.archive.includes_left))
        self.archive.includes_left -= len(includes)
        named = (posixpath.join(part, name) for part, name in set(includes) if name)
        found = (_resolve(name, (folder, ""), self.archive.texts) for name in named)
        return frozenset(path for path in found if path and path != self.path)


def choose_main_file(members: Mapping[str, memoryview]) -> MainFile | Dropped:
    """The paper among the members of an archive."""
    named = [path for path in members if posixpath.basename(path).upper().startswith("00README")]
    readme = {path: _readable(members[path]) for path in named}
    ignored = said_by(readme, "ignore")
    possible = [
        path
        for path, content in members.items()
        if path not in readme
        and path not in ignored
        and not is_ancillary(path)
        and not path.lower().endswith(NOT_TEX_SUFFIXES)
        and kind_of(content) == "text"
    ]
    possible = sorted(possible, key=lambda path: -len(members[path]))[:MAX_SOURCES]
    texts = {path: _readable(members[path]) for path in possible}
    live = {path: text for path, text in texts.items() if not text[:200].lstrip().startswith(b"%auto-ignore")}
    if not live:
        return _no_source(members, withdrawn=bool(texts))
    for path in said_by(readme, "toplevel"):
        if path in live:
            return MainFile(path, "readme", _dialect(live[path]) or "fragment", ())
    archive = _Archive(texts.keys())
    sources = {path: _Source(path, text, archive) for path, text in sorted(live.items())}
    candidates = _only_body(sources) or _best_tier(sources)
    if not candidates:
        tex = [source for source in sources.values() if len(_COMMAND.findall(source.text[:20_000])) >= 5]
        if len(tex) == 1:
            return MainFile(tex[0].path, "only_tex_file", "fragment", ())
        return Dropped("no_main_file" if tex else "no_tex_source", ", ".join(sources)[:200])
    if len(candidates) == 1:
        only = candidates[0]
        return MainFile(only.path, "only_candidate", only.dialect or "latex", ())
    candidates = sorted(candidates, key=lambda source: -len(source.text))[:MAX_CANDIDATES]
    sizes = {
        source.path: sum(len(sources[path].text) for path in _closure(source.path, sources))
        for source in candidates
    }
    roots = {root for source in sources.values() for root in _roots(source, live)}
    templates = _templates(sources)
    scored = [_score(source, sizes, roots, templates, members) for source in candidates]
    scored.sort(key=lambda c: (-c.score, -sizes[c.path], len(c.path), c.path))
    best = scored[0].path
    return MainFile(best, "best_score", sources[best].dialect or "latex", tuple(scored[:MAX_LISTED]))


# ---------------------------------------------------------------- looking at one file


def _readable(content: memoryview) -> bytes:
    """Bytes in which ASCII patterns are found and lines end with LF; only for looking, never for the text."""
    text = bytes(content[:MAX_LOOKED_AT])
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.decode("utf-16", "replace").encode("utf-8", "replace")
    return text.replace(b"\r", b"\n") if b"\r" in text else text


def _live(pattern: re.Pattern[bytes], text: bytes, limit: int = 50) -> re.Match[bytes] | None:
    """The first match that no `%` on its line comes before. Gives up after `limit` commented ones."""
    for n, match in enumerate(pattern.finditer(text)):
        line = text.rfind(b"\n", 0, match.start()) + 1
        if match.start() - line > 2000 or not _COMMENT_BEFORE.search(text, line, match.start()):
            return match
        if n == limit:
            break
    return None


def _dialect(text: bytes) -> str:
    has_class = _live(_CLASS, text)
    if has_class and has_class[1] == b"style":
        return "amstex" if b"amsppt" in has_class[2] else "latex209"
    if has_class or _live(_BEGIN_DOCUMENT, text):
        return "latex"
    if _live(_PLAIN, text):
        return "amstex" if b"amstex" in text or b"\\topmatter" in text else "plain"
    return ""


def _resolve(name: str, folders: tuple[str, ...], texts: Container[str]) -> str | None:
    """The text that `name` means, seen from one of the folders."""
    for folder in folders:
        for suffix in (".tex", ""):
            path = posixpath.normpath(posixpath.join(folder, name + suffix))
            if path in texts:
                return path
    return None


def _roots(source: _Source, live: Mapping[str, bytes]) -> set[str]:
    """The files that a `%!TEX root` line of this one names."""
    lines = _TEX_ROOT.findall(source.text[:2000])
    names = [line.decode("utf-8", "replace").strip(" \t\"'") for line in lines]
    found = (_resolve(name, (posixpath.dirname(source.path),), live) for name in names)
    return {path for path in found if path and path != source.path}


def _templates(sources: Mapping[str, _Source]) -> set[str]:
    r"""The parents of subfiles that include none of them: a preamble to compile parts with, not the paper."""
    found = set()
    for source in sources.values():
        if b"{subfiles}" in source.text and (parent := _PARENT.search(source.text)):
            folder = posixpath.dirname(source.path)
            path = _resolve(parent[1].decode("utf-8", "replace").strip(), (folder,), sources)
            if path and source.path not in _closure(path, sources):
                found.add(path)
    return found


# ---------------------------------------------------------------- choosing


def _only_body(sources: Mapping[str, _Source]) -> list[_Source]:
    """The only file with a body, where it has a class too and is no part of another: no other can be whole.

    As in most archives; a file that includes it has the last part of its name somewhere.
    """
    bodies = [source for source in sources.values() if "body" in source.evidence]
    if len(bodies) != 1 or "class" not in bodies[0].evidence:
        return []
    path = bodies[0].path
    name = posixpath.basename(path).removesuffix(".tex").encode("utf-8")
    others = (source for source in sources.values() if source.path != path)
    # A name that is no ASCII may be written in another encoding in the text.
    naming = (source for source in others if not name.isascii() or name in source.text)
    return [] if any(path in source.includes for source in naming) else bodies


def _best_tier(sources: Mapping[str, _Source]) -> list[_Source]:
    """The files worth scoring: whole LaTeX papers, else plain TeX, else what has at least a class or a body.

    A paper may have its class in a file that it includes, or its body: what it includes counts as its own.
    """
    included = {target for source in sources.values() for target in source.includes}
    with_class, with_body = (_reaching(what, sources) for what in ("class", "body"))
    whole = [source for path, source in sources.items() if path in with_class & with_body]
    tiers = (
        [source for source in whole if not _NOT_A_PAPER.fullmatch(_class_name(source))],
        whole,
        [source for source in sources.values() if source.dialect],
        [source for path, source in sources.items() if path in with_class | with_body],
    )
    for tier in tiers:
        if tier:
            return [source for source in tier if source.path not in included] or tier
    return []


def _class_name(source: _Source) -> bytes:
    match = _live(_CLASS, source.text)
    return match[2] if match else b""


def _score(
    source: _Source,
    sizes: Mapping[str, int],
    roots: set[str],
    templates: set[str],
    members: Mapping[str, memoryview],
) -> Candidate:
    """`sizes`: of all candidates, with what they include."""
    stem = posixpath.splitext(posixpath.basename(source.path))[0]
    head = source.text[:_FRONT_BYTES]
    points = {
        "tex_root": 8 * (source.path in roots),
        "abstract": 4 * (_live(_ABSTRACT, head) is not None),
        "title": 2 * (_live(_TITLE, head) is not None),
        "own_bbl": 3 * (posixpath.splitext(source.path)[0] + ".bbl" in members),
        "good_name": 3 * bool(_GOOD_NAME.fullmatch(stem)),
        "bad_name": -6 * bool(_BAD_NAME.search(stem)),
        "template": -12 * (source.path in templates),
        "slides": -4 * bool(_SLIDES.search(_class_name(source))),
        "deep": -min(3, source.path.count("/")),
        "size": round(4 * sizes[source.path] / max(max(sizes.values()), 1)),
    }
    given = {name: value for name, value in points.items() if value}
    return Candidate(
        source.path, sum(given.values()), tuple(f"{name}{value:+d}" for name, value in given.items())
    )


def _closure(path: str, sources: Mapping[str, _Source]) -> set[str]:
    """A file and all that it includes."""
    return _reachable([path], lambda name: (part for part in sources[name].includes if part in sources))


def _reaching(what: str, sources: Mapping[str, _Source]) -> set[str]:
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


def _no_source(members: Mapping[str, memoryview], withdrawn: bool) -> Dropped:
    if withdrawn:
        return Dropped("auto_ignore", "the submission is a note that it was withdrawn")
    kinds = {kind_of(content) for path, content in members.items() if not is_ancillary(path)}
    for kind in ("pdf", "postscript", "html"):
        if kind in kinds:
            return Dropped(f"{kind}_source", next(iter(members))[:200])
    return Dropped("no_tex_source", ", ".join(list(members)[:5])[:200])
