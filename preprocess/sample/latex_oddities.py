r"""Store a sound source in defective and unusual ways, as real submissions are.

Each function takes a Source and returns the bytes of an item.
"""

import random
import re
import tarfile

from preprocess.sample.manuscript import people
from preprocess.sample.packaging import gzip_bytes, package, tar_bytes
from preprocess.sample.source import Source, encode, figure_file

# The text of members that extraction must not read: outside the archive, or excluded by the 00README.
SMUGGLED = "These words were smuggled in from outside the paper."
_GZIP_HEADER = 10  # bytes before the first deflate block (RFC 1952)
_PDF = b"%PDF-1.5\n1 0 obj << /Type /Catalog >> endobj\n" + b"% no text layer\n" * 200 + b"%%EOF\n"


def corrupt_gzip(source: Source) -> bytes:
    """A gzip whose first deflate block has type 3, which RFC 1951 does not define."""
    data = gzip_bytes(source.main_bytes)
    return data[:_GZIP_HEADER] + b"\x07" + data[_GZIP_HEADER + 1 :]


def truncated_gzip(source: Source) -> bytes:
    """The first half of a gzip."""
    return gzip_bytes(source.main_bytes)[: len(source.main_bytes) // 2]


def multi_member_gzip(source: Source) -> bytes:
    """A file in two gzip members, one after the other; a single call of zlib returns only the first."""
    return gzip_bytes(source.main_bytes[:4000]) + gzip_bytes(source.main_bytes[4000:])


def trailing_bytes(source: Source) -> bytes:
    """A gzip with padding behind it."""
    return gzip_bytes(source.main_bytes) + b"\0" * 512


def pdf(_: Source) -> bytes:
    """A PDF, stored as it is."""
    return _PDF


def postscript(_: Source) -> bytes:
    """A paper in PostScript."""
    pages = "72 700 moveto (the text of the paper) show showpage\n" * 90
    return gzip_bytes(f"%!PS-Adobe-2.0\n%%Pages: 90\n{pages}%%EOF\n".encode())


def html(_: Source) -> bytes:
    """A paper in HTML."""
    paragraphs = "<p>The text of the paper.</p>\n" * 60
    return gzip_bytes(f"<!DOCTYPE html>\n<html><body>\n{paragraphs}</body></html>\n".encode())


def auto_ignore(_: Source) -> bytes:
    """The note that replaces a paper which its authors withdrew."""
    return gzip_bytes(
        b"%auto-ignore\nThis submission is no longer available: equation 7 has the wrong sign.\n"
    )


def no_tex(_: Source) -> bytes:
    """Figures and a note, but no TeX."""
    suffix, picture = figure_file(random.Random(0), 2015)
    return package(
        {f"figures/fig1{suffix}": picture, "README.txt": b"The slides of the talk are on our page.\n"}
    )


def hostile_tar(source: Source) -> bytes:
    """A tar with links, a pipe and paths outside it; the paper is its only regular member inside."""
    link = tarfile.TarInfo("sections/host.tex")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    loop = tarfile.TarInfo("loop.tex")
    loop.type, loop.linkname = tarfile.SYMTYPE, "loop.tex"
    pipe = tarfile.TarInfo("pipe.tex")
    pipe.type = tarfile.FIFOTYPE
    outside = ("../escape", "/etc/absolute")
    inputs = "\n".join(f"\\input{{{name}}}" for name in (*outside, "sections/host", "loop"))
    text = source.main_text.replace("\\begin{thebibliography}", f"{inputs}\n\\begin{{thebibliography}}")
    members = {f"{name}.tex": SMUGGLED.encode() for name in outside} | {source.main: text.encode()}
    return gzip_bytes(tar_bytes(members, special=(link, loop, pipe)))


def readme_directive(source: Source) -> bytes:
    """Two files that could be the paper, and a 00README that names the main one."""
    draft = article("An old draft", f"{SMUGGLED} " * 400)
    directive = b"aaa-draft.tex ignore\nfinal.tex toplevelfile\n"
    return package(
        {"00README.XXX": directive, "aaa-draft.tex": draft.encode(), "final.tex": source.main_bytes}
    )


def latin1(source: Source) -> bytes:
    """A paper in ISO 8859-1 that declares its encoding."""
    declared = source.main_text.replace("\n\\usepackage", "\n\\usepackage[latin1]{inputenc}\n\\usepackage", 1)
    thanks = "\\thanks{José Núñez, Universität Köln, and the café next door.}\n\\begin{abstract}"
    return gzip_bytes(encode(declared.replace("\\begin{abstract}", thanks, 1), "latin-1"))


def cr_only(source: Source) -> bytes:
    """A paper with CR line ends, as on old Macintosh systems."""
    return gzip_bytes(_commented(source.main_text).replace("\n", "\r").encode())


def crlf(source: Source) -> bytes:
    """A paper with CRLF line ends, as on Windows."""
    return gzip_bytes(_commented(source.main_text).replace("\n", "\r\n").encode())


def utf8_bom(source: Source) -> bytes:
    """A paper in UTF-8 with a byte order mark."""
    return gzip_bytes(b"\xef\xbb\xbf" + source.main_bytes)


def _commented(text: str) -> str:
    """`text` with a comment near its start, which would hide the rest if line ends were misread."""
    comment = "% a comment, and the rest of the file is none\n\\begin{document}"
    return text.replace("\\begin{document}", comment, 1)


def respaced(source: Source) -> bytes:
    """The same paper with other comments, blank lines and spaces at line ends."""
    text = source.main_text.replace("\n\n", "\n  \n\n")
    text = text.replace("\\section", "% submitted elsewhere as well\n\\section")
    return package({source.main: re.sub(r"(?m)(?<=[a-z,])$", "   ", text).encode()})


def repackaged(source: Source) -> bytes:
    """The same paper with its sections in a second file."""
    text = source.main_text
    start, end = text.index("\\section{"), text.index("\\begin{thebibliography}")
    main = f"{text[:start]}\\input{{body}}\n{text[end:]}"
    return package({"main.tex": main.encode(), "body.tex": text[start:end].encode()})


def slides(source: Source) -> bytes:
    """A talk with one frame for each paragraph of the paper."""
    text = source.main_text
    body = text[text.index("\\section{") : text.index("\\begin{thebibliography}")]
    paragraphs = [part for part in body.split("\n\n") if not part.startswith(("\\", "%", "\n"))]
    frames = "\n".join(
        f"\\begin{{frame}}{{Slide {i}}}\n\\begin{{itemize}}\n\\item {part}\n\\end{{itemize}}\n\\end{{frame}}"
        for i, part in enumerate(paragraphs, 1)
    )
    preamble = text[: text.index("\\begin{document}")]
    preamble = re.sub(r"\\documentclass(\[[^]]*\])?\{\w+\}", r"\\documentclass{beamer}", preamble)
    return gzip_bytes(f"{preamble}\\begin{{document}}\n{frames}\n\\end{{document}}\n".encode())


def article(title: str, body: str) -> str:
    """A minimal LaTeX file with an invented author."""
    author = people(random.Random(title), 1)[0]
    return (
        f"\\documentclass{{article}}\n\\usepackage[utf8]{{inputenc}}\n\\begin{{document}}\n\\title{{{title}}}\n"
        f"\\author{{{author}}}\n\\maketitle\n{body}\n\\end{{document}}\n"
    )
