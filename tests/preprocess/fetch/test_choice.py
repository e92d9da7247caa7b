"""Which tars months and papers stand for."""

from pathlib import Path

import pytest

from configs.loader import UserError
from preprocess.fetch.choice import of_months, of_papers, read_ids
from preprocess.pipeline.manifest import ManifestEntry

ITEMS = {
    "9912_001": ("astro-ph9912001", "hep-th9912050"),
    "9912_002": ("hep-th9912051", "quant-ph9912099"),
    "0001_001": ("astro-ph0001001", "quant-ph0001009"),
    "0704_001": ("0704.0001", "0704.0500"),
    "0704_002": ("0704.0501", "0704.0999"),
    "1501_001": ("", ""),  # the manifest does not say
}
MANIFEST = {
    f"arXiv_src_{key}.tar": ManifestEntry(f"arXiv_src_{key}.tar", "", 1, 1, first, last)
    for key, (first, last) in ITEMS.items()
}


@pytest.mark.parametrize(
    ("months", "chosen"),
    [
        pytest.param("0704", ["0704_001", "0704_002"], id="one_month"),
        pytest.param("9912-0001", ["9912_001", "9912_002", "0001_001"], id="a_range_over_the_century"),
        pytest.param("1501,0001,1501", ["0001_001", "1501_001"], id="a_list_in_any_order"),
        pytest.param("9107-2612", list(ITEMS), id="all"),
    ],
)
def test_months(months: str, chosen: list[str]) -> None:
    assert [entry.name for entry in of_months(MANIFEST, months)] == [f"arXiv_src_{key}.tar" for key in chosen]


@pytest.mark.parametrize("months", ["0713", "704", "0704-", "2007-04", ""])
def test_no_month(months: str) -> None:
    with pytest.raises(UserError, match="expected months YYMM"):
        of_months(MANIFEST, months)


def test_a_month_without_tars() -> None:
    with pytest.raises(UserError, match="no tar of it; its months are 9912 to 1501"):
        of_months(MANIFEST, "0704,2101-2103")


@pytest.mark.parametrize(
    ("paper_id", "chosen"),
    [
        pytest.param("hep-th/9912050", "9912_001", id="the_last_of_a_tar"),
        pytest.param("hep-th/9912051", "9912_002", id="the_first_of_a_tar"),
        pytest.param("0704.0501", "0704_002", id="new_id"),
        pytest.param("1501.00001", "1501_001", id="a_tar_that_may_hold_it"),
    ],
)
def test_papers(paper_id: str, chosen: str) -> None:
    assert [entry.name for entry in of_papers(MANIFEST, [paper_id])] == [f"arXiv_src_{chosen}.tar"]


def test_a_paper_in_no_tar() -> None:
    with pytest.raises(UserError, match=r"0704\.9999: no tar"):
        of_papers(MANIFEST, ["0704.0001", "0704.9999"])


def test_ids_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("# chosen\n0704.0001\n\nhep-th/9901001  # a classic\n0704.0001\n")
    assert read_ids(path) == ["0704.0001", "hep-th/9901001"]
    path.write_text("0704.0001\n0704.0002v3\n")
    with pytest.raises(UserError, match="line 2"):
        read_ids(path)
