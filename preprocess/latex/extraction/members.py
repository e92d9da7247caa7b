"""What the files of an archive are, by their names and by what its 00README says."""

import json
import posixpath
import re
from collections.abc import Mapping

from preprocess.latex.extraction.archive import TEX_SUFFIXES

# Not TeX whatever their content: reading each figure to find out would cost more than all the rest.
NOT_TEX_SUFFIXES = tuple(
    """
    .sty .cls .clo .bst .bib .bbl .def .cfg .fd .ist .eps .ps .epsi .epsf .pdf .png .jpg .jpeg .gif .svg
    .dat .csv .py .log .aux .toc .out .blg .pstricks .tikz .pgf .mp .fig .m .nb .c .h .cpp .xml .html
    .md .json
    """.split()
)
_STYLE_SUFFIXES = (".sty", ".cls", ".clo", ".bst", ".def", ".cfg", ".fd", ".ist", ".ldf")
_FIGURE_SUFFIXES = tuple(".eps .ps .epsi .epsf .pdf .png .jpg .jpeg .gif .svg .pstricks .tikz .pgf".split())
# Lines and YAML keys of a 00README.
_LINE = re.compile(r"(?m)^[^\S\n]*(\S+)\s+(toplevelfile|ignore)\b")
_KEY = re.compile(r"(?m)^[^\S\n]*(filename|usage):[ \t]*[\"']?([^\s\"']+)")
# arXiv's folder of ancillary files; a Mac's shadow files.
_ANCILLARY = re.compile(r"(?:^|/)(?:anc|__MACOSX|\.git)(?:/|$)|(?:^|/)\._")


def is_ancillary(path: str) -> bool:
    """Whether a file comes along with the paper without being part of it."""
    return _ANCILLARY.search(path) is not None


def cause_unused(path: str) -> str:
    """Why the bytes of a member that the paper does not use are left out."""
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


def said_by(readme: Mapping[str, bytes], usage: str) -> list[str]:
    """The files that arXiv's 00README (lines, JSON or YAML) names for a `usage`: toplevel or ignore."""
    named = []
    for path, text in readme.items():
        folder = posixpath.dirname(path)
        said = _directives(text.decode("utf-8", "replace"))
        named += [posixpath.normpath(posixpath.join(folder, name)) for name, use in said if use == usage]
    return named


def _directives(readme: str) -> list[tuple[str, str]]:
    """(file name, usage) of each source that a 00README speaks of."""
    try:
        sources = json.loads(readme).get("sources", [])
        return [(str(source["filename"]), str(source.get("usage"))) for source in sources]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        pass
    said = [(name, use.removesuffix("file")) for name, use in _LINE.findall(readme)]
    for source in re.split(r"(?m)^[^\S\n]*-\s", readme):
        keys = dict(_KEY.findall(source))
        if "filename" in keys:
            said.append((keys["filename"], keys.get("usage", "")))
    return said
