"""Reading the items of the built-in sample: their files, their words, whether their TeX is balanced."""

import gzip
import io
import re
import tarfile

from preprocess.sample.source import Source
from preprocess.sample_corpus import Sample

N_PAPERS = 48  # ordinary ones in the sample of the tests


def unpack(data: bytes) -> dict[str, bytes]:
    """Files of an item: those of the tar in the gzip, or the one file."""
    content = gzip.decompress(data)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    except tarfile.ReadError:
        return {"": content}


def of_kind(sample: Sample, kind: str) -> bytes:
    return next(s.data for s in sample.submissions if s.kind == kind)


def prose(text: str) -> str:
    """Words of a LaTeX file, mathematics and commands apart."""
    text = re.sub(r"(?m)(?<!\\)%.*", "", text)
    text = re.sub(
        r"\$\$.*?\$\$|\$[^$]*\$|\\begin\{(equation|align\*|eqnarray\*)\}.*?\\end\{\1\}", " ", text, flags=re.S
    )
    return " ".join(re.findall(r"[^\W\d_]{2,}", re.sub(r"\\[a-zA-Z]+(\[[^]]*\])?(\{[^{}]*\})?", " ", text)))


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def balanced(text: str) -> bool:
    """Whether braces and environments close in order; comments and verbatim text do not count."""
    text = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}|\\verb\|.\|", "", text, flags=re.S)
    text = re.sub(
        r"(?m)(?<!\\)%.*|^.*\\(be|ee)\}?\{.*$", "", text
    )  # \\be, \\ee: each one half of an environment
    stack: list[str] = []
    for match in re.finditer(r"\\(begin|end)\{([A-Za-z]+\*?)\}|\\.|[{}]", text, re.S):
        token = match[0]
        if token in "{}" or match[1]:
            opens = token == "{" or match[1] == "begin"
            name = match[2] or "brace"
            if opens:
                stack.append(name)
            elif not stack or stack.pop() != name:
                return False
    return not stack


def texts(source: Source) -> str:
    return "\n".join(
        data.decode() for name, data in source.files.items() if name.endswith((".tex", ".bbl", ".sty"))
    )
