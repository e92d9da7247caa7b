"""The rule that turns an interval into a verdict, and the verdicts of a claim's tests into one."""

import math
from collections.abc import Sequence
from typing import Literal

Predicts = Literal["above", "below", "within"]

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
NO_DATA = "no data yet"
MIXED, NOT_TESTABLE, OPEN = "mixed", "not testable at this scale", "open: runs are missing"


def verdict(low: float, high: float, predicts: Predicts, than: float = 0.0, margin: float = 0.0) -> str:
    """What an interval says about a prediction.

    `above`, `below`: the value lies on that side of `than`. An interval on the other side speaks against it,
    and so does one within ± `margin` of `than`: the effect is too small to count. `within`: the value lies
    within ± `margin` of `than`. An interval with an end that is not a number is none.
    """
    if math.isnan(low) or math.isnan(high):
        return NO_DATA
    is_small = than - margin <= low and high <= than + margin
    if predicts == "within":
        if is_small:
            return SUPPORTED
        return NOT_SUPPORTED if low > than + margin or high < than - margin else UNDECIDED
    if is_small and margin:
        return NOT_SUPPORTED
    if predicts == "below":
        low, high, than = -high, -low, -than
    if low > than:
        return SUPPORTED
    return NOT_SUPPORTED if high <= than else UNDECIDED


def of_claim(verdicts: Sequence[str]) -> str:
    """The verdict of a claim from those of its tests: undecided tests neither support nor oppose it.

    Where no test decides, the claim stays open as long as a test has no data.
    """
    for_it, against = SUPPORTED in verdicts, NOT_SUPPORTED in verdicts
    if for_it and against:
        return MIXED
    if for_it or against:
        return SUPPORTED if for_it else NOT_SUPPORTED
    return OPEN if NO_DATA in verdicts else NOT_TESTABLE
