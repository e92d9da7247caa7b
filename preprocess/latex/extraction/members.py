"""Classify the files of an archive by their names, and read its 00README."""

import json
import posixpath
import re
from collections.abc import Mapping

from preprocess.latex.extraction.archive import TEX_SUFFIXES

# Suffixes of files that are never TeX sources. The name decides: reading every figure would cost more than
# all other work.
NOT_TEX_SUFFIXES = tuple(
    """
    .sty .cls .clo .bst .bib .bbl .def .cfg .fd .ist .eps .ps .epsi .epsf .pdf .png .jpg .jpeg .gif .svg
    .dat .csv .py .log .aux .toc .out .blg .pstricks .tikz .pgf .mp .fig .m .nb .c .h .cpp .xml .html
    .md .json
    """.split()
)
_STYLE_SUFFIXES = (".sty", ".cls", ".clo", ".bst", ".def", ".cfg", ".fd", ".ist", ".ldf")
_FIGURE_SUFFIXES = tuple(".eps .ps .epsi .epsf .pdf .png .jpg .jpeg .gif .svg .pstricks .tikz .pgf".split())
# A line of arXiv's old 00README.XXX (`FILE toplevelfile`), and a key of a 00README.yaml.
_LINE = re.compile(r"(?m)^[^\S\n]*(\S+)\s+(toplevelfile|ignore)\b")
_KEY = re.compile(r"(?m)^[^\S\n]*(filename|usage):[ \t]*[\"']?([^\s\"']+)")
# arXiv's folder for ancillary files (`anc`), and the metadata that macOS adds to archives.
_ANCILLARY = re.compile(r"(?:^|/)(?:anc|__MACOSX|\.git)(?:/|$)|(?:^|/)\._")


def is_ancillary(path: str) -> bool:
    """Whether a file accompanies the paper without being part of it."""
    return _ANCILLARY.search(path) is not None


def cause_unused(path: str) -> str:
    """The ledger's cause for the bytes of a file that the paper does not use, by its name."""
    name = path.lower()
    if is_ancillary(path):
        return "unused_ancillary"
    if name.endswith(TEX_SUFFIXES):
        return "unused_tex"
    if name.endswith(_STYLE_SUFFIXES):
        return "unused_style"
    if name.endswith(_FIGURE_SUFFIXES):
        return "unused_figure"
    if name.endswith((".bib", ".bbl")):
        return "unused_bibliography"
    return "unused_other"


def named_in_readme(readmes: Mapping[str, bytes], usage: str) -> list[str]:
    """The paths that the 00READMEs (lines, JSON or YAML) name for a `usage`: toplevel or ignore."""
    named = []
    for path, text in readmes.items():
        folder = posixpath.dirname(path)
        directives = _directives(text.decode("utf-8", "replace"))
        named += [
            posixpath.normpath(posixpath.join(folder, name)) for name, use in directives if use == usage
        ]
    return named


def _directives(readme: str) -> list[tuple[str, str]]:
    """(file name, usage) of each source that a 00README lists; a broken one is read as far as it goes."""
    try:
        sources = json.loads(readme).get("sources", [])
        return [(str(source["filename"]), str(source.get("usage"))) for source in sources]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        pass
    directives = [(name, use.removesuffix("file")) for name, use in _LINE.findall(readme)]
    for source in re.split(r"(?m)^[^\S\n]*-\s", readme):
        keys = dict(_KEY.findall(source))
        if "filename" in keys:
            directives.append((keys["filename"], keys.get("usage", "")))
    return directives
