"""Small papers for the tests of extraction and cleaning; the helpers check the byte law on each paper."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped


def tar_of(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar of `files` in their order, followed by symbolic links (name to target)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """An item of a bulk tar: a gzipped tar of `files` in their order."""
    return gzip.compress(tar_of(files), 1, mtime=0)


def paper(body: str, preamble: str = "") -> str:
    """A LaTeX paper with this body."""
    return f"\\documentclass{{article}}\n{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"


def try_extract(item: bytes) -> Extracted | Dropped:
    """Extract an item and check that its bytes balance."""
    result = extract_paper(item, "paper.tex", ExtractLatexConfig())
    if isinstance(result, Extracted):
        assert result.bytes_in == len(result.text) + sum(result.removed.values()), result.removed
        result.text.decode("utf-8")
    return result


def real_items(arxiv_real: Path) -> Iterator[tuple[str, bytes]]:
    """(stem of its name, bytes) of each item of the real archives, without PDFs."""
    for path in sorted(arxiv_real.glob("src/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".gz") and (file := tar.extractfile(member)):
                    yield Path(member.name).stem, file.read()


def extract(files: Mapping[str, str | bytes]) -> Extracted:
    """Extract the paper in an archive of `files`."""
    raw = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    result = try_extract(tar_gz(raw))
    assert isinstance(result, Extracted), result
    return result


def normalize(text: str | bytes, **options: object) -> Normalized:
    """The clean text of a flattened paper without title and abstract; checks that its bytes balance."""
    raw = text.encode() if isinstance(text, str) else text
    result = normalize_document(raw, "", "", NormalizeTextConfig.model_validate(options))
    assert isinstance(result, Normalized), result
    assert len(raw) == len(result.text.encode()) + sum(result.removed.values()), result.removed
    return result


def clean(body: str, preamble: str = "", **options: object) -> str:
    """The clean text of a paper with this body."""
    return normalize(paper(body, preamble), **options).text.rstrip("\n")
