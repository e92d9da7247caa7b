"""Groups of training sequences: by domain, by year, or by any column of the index of the token shards.

A sequence belongs to the document in its middle. A column of numbers makes two groups, cut at the median by
tokens; a column of text makes a group of each of its most frequent values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from configs.loader import UserError
from train.data.batches import TrainingData, Windows
from train.data.shards import DomainTokens

MOST_VALUES = 4  # groups of a column of text: each costs two gradients
NO_GROUP = -1
# `0704.0001` and `math/0309136` both begin with the year's last two digits; arXiv began in 1991.
_YEAR = re.compile(r"(?:.*/)?(\d\d)\d\d")


@dataclass(frozen=True)
class Grouping:
    """What divides sequences into groups."""

    by: str  # `domain`, `year` or a column of the index
    names: tuple[str, ...]
    by_domain: tuple[np.ndarray, ...]  # for each domain, the group of each of its documents; NO_GROUP: none

    def of_windows(self, data: TrainingData, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
        """(group, half) of each window that `TrainingData.locate` found (int64; NO_GROUP: in none).

        A document belongs to half 0 or 1 by its id: if both halves held parts of the same documents, they
        would agree in more than what their group has in common.
        """
        domain, start, length = windows
        groups, halves = np.full(len(domain), NO_GROUP), np.zeros(len(domain), np.int64)
        for number, (stream, groups_of) in enumerate(
            zip(data.tokens.domains.values(), self.by_domain, strict=True)
        ):
            here = domain == number
            middle = start[here] + length[here] // 2
            document = np.searchsorted(stream.documents.start, middle, side="right") - 1
            groups[here] = groups_of[document]
            halves[here] = stream.documents.id_hash[document] % 2
        return groups, halves


def make_grouping(data: TrainingData, by: str) -> Grouping:
    """Divide the training documents. Raises UserError if a column is unknown or makes a single group."""
    streams = list(data.tokens.domains.values())
    if by == "domain":
        values = [np.full(len(s.documents.start), name) for name, s in data.tokens.domains.items()]
    elif by == "year":
        values = [np.array([_year(paper) for paper in _column(s, "id")], float) for s in streams]
    else:
        values = [_column(stream, by) for stream in streams]
    joined = np.concatenate(values)
    n_tokens = np.concatenate([stream.documents.n_tokens for stream in streams])
    names, groups = _halves(joined, n_tokens, by) if joined.dtype.kind in "iuf" else _values(joined, n_tokens)
    if len(names) < 2:
        raise UserError(f"gradient_groups: {by}: all training documents are in one group; leave it out")
    ends = np.cumsum([len(part) for part in values])
    return Grouping(by, names, tuple(np.split(groups, ends[:-1])))


def _halves(values: np.ndarray, n_tokens: np.ndarray, by: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and groups of numbers, below and from the median by tokens; NaN belongs to neither."""
    known = np.flatnonzero(np.isfinite(values.astype(float)))
    if not len(known):
        return (), np.full(len(values), NO_GROUP)
    order = known[np.argsort(values[known], kind="stable")]
    ends = np.cumsum(n_tokens[order])
    median = values[order[np.searchsorted(ends, ends[-1] / 2)]]
    if median == values[order[0]]:  # more than half of the tokens have the lowest value
        median = min(values[known][values[known] > median], default=median)
    groups = np.where(values >= median, 1, 0)
    groups[~np.isfinite(values.astype(float))] = NO_GROUP
    names = (f"{by} below {median:.4g}", f"{by} from {median:.4g}")
    return (names if len(set(groups[known])) == 2 else names[:1]), groups


def _values(values: np.ndarray, n_tokens: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and groups of the values with the most tokens; an empty text is no value."""
    names, codes = np.unique(values.astype(str), return_inverse=True)
    weight = np.bincount(codes, n_tokens) * (names != "")
    chosen = [int(code) for code in np.argsort(-weight, kind="stable")[:MOST_VALUES] if weight[code]]
    group_of_code = np.full(len(names), NO_GROUP)
    group_of_code[chosen] = np.arange(len(chosen))
    return tuple(str(names[code]) for code in chosen), group_of_code[codes]


def _column(stream: DomainTokens, name: str) -> np.ndarray:
    """A column of the index of a domain's documents, in stream order."""
    parts = []
    for shard in stream.shards:
        path = f"{shard}.idx.parquet"
        if name not in (columns := pq.read_schema(path).names):
            raise UserError(
                f"gradient_groups: {name}: is none of domain, year, {', '.join(columns)} ({path})"
            )
        parts.append(pq.read_table(path, columns=[name])[name].to_numpy())
    return np.concatenate(parts)


def _year(paper: str) -> float:
    found = _YEAR.match(paper)
    return np.nan if not found else 1991 + (int(found[1]) - 91) % 100


def choose_samples(
    data: TrainingData, grouping: Grouping, first_sample: int, per_half: int, look_ahead: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The sample numbers of both halves of each group: its next sequences from `first_sample` on.

    Both have `per_half` samples, or fewer where the next `look_ahead` samples hold no more of one of them.
    """
    samples = np.arange(first_sample, first_sample + look_ahead)
    groups, halves = grouping.of_windows(data, data.locate(samples))
    chosen = []
    for group in range(len(grouping.names)):
        one, other = (samples[(groups == group) & (halves == half)][:per_half] for half in (0, 1))
        n_samples = min(len(one), len(other))
        chosen.append((one[:n_samples], other[:n_samples]))
    return chosen


def pairs(n_groups: int) -> Sequence[tuple[int, int]]:
    """All pairs of groups, each group with itself first."""
    return [(a, b) for a in range(n_groups) for b in range(a, n_groups)]
