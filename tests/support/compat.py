"""Run a compat mode on a small submission, through the functions that the two stages call."""

from collections.abc import Mapping

from preprocess.compat.modes import MODES
from preprocess.extract_latex import Extracted, ExtractLatexConfig, extract_paper
from preprocess.normalize_text import Normalized, NormalizeTextConfig, normalize_document
from preprocess.pipeline.dropped import Dropped
from preprocess.validate_archives import judge_item
from tests.support.latex_cases import tar_gz


def reads(mode: str, item: bytes) -> bool:
    """Whether a mode reads an item of a bulk tar."""
    return judge_item(item, 1 << 20)[0] in MODES[mode].kinds


def clean_files(mode: str, files: Mapping[str, str | bytes]) -> str | Dropped:
    """The clean text of a tar of `files` in their order; checks that the bytes of both stages balance."""
    raw = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    joined = extract_paper(tar_gz(raw), "p.tex", ExtractLatexConfig.model_validate({"compat": mode}))
    if isinstance(joined, Dropped):
        return joined
    assert isinstance(joined, Extracted)
    assert joined.bytes_in == sum(map(len, raw.values())) == len(joined.text) + joined.removed.total()
    config = NormalizeTextConfig.model_validate({"compat": mode})
    clean = normalize_document(joined.text, "Title", "Abstract.", config, joined.record["sizes"])
    if isinstance(clean, Normalized):
        assert len(joined.text) == len(clean.text.encode()) + clean.removed.total(), clean.removed
        return clean.text
    return clean


def clean_one(mode: str, text: str | bytes) -> str | Dropped:
    """The clean text of a tar that holds one file."""
    return clean_files(mode, {"main.tex": text})
