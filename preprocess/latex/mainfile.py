"""Which of a paper's TeX files is the paper, and why.

arXiv's own directives first (00README); else the files that can stand alone are compared: those that
another file includes are parts, letters and rebuttals are not the paper, and of what is left the one with a
title, an abstract, a name like `main` and more text wins. (The longest file with `\\documentclass` is the
wrong one in 4 of 10 papers with more than one.)
"""

import json
import math
import posixpath
import re
from dataclasses import dataclass, field

import yaml

from preprocess.latex.archive import Dropped
from preprocess.latex.includes import included_names, resolve, strip_comments

TEX_SUFFIXES = (".tex", ".ltx", ".latex", ".tex.txt")
_ANCILLARY = "anc/"  # arXiv's folder for ancillary files: data and code, not the paper
_CLASS = re.compile(rb"\\document(?:class|style)\s*(?:\[[^\]]*\])?\s*\{?\s*([A-Za-z0-9_\-./, ]*)")
_BEGIN = re.compile(rb"\\begin\s*\{\s*document\s*\}")
_PLAIN = re.compile(
    rb"\\(?:magnification\b|bye(?![A-Za-z])|input\s+(?:amstex|amsppt|harvmac|eplain|phyzzx|lanlmac)|documentstyle\s*\{amsppt\}"
    rb"|topmatter\b|loadmsbm\b|end\s*$)"
)
_AMSTEX = re.compile(rb"\\input\s+amstex|\\documentstyle\s*\{amsppt\}|\\topmatter\b")
_TEX_ROOT = re.compile(rb"^\s*%+\s*!\s*TEX\s+root\s*=\s*(\S+)", re.MULTILINE | re.IGNORECASE)
_COMMAND = re.compile(rb"\\[A-Za-z]+")
_NOT_A_PAPER_CLASS = re.compile(rb"standalone|subfiles|letter|moderncv")
_NOT_A_PAPER_NAME = re.compile(
    r"respon|rebut|reply|cover|letter|supp|template|sample|example|referee|review|notes?$|cv$", re.IGNORECASE
)
_PAPER_NAME = re.compile(r"(^|[-_/])(ms|main|paper|article|manuscript|arxiv|root)([-_.\d]|$)", re.IGNORECASE)
_MIN_COMMANDS = 10  # of a file that is TeX though nothing in it says so


@dataclass(frozen=True)
class MainFile:
    """The chosen file."""

    name: str
    reason: str  # readme, only_candidate, best_score, plain_tex, only_tex_file
    dialect: str  # latex, latex209, amstex, plain
    candidates: dict[str, float] = field(default_factory=dict)  # file -> score


def tex_files(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that may hold TeX, ancillary ones apart."""
    return {
        name: data
        for name, data in files.items()
        if not name.startswith(_ANCILLARY)
        and (
            name.lower().endswith(TEX_SUFFIXES)
            or "." not in posixpath.basename(name)
            or _looks_like_tex(name, data)
        )
    }


def _looks_like_tex(name: str, data: bytes) -> bool:
    return name.lower().endswith(".txt") and (_CLASS.search(data) is not None)


def choose_main_file(files: dict[str, bytes]) -> MainFile | Dropped:
    """The paper's main file; `files` are UTF-8 with LF line ends."""
    texts = {name: strip_comments(data) for name, data in tex_files(files).items()}
    texts = {name: text for name, text in texts.items() if b"\0" not in text[:1000]}
    if not texts:
        return Dropped("no_tex_source", ", ".join(sorted(files)[:5]))
    if any(files[name].lstrip()[:12].lower() == b"%auto-ignore" for name in texts) and len(texts) == 1:
        return Dropped("auto_ignore")
    if named := _named_by_readme(files, texts):
        return MainFile(named, "readme", _dialect(texts[named]))

    included = {target for name, text in texts.items() for target in _targets(name, text, files)}
    roots = {
        target
        for name in texts
        if (match := _TEX_ROOT.search(files[name]))
        and (target := resolve(match[1].decode("utf-8", "replace"), [posixpath.dirname(name), ""], files))
    }
    standing = {
        name: text
        for name, text in texts.items()
        if (_CLASS.search(text) and _BEGIN.search(text)) or name in roots
    }
    papers = {
        name: text
        for name, text in standing.items()
        if name not in included and not ((kind := _CLASS.search(text)) and _NOT_A_PAPER_CLASS.search(kind[1]))
    }
    papers = papers or standing
    if papers:
        scores = {name: _score(name, text, name in roots, files) for name, text in papers.items()}
        best = min(scores, key=lambda name: (-scores[name], name))
        reason = "only_candidate" if len(scores) == 1 else "best_score"
        return MainFile(best, reason, _dialect(texts[best]), _rounded(scores))

    plain = {name: text for name, text in texts.items() if name not in included and _PLAIN.search(text)}
    reason = "plain_tex"
    if not plain:
        plain = {
            n: t for n, t in texts.items() if n not in included and len(_COMMAND.findall(t)) >= _MIN_COMMANDS
        }
        reason = "only_tex_file"
        if len(plain) != 1:
            return Dropped("no_main_file", ", ".join(sorted(texts)[:5]))
    scores = {name: _score(name, text, False, files) for name, text in plain.items()}
    best = min(scores, key=lambda name: (-scores[name], name))
    dialect = "amstex" if _AMSTEX.search(texts[best]) else "plain"
    return MainFile(best, reason, dialect, _rounded(scores))


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {
        name: round(score, 2)
        for name, score in sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:8]
    }


def _dialect(text: bytes) -> str:
    match = _CLASS.search(text)
    if match is None:
        return "plain"
    if b"amsppt" in match[1]:
        return "amstex"
    return "latex209" if match[0].startswith(b"\\documentstyle") else "latex"


def _score(name: str, text: bytes, is_root: bool, files: dict[str, bytes]) -> float:
    """Evidence that a file is the paper: each kind of evidence outweighs a tenfold difference in length."""
    reached, todo = {name}, [name]
    while todo:
        current = todo.pop()
        for target in _targets(current, files[current], files):
            if target not in reached:
                reached.add(target)
                todo.append(target)
    n_bytes = sum(len(files[target]) for target in reached)
    stem = posixpath.splitext(posixpath.basename(name))[0]
    return (
        math.log10(n_bytes + 1)
        + 2.0 * is_root
        + 1.0 * (b"\\title" in text)
        + 1.0 * (b"abstract" in text)
        + 1.0 * bool(_PAPER_NAME.search(stem))
        - 3.0 * bool(_NOT_A_PAPER_NAME.search(stem))
        - 0.5 * name.count("/")
    )


def _targets(name: str, text: bytes, files: dict[str, bytes]) -> set[str]:
    folders = ["", posixpath.dirname(name)]
    return {
        target
        for other in included_names(text)
        if (target := resolve(other, folders, files)) and target != name
    }


def _named_by_readme(files: dict[str, bytes], texts: dict[str, bytes]) -> str:
    """The top-level file that arXiv's 00README names, "" if it names none that is there."""
    for name in sorted(files):
        stem, suffix = posixpath.splitext(posixpath.basename(name).lower())
        if stem != "00readme" or "/" in name:
            continue
        text = files[name].decode("utf-8", "replace")
        named: list[str] = []
        if suffix in (".json", ".yaml", ".yml"):
            try:
                listing = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
                named = [s["filename"] for s in listing["sources"] if s.get("usage") == "toplevel"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
                continue
        else:
            for line in text.splitlines():
                words = line.split()
                if len(words) >= 2 and words[1].lower() == "toplevelfile":
                    named.append(words[0])
        for candidate in named:
            if isinstance(candidate, str) and candidate in texts:
                return candidate
    return ""
