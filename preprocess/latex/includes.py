"""Names in `\\input` and its relatives, and the archive's files that they mean."""

import posixpath
import re
from collections.abc import Sequence

_COMMENT = re.compile(rb"(\\[\\%])|%[^\n]*")
# What brings in another file: {folder}{file} for the import package, a bare word for TeX's own \input.
INCLUDE = re.compile(
    rb"\\(?:(?:input|include|subfile|InputIfFileExists|subfileinclude|loadfile)\s*\{\s*\"?([^{}\"\n]*?)\"?\s*\}"
    rb"|(import|subimport|includefrom|subincludefrom)\*?\s*\{\s*([^{}\n]*?)\s*\}\s*\{\s*([^{}\n]*?)\s*\}"
    rb"|input\s+(?:\"([^\"\n]+)\"|([^\s\\{}%\"]+)))"
)


def strip_comments(text: bytes) -> bytes:
    """Text without its comments; `\\%` and `\\\\%` are told apart."""
    if b"%" not in text:
        return text
    return _COMMENT.sub(lambda match: match[1] or b"", text)


def include_target(match: re.Match[bytes]) -> tuple[str, str]:
    """(folder that the command names, file that it names) of a match of INCLUDE."""
    folder = match[3].decode("utf-8", "replace") if match[2] else ""
    name = next(group for group in (match[4], match[1], match[5], match[6], b"") if group is not None)
    return folder, name.decode("utf-8", "replace").strip()


def included_names(text: bytes) -> set[str]:
    """Names that a comment-free text includes."""
    return {posixpath.join(*include_target(match)) for match in INCLUDE.finditer(text)}


def resolve(name: str, folders: Sequence[str], files: dict[str, bytes]) -> str | None:
    """The archive's file that `name` means: in each folder with `.tex` first, then as it stands, as TeX does.

    Absolute names and names that lead out of the archive mean nothing.
    """
    if not name or name.startswith(("/", "~")) or "#" in name:
        return None
    for folder in folders:
        path = posixpath.normpath(posixpath.join(folder, name))
        if path.startswith(("..", "/")):
            continue
        for candidate in (path + ".tex", path):
            if candidate in files:
                return candidate
    return None
