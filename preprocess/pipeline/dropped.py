"""The result of a function that drops a document instead of returning its text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dropped:
    """Why a document is dropped, for its row in the ledger."""

    reason: str  # in snake_case
    detail: str = ""
    bytes_in: int = 0  # size of the document, as far as it was read
