r"""Commands that bring in another file: `\input` and its relatives, and those that authors make of them."""

import posixpath
import re
from collections.abc import Container, Iterable, Iterator
from itertools import islice

from preprocess.latex.lexer import MAX_NAME_BYTES, trie

MAX_INCLUDES = 20_000  # that are looked at in a paper; an archive has as many members at most

# `\input{\path/to/file}`: the macro is some folder; what is behind it is looked for from the root.
_FILE = rb"\s*+\{\s*+\"?+(?:\\[A-Za-z@]++\s*+/?+)?+(?P<%b>[^{}\"%%\\#\n]*+)\"?+\s*+\}"

# As alternatives behind a backslash, with groups named for what they hold.
STANDARD = (
    rb"(?P<input>(?:input|include|subfile|subfileinclude|@input|InputIfFileExists)(?![A-Za-z@])(?:"
    + _FILE % b"braced"
    + rb"|[ \t]*\"(?P<quoted>[^\"\n]+)\"|[ \t]+(?P<bare>[^\s{}\\%\"#]+)))"
    + rb"|(?P<import>(?:sub)?(?:import|inputfrom|includefrom)\*?"
    + _FILE % b"folder"
    + _FILE % b"file"
    + rb")"
)
# How these begin.
NAMES = (b"input", b"include", b"subfile", b"@input", b"InputIf", b"import", b"subimport", b"subin")
_OWN_ARGUMENTS = rb"\*?(?:\[(?P<own_folder>[^\[\]{}\n]*)\])?" + _FILE % b"own_file"
# What has such a word in its name and brings in no text of the paper's.
_NO_TEXT = (
    rb"(?:include(?:graphics|pdf|only|svg|media)|[a-zA-Z]*inputlisting|(?:[vV]erbatim|file)[iI]nput|inputenc)"
)
_ANY = re.compile(
    rb"\\(?:"
    + STANDARD
    + rb"|(?P<own>(?!"
    + _NO_TEXT
    + rb")(?P<own_name>[A-Za-z@]{1,%d})" % MAX_NAME_BYTES
    + _OWN_ARGUMENTS
    + rb"))"
)


# Groups that hold the folder and the file, by the kind of the command.
_NAMED_BY = {
    "input": ("", "braced", "quoted", "bare"),
    "import": ("folder", "file"),
    "own": ("own_folder", "own_file"),
}


def own(names: Iterable[bytes]) -> bytes:
    r"""A further alternative for commands of the author's, `\olimport[folder]{file}`.

    They are followed where there is such a file, and there is no trace of them where there is none.
    """
    return rb"(?P<own>" + trie(names) + rb"(?![A-Za-z@])" + _OWN_ARGUMENTS + rb")"


def file_named(match: re.Match[bytes]) -> tuple[str, str]:
    """(folder, file) that a match of STANDARD or OWN names; "" for a folder that it does not name."""
    folder_group, *file_groups = _NAMED_BY[match.lastgroup or ""]
    folder = match[folder_group] or b"" if folder_group else b""
    name = next((name for group in file_groups if (name := match[group])), b"")
    return folder.decode("utf-8", "replace").strip(), name.decode("utf-8", "replace").strip()


def included_names(text: bytes) -> Iterator[tuple[str, str]]:
    """(folder, file) of all commands in a text, commented ones too: enough to see which file is a part."""
    return (file_named(match) for match in _commands(text))


def own_commands(text: bytes, file_names: Container[str]) -> frozenset[bytes]:
    """Names of the include commands in a text that are not standard ones and name one of the files.

    `file_names`: of all files, in lower case, without folders. A command that names none would cost a pattern
    of the paper's own, which takes longer to compile than the paper to read.
    """
    own_ones = (match for match in _commands(text) if match.lastgroup == "own")
    return frozenset(match["own_name"] for match in own_ones if _is_among(file_named(match)[1], file_names))


def _is_among(name: str, file_names: Container[str]) -> bool:
    names = (posixpath.basename(name + suffix).lower() for suffix in (".tex", ""))
    return bool(name) and any(name in file_names for name in names)


def _commands(text: bytes) -> Iterator[re.Match[bytes]]:
    """Include commands, by the words in their names: there are far fewer of these than of backslashes."""
    return islice(_all_commands(text), MAX_INCLUDES)


def _all_commands(text: bytes) -> Iterator[re.Match[bytes]]:
    for word in (b"nput", b"nclude", b"mport", b"subfile"):
        at = text.find(word)
        while at >= 0:
            start = text.rfind(b"\\", max(0, at - 40), at)
            match = _ANY.match(text, start) if start >= 0 else None
            # The word stands in the command's own name: `\ref{sec:input}` includes nothing.
            if match and match.end("own_name" if match.lastgroup == "own" else 0) > at:
                yield match
            at = text.find(word, at + len(word))
