r"""Remove what only typesetting needs: layout commands, drawings, front matter, the bibliography.

Sections, theorems, lists, mathematics, tables, citations and labels stay as written. Nothing named in this
module occurs in mathematics; `prose_layout.py` treats layout commands that do.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from preprocess.latex.cleaning.prose_layout import LAST_BREAK, PROSE_LAYOUT, ProseLayout, drop_prose_layout
from preprocess.latex.cleaning.rewriter import Rewriter
from preprocess.latex.lexer import Groups, escaped, trie

FIGURES = tuple(
    b"""
    figure figure* wrapfigure wrapfigure* SCfigure sidewaysfigure sidewaysfigure* floatingfigure
    teaserfigure marginfigure mfigure subfigures psfigure figwindow
    """.split()
)
TABLES = tuple(
    b"""
    table table* wraptable sidewaystable sidewaystable* margintable deluxetable deluxetable*
    """.split()
)
ALGORITHMS = tuple(b"algorithm algorithm* algorithm2e procedure function algorithmic".split())
_DRAWINGS = tuple(
    b"""
    tikzpicture picture pspicture pspicture* pgfpicture asy fmffile fmfgraph fmfgraph* feynman
    feynmandiagram forest axis animateinline sagesilent
    """.split()
)
_BIBLIOGRAPHIES = (b"thebibliography", b"references", b"biblist", b"bibdiv")
_FRONT_MATTER = tuple(
    b"""
    abstract abstract* keyword keywords IEEEkeywords CCSXML titlepage AMS altabstract
    """.split()
)

# Commands that are removed with their arguments, which are all {groups} and [options] directly behind them.
_LAYOUT = tuple(
    b"""
    noindent indent vspace newpage clearpage cleardoublepage pagebreak nopagebreak bigskip medskip
    smallskip vfill vfil vskip bigbreak medbreak smallbreak goodbreak centering raggedright raggedleft
    sloppy fussy samepage tableofcontents listoffigures listoftables listofalgorithms maketitle
    pagestyle thispagestyle pagenumbering markboth markright setcounter addtocounter setlength
    addtolength addcontentsline addtocontents index glossary printindex makeindex newcounter newlength
    newtheorem theoremstyle numberwithin usepackage RequirePackage hypersetup graphicspath captionsetup
    lstset tikzset usetikzlibrary pgfplotsset definecolor geometry makeatletter makeatother
    phantomsection allowdisplaybreaks onecolumn twocolumn singlespacing doublespacing onehalfspacing
    frontmatter mainmatter backmatter balance FloatBarrier flushbottom raggedbottom enlargethispage
    includegraphics epsfbox epsffile epsfig psfig psfrag includepdf linebreak nolinebreak nobreak eject
    NoBlackBoxes loadmsbm loadeufm nologo linenumbers nolinenumbers modulolinenumbers bibliographystyle
    DeclareGraphicsExtensions fancyhead fancyfoot fancyhf lhead rhead chead cfoot lfoot rfoot
    """.split()
)
_TITLE = tuple(
    b"""
    title titlerunning shorttitle author authors authorrunning address email affiliation affil institute
    institution date thanks curraddr urladdr subjclass pacs keywords dedicatory altaffiliation homepage
    preprint received revised accepted abstract ead cortext fntext cortitle offprints orcidID orcid
    correspondingauthor icmltitle icmlauthor icmladdress markfirst tocauthor toctitle subtitle
    collaboration noaffiliation slugcomment shortauthors altaffiltext altaffilmark
    """.split()
)
_BIBLIOGRAPHY = rb"bibliography printbibliography nocite addbibresource".split()
_MAY_HAVE_LENGTH = (b"vskip", b"vspace")  # may be followed by a length without braces, as in plain TeX

# Registers whose assignments are removed: \parskip=3pt plus 1pt, \magnification=1200, \baselineskip 12pt.
_REGISTERS = frozenset(
    b"""
    parskip parindent baselineskip hsize vsize hoffset voffset textwidth textheight oddsidemargin
    evensidemargin topmargin headheight headsep footskip magnification tolerance hfuzz vfuzz columnsep
    mathsurround pageno baselinestretch leftskip rightskip topskip overfullrule footline headline
    """.split()
)
_LENGTHS = frozenset(
    b"""
    paperwidth paperheight linewidth columnwidth smallskipamount medskipamount bigskipamount maxdimen
    """.split()
)
# The value of a register or a skip: 3pt plus 1pt, 0.5\baselineskip; a number or a {group} only behind `=`.
_BLANK = rb"[ \t]*+(?:\n[ \t]*+)?"  # blanks without an empty line
_LENGTH = re.compile(
    _BLANK + rb"-?(?:[\d.]+\s*(?:true\s*)?(?:pt|cm|mm|in|em|ex|pc|sp|bp)"
    rb"|[\d.]*\\" + trie(_REGISTERS | _LENGTHS) + rb"(?![A-Za-z@]))"
    rb"(?:\s*(?:plus|minus)\s*[\d.]+\s*[a-z]{2,4})*"
)
_FACTOR = frozenset(b". 0 1 2 3 4 5 6 7 8 9".split())
_CALCULATED = re.compile(rb"\{\\[a-z]+[-+]")
_EQUALS = re.compile(_BLANK + rb"=")
_VALUE = re.compile(
    _BLANK + rb"(?:=" + _BLANK + rb"(?:-?[\d.]+|\\magstep(?:half|\s*\d)|\{[^{}]{0,300}\})"
    rb"|(?:[1-9]\d{2,}|\\magstep(?:half|\s*\d)))"  # \tolerance 1000, \magnification\magstep1
)
_CAPTION = re.compile(rb"\\(?:caption(?:of\s*\{\w+\})?|tablecaption|figcaption|label)\*?(?![A-Za-z])")
_PICTURE = re.compile(
    rb"\\(?:includegraphics|epsf|psfig|epsfig|plotone|plottwo|special|input|include|pstext|unitlength|psset|tikz"
    rb"|xymatrix|asyinclude|put(?![A-Za-z])|begin\s*\{(?:" + trie(_DRAWINGS) + rb")\})"
)
# Environments in plain form: the command that ends each, and the cause under which its bytes are counted.
_PAIRS = {
    b"topmatter": (b"\\endtopmatter", "front_matter"),
    b"comment": (b"\\endcomment", "comment_environments"),
}


class _Rules(NamedTuple):
    """What to remove."""

    treatment: dict[bytes, tuple[str, str]]  # environment: (captions or drop, the ledger's cause)
    commands: dict[bytes, str]  # command that is removed with its arguments: the ledger's cause
    pattern: re.Pattern[bytes]  # finds all of them


@lru_cache(maxsize=8)
def _rules(figures: str, tables: str, algorithms: str, bibliography: str, drop_front_matter: bool) -> _Rules:
    """The rules for the options of `tidy_environments`."""
    treatment = dict.fromkeys(_DRAWINGS, ("drop", "drawings"))
    commands = dict.fromkeys(_LAYOUT, "layout")
    for names, how, cause in (
        (FIGURES, figures, "figures"),
        (TABLES, tables, "tables"),
        (ALGORITHMS, algorithms, "algorithms"),
        (_BIBLIOGRAPHIES, bibliography, "bibliography"),
        (_FRONT_MATTER, "drop" if drop_front_matter else "keep", "front_matter"),
    ):
        if how != "keep":
            treatment |= dict.fromkeys(names, (how, cause))
    if drop_front_matter:
        commands |= dict.fromkeys(_TITLE, "front_matter")
    if bibliography == "drop":
        commands |= dict.fromkeys(_BIBLIOGRAPHY, "bibliography")
    # One trie for all names: alternatives and groups would cost time at each backslash.
    edges = {edge + name + b"}" for edge in (b"begin{", b"end{") for name in treatment}
    words = trie({*edges, *commands, *PROSE_LAYOUT, *_REGISTERS, *_PAIRS}).replace(rb"\{", rb"\s*\{")
    pattern = rb"\\" + words + rb"(?:(?<=\})|(?![A-Za-z@]))|" + LAST_BREAK
    return _Rules(treatment, commands, re.compile(pattern))


def tidy_environments(
    text: bytes,
    figures: str,
    tables: str,
    algorithms: str,
    bibliography: str,
    drop_front_matter: bool,
    removed: Counter[str],
) -> bytes:
    """Remove from `text` what only typesetting needs; `removed` counts the bytes by cause.

    `figures`, `tables` and `algorithms` are `keep`, `captions` or `drop`; `bibliography` is `keep` or `drop`.
    With `captions`, a figure without a picture stays, because it consists of text.
    """
    treatment, commands, pattern = _rules(figures, tables, algorithms, bibliography, drop_front_matter)
    groups, out = Groups(text), Rewriter(text, removed)
    layout = ProseLayout(groups, out)
    unclosed: set[bytes] = set()
    kept_ends: set[int] = set()
    text_until: dict[bytes, int] = {}  # environment: end of the last one of its name without a picture
    for match in pattern.finditer(text):
        start, end = match.span()
        layout.advance(start)
        if start < out.at or (text[start - 1 : start] == b"\\" and escaped(text, start)):
            continue
        found = match[0]
        name = found[1:]
        if name in commands:
            out.cut(start, _behind_arguments(groups, end, name), commands[name])
        elif name in PROSE_LAYOUT:
            layout.meet(start, end, name)
        elif name[:1] == b"\\":
            layout.meet_last_break(start, end)
        elif name in _REGISTERS:
            equals = _EQUALS.match(text, end)
            if not equals and (text[start - 1 : start] in _FACTOR or _CALCULATED.match(text, start - 1)):
                continue  # 0.5\hsize, {\textwidth-1cm}: a value, not an assignment
            if assigned := _LENGTH.match(text, equals.end() if equals else end) or _VALUE.match(text, end):
                out.cut(start, assigned.end(), "layout")
        elif name in _PAIRS:
            closer, cause = _PAIRS[name]
            if closer in unclosed or (cause == "front_matter" and not drop_front_matter):
                continue
            close = text.find(closer, end)
            if close < 0:
                unclosed.add(closer)
            else:
                out.cut(start, close + len(closer), cause)
        elif found.startswith(b"\\begin"):
            name = found[found.index(b"{") + 1 : -1]
            if start < text_until.get(name, 0):
                continue
            closer = b"\\end{" + name + b"}"
            close = -1 if name in unclosed else text.find(closer, end)
            if close < 0:
                unclosed.add(name)
                continue
            how, cause = treatment[name]
            close += len(closer)
            if cause == "figures" and how == "captions" and not _PICTURE.search(text, end, close):
                kept_ends.add(
                    close - len(closer)
                )  # a figure that consists of text: code, inference rules, formulas
                text_until[name] = close
                continue
            kept = _captions(text, groups, end, close) if how == "captions" else b""
            if kept:
                removed[cause] -= len(kept)  # layout in captions is counted under its own cause
                kept = drop_prose_layout(kept, removed)
                removed[cause] += len(kept)
                new = found + b"\n" + kept + b"\n" + closer
                out.replace(start, close, new, cause)
            else:
                out.cut(start, close, cause)
        elif start not in kept_ends:  # the end of an outer environment that contained one of the same name
            out.cut(start, end, treatment[found[found.index(b"{") + 1 : -1]][1])
    layout.advance(len(text))
    return out.finish()


def _captions(text: bytes, groups: Groups, start: int, end: int) -> bytes:
    r"""The captions and labels between `start` and `end`, one on each line; b"" where there is no caption."""
    kept, has_caption, at = [], False, start
    while match := _CAPTION.search(text, at, end):
        at = match.end()
        option = groups.optional(at)
        group = groups.group(option[1] if option else at)
        if group is None or group[1] > end:
            continue
        is_label = match[0].startswith(b"\\label")
        has_caption = has_caption or (not is_label and bool(group[0].strip()))
        at = group[1]
        kept.append((b"\\label{" if is_label else b"\\caption{") + group[0] + b"}")
    return b"\n".join(kept) if has_caption else b""


def _behind_arguments(groups: Groups, at: int, name: bytes) -> int:
    """The offset behind a command's star, [options] and {groups}, all directly behind it."""
    text = groups.text
    if text[at : at + 1] == b"*":
        at += 1
    if name in _MAY_HAVE_LENGTH and (length := _LENGTH.match(text, at)):
        return length.end()
    while text[at : at + 1] in (b"{", b"["):
        given = groups.optional(at) if text[at : at + 1] == b"[" else groups.group(at)
        if given is None:
            break
        at = given[1]
    return at
