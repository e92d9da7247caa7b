r"""Clean as RedPajama-V1 does its arXiv part (its branch rp_v1); Proof-Pile-2 takes it over unchanged.

Files. All `.tex` files of a tar, or the one file of a gzip, in the order of the tar, whatever includes what.
If one of them is not UTF-8, the paper is lost.
Each file. It begins at its first header that a brace or bracket follows at once (chapter to subsubsection; a
`\paragraph` counts only if a `\subparagraph` follows a closing brace somewhere behind it, because the
published pattern lacks a bar); a file without a header gives nothing. Lines that begin with `%` go; a
comment within a line takes the character before its `%` along and stays if nothing follows the `%`.
Everything from the first `\appendix`, bibliography or `references` on goes.
Macros. Definitions without arguments that end their line, of all files, replace their uses one macro after
the other; a use takes part in one replacement together with the character behind it, so of two adjacent uses
one stays. If a definition holds a character beyond ASCII, the paper is lost.
RedPajama keeps every language and every duplicate.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from preprocess.compat.source import Joined, counted
from preprocess.pipeline.dropped import Dropped

MAX_CHARS = 64 << 20  # of a paper with its macros expanded: some definitions double with each step

_HEADER = re.compile(r"\\((?:sub){0,2}section|chapter|part|paragraph)\b\*?([\[{])")
_SUBPARAGRAPH = re.compile(r"\}\\subparagraph\b\*?([\[{])")
_COMMENT_LINE = re.compile(r"(?m)^%.*\n?")
_COMMENT_IN_LINE = re.compile(r"[^\\]%.+")
_END = re.compile(r"\\(?:appendix|begin\{(?:references|REFERENCES|thebibliography)\}|(bibliography\{))")
_DEFINITIONS = (
    re.compile(r"\\newcommand\*?\{(\\[A-Za-z0-9]+)\}\{"),
    re.compile(r"\\def\s*(\\[A-Za-z0-9]+)\s*\{"),
)
_REPLACEABLE = re.compile(r"[\t\r -~]*")  # what a definition may consist of


def join(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """All .tex files; dropped where one is not UTF-8 or there is none."""
    names = [name for name in files if name.endswith(".tex")]
    texts = [bytes(files[name]) for name in names]
    for name, text in zip(names, texts, strict=True):
        try:
            text.decode()
        except UnicodeDecodeError:
            return Dropped("not_utf8", name)
    return Joined(texts, names, Counter()) if texts else Dropped("no_tex_source", ", ".join(list(files)[:5]))


def clean(parts: Sequence[str], removed: Counter[str]) -> str | Dropped:
    """The sections of all files with simple macros expanded."""
    macros: dict[str, str] = {}
    for part in parts:
        macros.update(definitions(part))
    cleaned = []
    for part in parts:
        text = counted(part, _from_first_header(part), "before_first_section", removed)
        if text:
            if odd := next((name for name, value in macros.items() if not _REPLACEABLE.fullmatch(value)), ""):
                return Dropped("unusual_macro", f"{odd} is defined with a character beyond ASCII")
            text = counted(text, _COMMENT_LINE.sub("", text), "comments", removed)
            text = counted(text, _COMMENT_IN_LINE.sub("", text), "comments", removed)
            text = counted(text, _up_to_references(text), "appendix_and_references", removed)
            expanded = expand(text, macros)
            if expanded is None:
                return Dropped("too_large", f"more than {MAX_CHARS} characters with its macros expanded")
            text = counted(text, expanded, "macros", removed)
        cleaned.append(text)
    return "\n".join(cleaned)


def _from_first_header(text: str) -> str:
    """`text` from its first header on, "" where it has none. Positions of closers are found once."""
    last_brace = text.rfind("}")
    last_bracket = text.rfind("]{", 0, last_brace)  # of an optional argument that a closed group follows
    last_subparagraph = max(
        (
            match.start()
            for match in _SUBPARAGRAPH.finditer(text)
            if match.end() <= (last_brace if match[1] == "{" else last_bracket)
        ),
        default=-1,
    )
    for header in _HEADER.finditer(text):
        if header[1] == "paragraph":
            is_closed = header.end() <= (
                last_subparagraph if header[2] == "{" else text.rfind("]{", 0, last_subparagraph)
            )
        else:
            is_closed = header.end() <= (last_brace if header[2] == "{" else last_bracket)
        if is_closed:
            return text[header.start() :]
    return ""


def _up_to_references(text: str) -> str:
    last_brace = text.rfind("}")
    for end in _END.finditer(text):
        if not end[1] or end.end() <= last_brace:
            return text[: end.start()]
    return text


def definitions(text: str) -> dict[str, str]:
    r"""Names (with backslash) and values of the definitions without arguments that end their line."""
    found: dict[str, str] = {}
    for head in _DEFINITIONS:
        found.update(_defined(text, head))
    return found


def _defined(text: str, head: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    at = line_end = 0
    while match := head.search(text, at):
        at = match.end()
        if at > line_end:
            line_end = text.find("\n", at)
            line_end = len(text) if line_end < 0 else line_end
        if at < line_end and text[line_end - 1] == "}":
            yield match[1], text[at : line_end - 1]
            at = line_end


def expand(text: str, macros: Mapping[str, str]) -> str | None:
    """`text` with the macros replaced one after the other; None where it would exceed MAX_CHARS."""
    for name, value in macros.items():
        if n_uses := text.count(name):
            if len(text) + n_uses * len(value) > MAX_CHARS:
                return None
            text = _replaced(text, name, value)
    return text


def _replaced(text: str, name: str, value: str) -> str:
    return re.sub(re.escape(name) + "([^A-Za-z0-9])", lambda use: value + use[1], text)
