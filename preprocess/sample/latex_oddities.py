r"""What can go wrong with a submission's files, done on purpose: a sound source, stored in an odd way."""

import random
import re
import tarfile

from preprocess.sample.manuscript import people
from preprocess.sample.packaging import gzip_bytes, package, tar_bytes
from preprocess.sample.source import Source, encode, figure_file

# Stands in members that no extractor may read: outside the archive, or behind a directive.
SMUGGLED = "These words were smuggled in from outside the paper."
_GZIP_HEADER = 10  # bytes, before the first deflate block
_PDF = b"%PDF-1.5\n1 0 obj << /Type /Catalog >> endobj\n" + b"% no text layer\n" * 200 + b"%%EOF\n"


def corrupt_gzip(source: Source) -> bytes:
    """A gzip whose first deflate block is of type 3, which does not exist."""
    data = gzip_bytes(source.main_bytes)
    return data[:_GZIP_HEADER] + b"\x07" + data[_GZIP_HEADER + 1 :]


def truncated_gzip(source: Source) -> bytes:
    """The first half of a gzip."""
    return gzip_bytes(source.main_bytes)[: len(source.main_bytes) // 2]


def multi_member_gzip(source: Source) -> bytes:
    """A file in two gzip members, one after the other: one-shot inflation returns only the first."""
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
    """The stub that stands for a paper which its authors took back."""
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
    """A tar that reaches outside itself; the paper is its one regular member inside."""
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
    """Two files that could be the paper, and arXiv's directive that says which one is."""
    draft = article("An old draft", f"{SMUGGLED} " * 400)
    directive = b"aaa-draft.tex ignore\nfinal.tex toplevelfile\n"
    return package(
        {"00README.XXX": directive, "aaa-draft.tex": draft.encode(), "final.tex": source.main_bytes}
    )


def latin1(source: Source) -> bytes:
    """A paper in ISO 8859-1, declared."""
    declared = source.main_text.replace("\n\\usepackage", "\n\\usepackage[latin1]{inputenc}\n\\usepackage", 1)
    thanks = "\\thanks{José Núñez, Universität Köln, and the café next door.}\n\\begin{abstract}"
    return gzip_bytes(encode(declared.replace("\\begin{abstract}", thanks, 1), "latin-1"))


def cr_only(source: Source) -> bytes:
    """Line ends of the old Macintosh."""
    return gzip_bytes(_commented(source.main_text).replace("\n", "\r").encode())


def crlf(source: Source) -> bytes:
    """Line ends of DOS."""
    return gzip_bytes(_commented(source.main_text).replace("\n", "\r\n").encode())


def utf8_bom(source: Source) -> bytes:
    """UTF-8 with a byte order mark."""
    return gzip_bytes(b"\xef\xbb\xbf" + source.main_bytes)


def _commented(text: str) -> str:
    """`text` with a comment near its start, which swallows the rest where line ends are misread."""
    comment = "% a comment, and the rest of the file is none\n\\begin{document}"
    return text.replace("\\begin{document}", comment, 1)


def respaced(source: Source) -> bytes:
    """The same paper with other comments, blank lines and spaces at line ends."""
    text = source.main_text.replace("\n\n", "\n  \n\n")
    text = text.replace("\\section", "% submitted elsewhere as well\n\\section")
    return package({source.main: re.sub(r"(?m)(?<=[a-z,])$", "   ", text).encode()})


def repackaged(source: Source) -> bytes:
    """The same paper with its sections in a file of their own."""
    text = source.main_text
    start, end = text.index("\\section{"), text.index("\\begin{thebibliography}")
    main = f"{text[:start]}\\input{{body}}\n{text[end:]}"
    return package({"main.tex": main.encode(), "body.tex": text[start:end].encode()})


def slides(source: Source) -> bytes:
    """A talk: every paragraph of the paper on a frame."""
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
    """A minimal LaTeX file."""
    author = people(random.Random(title), 1)[0]
    return (
        f"\\documentclass{{article}}\n\\usepackage[utf8]{{inputenc}}\n\\begin{{document}}\n\\title{{{title}}}\n"
        f"\\author{{{author}}}\n\\maketitle\n{body}\n\\end{{document}}\n"
    )
