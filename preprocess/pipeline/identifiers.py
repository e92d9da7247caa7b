"""arXiv identifiers in the metadata and in the bulk archives. They are strings: 0704.0010 is not 704.001.

The schemes are described at https://arxiv.org/help/arxiv_identifier.
"""

import re

# 0704.0001 (four digits up to 1412, five since 1501), or archive/YYMMNNN up to 0703.
_NEW = re.compile(r"(\d{2}(?:0[1-9]|1[0-2]))\.\d{4,5}")
_OLD = re.compile(r"[a-z]+(?:-[a-z]+)*(?:\.[A-Z]{2})?/(\d{2}(?:0[1-9]|1[0-2]))\d{3}")
_OLD_MEMBER = re.compile(r"([a-z]+(?:-[a-z]+)*)(\d{7})")


def month_of(paper_id: str) -> str | None:
    """The month `YYMM` in an id, None if the text is not an arXiv id."""
    match = _NEW.fullmatch(paper_id) or _OLD.fullmatch(paper_id)
    return match[1] if match else None


def from_member_stem(stem: str) -> str | None:
    """The id that a bulk archive's member is named after, None if there is none.

    `stem`: the member's name without folder and suffix; `hep-th9901001` stands for hep-th/9901001.
    """
    if month_of(stem):
        return stem
    match = _OLD_MEMBER.fullmatch(stem)
    paper_id = f"{match[1]}/{match[2]}" if match else stem
    return paper_id if month_of(paper_id) else None
