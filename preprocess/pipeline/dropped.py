"""What the pure functions of this package return when they do not return text."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dropped:
    """A document that ends here, and why."""

    reason: str  # snake_case, as in the ledger
    detail: str = ""
    bytes_in: int = 0  # of the document as far as it was read
