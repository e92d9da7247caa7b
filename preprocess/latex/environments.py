"""What does not belong into a text for reading: layout commands, graphics, front matter, the bibliography.

What stays, stays as written: sections, theorems, mathematics, citations and labels, footnotes, tables.
"""

import re
from collections import Counter
from dataclasses import dataclass

from preprocess.latex.braces import Braces

# Drawings and front matter: no reader of text misses them.
_DROPPED_ENVIRONMENTS = (
    "tikzpicture picture pspicture pgfpicture asy feynmangraph fmffile fmfgraph fmfgraph* forest "
    "keyword keywords frontmatter CCSXML acronym"
).split()
_BIBLIOGRAPHIES = ["thebibliography", "references", "biblist", "bibdiv"]
_FIGURES = ["figure", "figure*", "wrapfigure", "SCfigure", "sidewaysfigure", "floatingfigure", "teaserfigure"]
_TABLES = ["table", "table*", "wraptable", "sidewaystable", "sidewaystable*"]

# Commands that go, with the number of {arguments} that go with them ([options] always do).
_DROPPED_COMMANDS = {
    0: "maketitle tableofcontents listoffigures listoftables newpage clearpage cleardoublepage pagebreak nopagebreak "
    "noindent indent centering raggedright raggedleft bigskip medskip smallskip vfill vfil newline linebreak "
    "nolinebreak samepage sloppy fussy appendixpage frenchspacing onecolumn twocolumn singlespacing doublespacing "
    "onehalfspacing allowdisplaybreaks phantomsection printindex makeindex printbibliography balance xspace "
    "eject vglue hfil hfill topmatter endtopmatter document enddocument bye makeatletter makeatother null protect "
    "FloatBarrier acknowledgmentstrue loadmsbm loadeufm nologo NoBlackBoxes leavevmode mainmatter frontmatter "
    "backmatter",
    1: "vspace includegraphics bibliographystyle bibliography pagestyle thispagestyle pagenumbering index "
    "usepackage RequirePackage author date address email affiliation affil institute institution thanks "
    "curraddr urladdr subjclass pacs hypersetup graphicspath theoremstyle title shorttitle subtitle dedicatory "
    "numberwithin geometry usetikzlibrary tikzset pgfplotsset captionsetup epsfbox epsffile psfig epsfig "
    "acknowledgmentsname baselineskip newlength newcounter stepcounter usebox newsavebox addbibresource "
    "documentclass documentstyle lstset sisetup authorrunning titlerunning offprints ead cortext fntext "
    "correspondingauthor orcid city country state postcode department",
    2: "setcounter addtocounter setlength addtolength markboth settowidth fontsize titleformat",
    3: "addcontentsline rule definecolor titlespacing",
}
_ARGUMENTS = {name.encode(): n for n, names in _DROPPED_COMMANDS.items() for name in names.split()}
# TeX's own assignments: \parskip=3pt plus 1pt, \magnification=1200.
_ASSIGNMENT = re.compile(
    rb"\\(?:parskip|parindent|baselineskip|hsize|vsize|hoffset|voffset|textwidth|textheight|oddsidemargin|evensidemargin"
    rb"|topmargin|headheight|headsep|footskip|magnification|tolerance|hfuzz|vfuzz|columnsep|mathsurround|pageno)"
    rb"\s*=?\s*(?:-?[\d.]+\s*(?:true\s*)?(?:pt|cm|mm|in|em|ex|pc|sp|bp)?(?:\s+(?:plus|minus)\s+[\d.]+\s*\w+)*"
    rb"|\\magstep(?:half|\d)?|[\d.]*\\\w+)"
)
_CAPTION = re.compile(rb"\\caption(?:of)?\*?(?![A-Za-z])")


@dataclass(frozen=True)
class Policy:
    """What becomes of floats and of the bibliography."""

    figures: str = "captions"  # keep, captions, drop
    tables: str = "keep"
    bibliography: str = "drop"  # keep, drop


def _treatments(policy: Policy, drop_abstract: bool) -> dict[bytes, str]:
    groups = (
        (_DROPPED_ENVIRONMENTS, "drop"),
        (_BIBLIOGRAPHIES, policy.bibliography),
        (_FIGURES, policy.figures),
        (_TABLES, policy.tables),
        (["abstract"], "drop" if drop_abstract else "keep"),
    )
    return {name.encode(): how for names, how in groups for name in names if how != "keep"}


def _pattern(treatments: dict[bytes, str]) -> re.Pattern[bytes]:
    listed = rb"|".join(re.escape(name) for name in sorted(treatments, key=lambda name: (-len(name), name)))
    commands = rb"|".join(sorted(_ARGUMENTS, key=lambda name: (-len(name), name)))
    return re.compile(rb"\\(?:\\|begin\s*\{(" + listed + rb")\}|(" + commands + rb")\*?(?![A-Za-z@]))")


def tidy_environments(text: bytes, policy: Policy, drop_abstract: bool, removed: Counter[str]) -> bytes:
    """Text without what a reader does not read. `drop_abstract`: the metadata's abstract stands before it."""
    treatments = _treatments(policy, drop_abstract)
    pattern = _pattern(treatments)
    braces = Braces(text, 2 * len(text) + 100_000)
    out: list[bytes] = []
    start = position = 0
    unclosed: set[bytes] = set()
    while match := pattern.search(text, position):
        begin, position = match.span()
        if (environment := match[1]) is not None:
            closer = b"\\end{" + environment + b"}"
            close = -1 if environment in unclosed else text.find(closer, position)
            if close < 0:
                unclosed.add(environment)
                continue
            position = close + len(closer)
            kept = b""
            if treatments[environment] == "captions":
                kept = _captions(text[begin:position], environment)
            out += (text[start:begin], kept)
            removed[f"environment_{environment.decode().rstrip('*')}"] += position - begin - len(kept)
            start = position
        elif (command := match[2]) is not None:
            end = _end_of_arguments(braces, position, _ARGUMENTS[command])
            if end is None:
                continue
            position = end
            out.append(text[start:begin])
            removed["layout_and_front_matter"] += end - begin
            if text[end : end + 1].isalpha():  # what stood before must not run into what follows
                out.append(b" ")
                removed["layout_and_front_matter"] -= 1
            start = end
    out.append(text[start:])
    joined = b"".join(out)
    return _ASSIGNMENT.sub(lambda match: _count(match[0], "layout_and_front_matter", removed), joined)


def _count(span: bytes, cause: str, removed: Counter[str]) -> bytes:
    removed[cause] += len(span)
    return b""


def _end_of_arguments(braces: Braces, position: int, n_args: int) -> int | None:
    """Position after `[options]` and `n_args` {groups}; None where a group is missing."""
    for _ in range(n_args):
        while option := braces.optional(position):
            position = option[1]
        group = braces.group(position)
        if group is None:
            return None
        position = group[1]
    if n_args == 0 and (option := braces.optional(position)) and b"\n" not in option[0]:
        return option[1] if re.fullmatch(rb"[\s\d.\-]*", option[0]) else position
    return position


def _captions(float_text: bytes, environment: bytes) -> bytes:
    """The float with nothing but its captions and labels, "" if it has none."""
    braces = Braces(float_text, 2 * len(float_text) + 1000)
    captions = []
    position = 0
    while match := _CAPTION.search(float_text, position):
        position = match.end()
        option = braces.optional(position)
        if group := braces.group(option[1] if option else position):
            captions.append(b"\\caption{" + group[0].strip() + b"}")
            position = group[1]
    if not captions:
        return b""
    lines = [b"\\begin{" + environment + b"}", *captions, b"\\end{" + environment + b"}"]
    return b"\n".join(lines)
