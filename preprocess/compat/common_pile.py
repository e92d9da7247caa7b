r"""Clean as the Common Pile's code does arXiv's LaTeX (sources/arxiv/from_latex and its Dolma filters).

Its README says that the published data set comes from arXiv's HTML instead; the code for LaTeX is what is
public. A paper of one file is lost, because the code reads a variable that it has not set. Each `.tex` file
at the top of the tar that holds `\begin{document}`, and that no file before it included, is a document; here
they are joined to one a paper. `\input{…}` is replaced by that file once, also in a comment; what cannot be
found stays. The text between the first two `\begin{document}` becomes plain text by the library pylatexenc
(`pip install pylatexenc`), which the published code uses, too; mathematics stays as written. Lines of one
word go, unless they begin with a backslash. An e-mail address, with the punctuation and blanks around it,
becomes <EMAIL_ADDRESS>.
Licences, language and near duplicates are left to the stages of the recipe.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from configs.loader import UserError
from preprocess.compat.source import Joined, counted, n_bytes
from preprocess.latex.extraction.encoding import to_utf8
from preprocess.pipeline.dropped import Dropped

_BEGIN = r"\begin{document}"
_INPUT = re.compile(r"\\input\{(.*?)\}")
_EMPTY_LINES = re.compile(r"\n\n+")
# Dolma's pattern, but with bounds: an address has 254 characters at most (RFC 5321), and without bounds long
# words would take quadratic time.
_EMAIL = re.compile(r"[.\s@,?!;:)(]{0,254}+([^\s@]{1,254}+)@([^\s@,?!;:)(]{1,254}?)[.\s@,?!;:)(]?\s")
_PUT_IN = "<EMAIL_ADDRESS>"


def join(files: Mapping[str, memoryview]) -> Joined | Dropped:
    """The documents of a submission with their inputs; dropped where no file at the top is one."""
    texts, removed = [], Counter[str]()
    used: list[str] = []  # files that stand in a text
    included: set[str] = set()  # names as the inputs spell them
    for name in files:
        stem, suffix = posixpath.splitext(name)
        if suffix == ".tex" and not posixpath.dirname(name) and not included & {name, stem}:
            text = to_utf8(bytes(files[name])).text.decode()
            if _BEGIN in text:
                _use(name, files, used, removed)
                texts.append(_with_inputs(text, files, included, used, removed).encode())
    return Joined(texts, used, removed) if texts else Dropped("no_document_body", ", ".join(list(files)[:5]))


def _use(name: str, files: Mapping[str, memoryview], used: list[str], removed: Counter[str]) -> str:
    """The text of a file that is put into a document; counts the bytes that reading it again adds."""
    decoded = to_utf8(bytes(files[name]))
    if name in used:
        removed["included_again"] -= len(decoded.text)
    else:
        used.append(name)
        removed.update(decoded.removed)
    return decoded.text.decode()


def _with_inputs(
    text: str, files: Mapping[str, memoryview], included: set[str], used: list[str], removed: Counter[str]
) -> str:
    def content(command: re.Match[str]) -> str:
        name = f"{posixpath.splitext(command[1])[0]}.tex"
        if name not in files:
            return command[0]
        included.add(command[1])
        removed["include_commands"] += n_bytes(command[0])
        return _use(name, files, used, removed)

    return _INPUT.sub(content, text)


def clean(parts: Sequence[str], removed: Counter[str]) -> str | Dropped:
    """The documents in plain text, with an empty line between two; dropped where pylatexenc fails."""
    cleaned, converter = [], _converter()
    for part in parts:
        document = counted(part, part.split(_BEGIN)[1], "outside_document", removed)
        try:
            plain = converter.latex_to_text(document)
        except Exception as error:  # as published: whatever the library raises, RecursionError among it
            return Dropped("unparsable", f"{type(error).__name__}: {error}"[:200])
        text = counted(document, plain, "plain_text", removed)
        text = counted(text, _without_short_lines(text), "short_lines", removed)
        cleaned.append(counted(text, without_addresses(text), "addresses", removed))
    removed["joined"] -= len(parts) - 1
    return "\n\n".join(cleaned)


def _without_short_lines(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    kept = [line for line in lines if not line or line.startswith("\\") or len(line.split()) > 1]
    return _EMPTY_LINES.sub("\n\n", "\n".join(kept))


def without_addresses(text: str) -> str:
    """`text` with a mark for each e-mail address that white space follows on its line."""
    return "".join(
        _EMAIL.sub(lambda found: _PUT_IN if "." in found[2] and found[1] != "(" else found[0], line)
        if "@" in line
        else line
        for line in text.splitlines(keepends=True)
    )


@cache
def _converter() -> Any:
    try:
        from pylatexenc import latex2text
    except ImportError:
        raise UserError("compat=common_pile needs the library pylatexenc: pip install pylatexenc") from None
    context = latex2text.get_default_latex_context_db()
    context.add_context_category(
        "common_pile",
        prepend=True,
        macros=[latex2text.MacroTextSpec(name) for name in ("includegraphics", "maketitle")],
        environments=[
            latex2text.EnvironmentTextSpec(name) for name in ("array", "pmatrix", "bmatrix", "smallmatrix")
        ],
    )
    return latex2text.LatexNodes2Text(math_mode="verbatim", latex_context=context)
