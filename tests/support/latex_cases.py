"""Small papers for the tests of extraction and normalisation, and the byte law checked on each of them."""

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped


def tar_of(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar of `files` in their order, and behind them symbolic links by their targets."""
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
    """An item of a bulk tar: `files` in a gzipped tar, in their order."""
    return gzip.compress(tar_of(files), 1, mtime=0)


def paper(body: str, preamble: str = "") -> str:
    """A LaTeX paper with `body` between its \\begin and \\end."""
    return f"\\documentclass{{article}}\n{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"


def try_extract(item: bytes) -> Extracted | Dropped:
    """Extraction of an item, its bytes balanced."""
    result = extract_paper(item, "paper.tex", ExtractLatexConfig())
    if isinstance(result, Extracted):
        assert result.bytes_in == len(result.text) + sum(result.removed.values()), result.removed
        result.text.decode("utf-8")
    return result


def real_items(arxiv_real: Path) -> Iterator[tuple[str, bytes]]:
    """(stem of its name, bytes) of each item of the real archives, PDFs apart."""
    for path in sorted(arxiv_real.glob("src/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".gz") and (file := tar.extractfile(member)):
                    yield Path(member.name).stem, file.read()


def extract(files: Mapping[str, str | bytes]) -> Extracted:
    """The paper in an archive of `files`."""
    raw = {name: data.encode() if isinstance(data, str) else data for name, data in files.items()}
    result = try_extract(tar_gz(raw))
    assert isinstance(result, Extracted), result
    return result


def normalize(text: str | bytes, **options: object) -> Normalized:
    """Clean text of a flattened paper without title and abstract, its bytes balanced."""
    raw = text.encode() if isinstance(text, str) else text
    result = normalize_document(raw, "", "", NormalizeTextConfig.model_validate(options))
    assert isinstance(result, Normalized), result
    assert len(raw) == len(result.text.encode()) + sum(result.removed.values()), result.removed
    return result


def clean(body: str, preamble: str = "", **options: object) -> str:
    """Clean text of a paper's body."""
    return normalize(paper(body, preamble), **options).text.rstrip("\n")
