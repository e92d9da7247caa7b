r"""Include commands: `\input` and its variants, and commands that authors define on top of them."""

import posixpath
import re
from collections.abc import Container, Iterator
from itertools import islice

MAX_INCLUDES = 20_000  # include commands examined in a paper: as many as an archive may have members

# In `\input{\path/to/file}` the macro stands for some folder; the rest is looked up from the archive's root.
_FILE = rb"\s*+\{\s*+\"?+(?:\\[A-Za-z@]++\s*+/?+)?+(?P<%b>[^{}\"%%\\#\n]*+)\"?+\s*+\}"

# Alternatives that follow a backslash; each group is named for what it holds.
STANDARD = (
    rb"(?P<input>(?:input|include|subfile|subfileinclude|@input|InputIfFileExists)(?![A-Za-z@])(?:"
    + _FILE % b"braced"
    + rb"|[ \t]*\"(?P<quoted>[^\"\n]+)\"|[ \t]+(?P<bare>[^\s{}\\%\"#]+)))"
    + rb"|(?P<import>(?:sub)?(?:import|inputfrom|includefrom)\*?"
    + _FILE % b"folder"
    + _FILE % b"file"
    + rb")"
)
NAMES = (
    rb"\input", rb"\include", rb"\subfile", rb"\subfileinclude", rb"\@input", rb"\InputIfFileExists",
    rb"\import", rb"\inputfrom", rb"\includefrom", rb"\subimport", rb"\subinputfrom", rb"\subincludefrom",
)  # fmt: skip
_OWN_ARGUMENTS = rb"\*?(?:\[(?P<own_folder>[^\[\]{}\n]*)\])?" + _FILE % b"own_file"
# Commands with such a word in their names that include no text of the paper.
_NO_TEXT = (
    rb"(?:include(?:graphics|pdf|only|svg|media)|[a-zA-Z]*inputlisting|(?:[vV]erbatim|file)[iI]nput|inputenc)"
)
# The author's include commands, e.g. `\olimport[folder]{file}`. They are followed if the archive has the
# file; otherwise they stay and nothing is recorded.
_OWN = rb"(?P<own>(?P<own_name>[A-Za-z@]++)" + _OWN_ARGUMENTS + rb")"
OWN = re.compile(rb"\\" + _OWN)
_ANY = re.compile(rb"\\(?:" + STANDARD + rb"|(?!" + _NO_TEXT + rb")" + _OWN + rb")")


# Names of the groups that hold the folder and the file, by kind of command.
_NAMED_BY = {
    "input": ("", "braced", "quoted", "bare"),
    "import": ("folder", "file"),
    "own": ("own_folder", "own_file"),
}


def file_named(match: re.Match[bytes]) -> tuple[str, str]:
    """(folder, file) that a match of STANDARD or OWN names; "" for a folder that is not given."""
    folder_group, *file_groups = _NAMED_BY[match.lastgroup or ""]
    folder = match[folder_group] or b"" if folder_group else b""
    name = next((name for group in file_groups if (name := match[group])), b"")
    return folder.decode("utf-8", "replace").strip(), name.decode("utf-8", "replace").strip()


def included_names(text: bytes) -> Iterator[tuple[str, str]]:
    """(folder, file) of each include command in a text, also in comments.

    That suffices to decide which files of an archive are parts of others.
    """
    return (file_named(match) for match in _commands(text))


def own_commands(text: bytes, file_names: Container[str]) -> frozenset[bytes]:
    """Names of the non-standard include commands in a text that name one of the archive's files.

    `file_names`: names of all files, in lower case, without folders. Commands that name no file are left out,
    because a paper with such commands needs a pattern of its own, which takes longer to compile than to use.
    """
    own_ones = (match for match in _commands(text) if match.lastgroup == "own")
    return frozenset(match["own_name"] for match in own_ones if _is_among(file_named(match)[1], file_names))


def _is_among(name: str, file_names: Container[str]) -> bool:
    names = (posixpath.basename(name + suffix).lower() for suffix in (".tex", ""))
    return bool(name) and any(name in file_names for name in names)


def _commands(text: bytes) -> Iterator[re.Match[bytes]]:
    """Include commands, found by the words in their names, which are far rarer than backslashes."""
    return islice(_all_commands(text), MAX_INCLUDES)


def _all_commands(text: bytes) -> Iterator[re.Match[bytes]]:
    for word in (b"nput", b"nclude", b"mport", b"subfile"):
        at = text.find(word)
        while at >= 0:
            start = text.rfind(b"\\", max(0, at - 40), at)
            match = _ANY.match(text, start) if start >= 0 else None
            # The word must stand in the command's name: `\ref{sec:input}` includes nothing.
            if match and match.end("own_name" if match.lastgroup == "own" else 0) > at:
                yield match
            at = text.find(word, at + len(word))
