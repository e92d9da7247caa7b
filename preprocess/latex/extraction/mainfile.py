r"""Choose the main file of an archive, and record why.

The first of these that applies decides: the file that the submission's 00README names; the only file with a
document class and a body; the highest score among several. The longest file with \documentclass would be
wrong for 4 of 10 archives that leave a choice.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from preprocess.latex.extraction.archive import kind_of
from preprocess.latex.extraction.members import NOT_TEX_SUFFIXES, is_ancillary, named_in_readme
from preprocess.latex.extraction.sources import (
    Archive,
    Source,
    closure,
    dialect_of,
    live_match,
    resolve,
    searchable,
    with_evidence,
)
from preprocess.pipeline.dropped import Dropped

MAX_SOURCES = 2000  # text files that are searched, the longest ones
MAX_CANDIDATES = 100  # files that are scored, the longest ones
MAX_LISTED = 8  # candidates that the record lists
_GOOD_NAME = re.compile(
    r"(?:ms|main|paper|article|manuscript|thesis|root|arxiv)(?:[-_.]?(?:v?\d+|arxiv|final))?", re.I
)
_BAD_NAME = re.compile(
    r"respon[sc]e|rebuttal|referee|reply|cover|letter|suppl?(?:ement|$|[-_\d])|^si$|template|sample|example|poster"
    r"|slides|talk|highlights|changes|diff(?:$|[-_])",
    re.I,
)
_NOT_A_PAPER = re.compile(rb"standalone|.*letter|scrlttr2|moderncv|tikzposter|a0poster")
_SLIDES = re.compile(rb"beamer|slides|seminar|prosper|powerdot")
_TITLE = re.compile(
    rb"\\(?:title|Title|icmltitle|titlerunning)\s*[\[{]|\\topmatter|\\centerline\s*\{\\(?:bf|big|large)"
)
_ABSTRACT = re.compile(rb"\\(?:begin\s*\{[Aa]bstract\}|(?:begin)?abstract(?![A-Za-z]))")
_PARENT = re.compile(rb"\\documentclass\s*\[([^\[\]{}\n]*)\]\s*\{subfiles\}")
_TEX_ROOT = re.compile(rb"(?m)^[ \t]*%+[ \t]*!?[ \t]*T[Ee]X[ \t]+root[ \t]*=[ \t]*(\S[^\r\n]*)")
_COMMAND = re.compile(rb"\\[A-Za-z]{2,}")
_FRONT_BYTES = 50_000  # beginning of a file in which title and abstract are searched for


@dataclass(frozen=True)
class Candidate:
    """A file that may be the paper, its score, and the evidence with its points ("title+2")."""

    path: str
    score: int
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class MainFile:
    """The chosen file, the reason, the TeX dialect, and the candidates that were scored."""

    path: str
    reason: str  # readme, only_candidate, best_score, only_tex_file
    dialect: str  # latex, latex209, amstex, plain, fragment
    candidates: tuple[Candidate, ...]


def choose_main_file(members: Mapping[str, memoryview]) -> MainFile | Dropped:
    """The main file among the members of an archive (content by path), or why there is none."""
    named = [path for path in members if posixpath.basename(path).upper().startswith("00README")]
    readmes = {path: searchable(members[path]) for path in named}
    ignored = set(named_in_readme(readmes, "ignore"))
    possible = [
        path
        for path, content in members.items()
        if path not in readmes
        and path not in ignored
        and not is_ancillary(path)
        and not path.lower().endswith(NOT_TEX_SUFFIXES)
        and kind_of(content) == "text"
    ]
    possible = sorted(possible, key=lambda path: -len(members[path]))[:MAX_SOURCES]
    texts = {path: searchable(members[path]) for path in possible}
    live = {path: text for path, text in texts.items() if not text[:200].lstrip().startswith(b"%auto-ignore")}
    if not live:
        return _no_source(members, withdrawn=bool(texts))
    for path in named_in_readme(readmes, "toplevel"):
        if path in live:
            return MainFile(path, "readme", dialect_of(live[path]) or "fragment", ())
    archive = Archive(texts.keys())
    sources = {path: Source(path, text, archive) for path, text in sorted(live.items())}
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
        source.path: sum(len(sources[path].text) for path in closure(source.path, sources))
        for source in candidates
    }
    roots = {root for source in sources.values() for root in _roots(source, live)}
    templates = _templates(sources)
    scored = [_score(source, sizes, roots, templates, members) for source in candidates]
    scored.sort(key=lambda c: (-c.score, -sizes[c.path], len(c.path), c.path))
    best = scored[0].path
    return MainFile(best, "best_score", sources[best].dialect or "latex", tuple(scored[:MAX_LISTED]))


# ---------------------------------------------------------------- evidence in one file


def _roots(source: Source, live: Mapping[str, bytes]) -> set[str]:
    """The other files that `%!TEX root` lines in this one name."""
    head = source.text[:2000]
    lines = _TEX_ROOT.findall(head) if b"root" in head else ()
    names = [line.decode("utf-8", "replace").strip(" \t\"'") for line in lines]
    found = (resolve(name, (posixpath.dirname(source.path),), live) for name in names)
    return {path for path in found if path and path != source.path}


def _templates(sources: Mapping[str, Source]) -> set[str]:
    """Parents of subfiles that do not include the subfile: such a file only lends its preamble."""
    found, parts_of = set[str](), dict[str, set[str]]()
    for source in sources.values():
        if b"{subfiles}" in source.text and (parent := _PARENT.search(source.text)):
            folder = posixpath.dirname(source.path)
            path = resolve(parent[1].decode("utf-8", "replace").strip(), (folder,), sources)
            if path and path not in parts_of:
                parts_of[path] = closure(path, sources)
            if path and source.path not in parts_of[path]:
                found.add(path)
    return found


# ---------------------------------------------------------------- choosing


def _only_body(sources: Mapping[str, Source]) -> list[Source]:
    """The only file with a body, if it also has a class and no other file includes it; else nothing.

    This decides most archives without a search for every include: a file that includes it must contain the
    last part of its name.
    """
    bodies = [source for source in sources.values() if "body" in source.evidence]
    if len(bodies) != 1 or "class" not in bodies[0].evidence:
        return []
    path = bodies[0].path
    name = posixpath.basename(path).removesuffix(".tex").encode("utf-8")
    others = (source for source in sources.values() if source.path != path)
    # The text may write a non-ASCII name in another encoding.
    naming = (source for source in others if not name.isascii() or name in source.text)
    return [] if any(path in source.includes for source in naming) else bodies


def _best_tier(sources: Mapping[str, Source]) -> list[Source]:
    """The files to score: whole LaTeX papers, else papers in any dialect, else those with a class or body.

    The class or the body may be in an included file: what a file includes counts as its own.
    """
    included = {target for source in sources.values() for target in source.includes}
    with_class, with_body = (with_evidence(what, sources) for what in ("class", "body"))
    whole = [source for path, source in sources.items() if path in with_class & with_body]
    tier = (
        [source for source in whole if not _NOT_A_PAPER.fullmatch(source.class_name)]
        or whole
        or [source for source in sources.values() if source.dialect]
        or [source for path, source in sources.items() if path in with_class | with_body]
    )
    return [source for source in tier if source.path not in included] or tier


def _score(
    source: Source,
    sizes: Mapping[str, int],
    roots: set[str],
    templates: set[str],
    members: Mapping[str, memoryview],
) -> Candidate:
    """The candidate with its points and what they are given for.

    `sizes`: bytes of each candidate with what it includes. `roots`: files that others name as their root.
    """
    stem = posixpath.splitext(posixpath.basename(source.path))[0]
    head = source.text[:_FRONT_BYTES]
    points = {
        "tex_root": 8 * (source.path in roots),
        "abstract": 4 * (live_match(_ABSTRACT, head) is not None),
        "title": 2 * (live_match(_TITLE, head) is not None),
        "own_bbl": 3 * (posixpath.splitext(source.path)[0] + ".bbl" in members),
        "good_name": 3 * bool(_GOOD_NAME.fullmatch(stem)),
        "bad_name": -6 * bool(_BAD_NAME.search(stem)),
        "template": -12 * (source.path in templates),
        "slides": -4 * bool(_SLIDES.search(source.class_name)),
        "deep": -min(3, source.path.count("/")),
        "size": round(4 * sizes[source.path] / max(max(sizes.values()), 1)),
    }
    given = {name: value for name, value in points.items() if value}
    return Candidate(
        source.path, sum(given.values()), tuple(f"{name}{value:+d}" for name, value in given.items())
    )


def _no_source(members: Mapping[str, memoryview], withdrawn: bool) -> Dropped:
    """Why an archive without TeX is dropped."""
    if withdrawn:
        return Dropped("auto_ignore", "the submission is a note that it was withdrawn")
    kinds = {kind_of(content) for path, content in members.items() if not is_ancillary(path)}
    for kind in ("pdf", "postscript", "html"):
        if kind in kinds:
            return Dropped(f"{kind}_source", next(iter(members))[:200])
    return Dropped("no_tex_source", ", ".join(list(members)[:5])[:200])
