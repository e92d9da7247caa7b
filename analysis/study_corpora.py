"""How many tokens remain by which preprocessing: what `make study-corpora` measured, as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.table_text import Table

MEASURED = Path(__file__).resolve().parent / "measurements" / "study_corpora.json"


def as_table(found: Mapping[str, Any]) -> Table:
    """A row for each corpus."""
    rows = [
        (
            *(name, f"{of['papers']:,}", f"{of['tokens']:,}", f"{of['bytes'] / max(of['tokens'], 1):.2f}"),
            f"{100 * found['shares_lost'][name]:.1f}" if name in found["shares_lost"] else "–",
        )
        for name, of in found["corpora"].items()
    ]
    header = ("corpus", "papers", "tokens", "bytes a token", "% lost")
    largest = found["largest_share_lost"]
    told = (
        f"The largest share that one choice loses is {100 * largest['value']:.1f} % "
        f"({100 * largest['low']:.1f} to {100 * largest['high']:.1f} %, papers resampled)."
    )
    return Table("study_corpora", "Training text that each preprocessing leaves", header, rows, [told])
