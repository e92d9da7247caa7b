"""What the files of an archive are, by their names."""

import re

from preprocess.latex.archive import TEX_SUFFIXES

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
