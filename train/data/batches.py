"""The batches of each step. Sample k depends on the seed and the data alone, not on ranks or restarts.

A sample is a window of T + 1 tokens that overlaps the next window by one, so every token of a domain's stream
except the first is a target once in an epoch. Integer arithmetic interleaves the domains: counts are exact,
and nothing is stored. Within a domain, blocks of neighbouring windows are permuted, and then windows within a
pool of blocks. Batches are thus well mixed, and yet reads from a shared disk stay sequential within a block.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
import xxhash

from configs.loader import UserError
from train.config import Domain, Run
from train.data.order import NEVER, Mixture, WindowOrder
from train.data.shards import DomainTokens, TokenSet
from train.model.loss import IGNORE

WEIGHT_UNIT = 1_000_000  # mixture weights are rounded to millionths, so that interleaving is exact

# Micro-batches held ready: an eighth of a process's step in the full run on two devices, 1.6 MB.
READ_AHEAD = 8
# Three int64 arrays with one number a sample: domain, first position in its stream, tokens (T + 1 or fewer).
Windows = tuple[np.ndarray, np.ndarray, np.ndarray]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Batch:
    """B sequences of T tokens."""

    input_ids_BT: torch.Tensor  # int64
    targets_BT: torch.Tensor  # int64, the next token of each input; IGNORE for padding
    domains_B: torch.Tensor  # int64, indices into TrainingData.domains

    def pinned(self) -> "Batch":
        """The batch in page-locked memory, from which CUDA copies asynchronously."""
        return self._each(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; the copy is asynchronous if the batch is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        return Batch(change(self.input_ids_BT), change(self.targets_BT), change(self.domains_B))

    def tokens_of(self, row: int) -> list[int]:
        """A sequence's inputs and, unless it is padded, its last target: T + 1 tokens."""
        last = [token for token in self.targets_BT[row, -1:].tolist() if token != IGNORE]
        return [*self.input_ids_BT[row].tolist(), *last]

    def target_counts_B(self) -> torch.Tensor:
        """Number of targets in each sequence (B, float64)."""
        return (self.targets_BT != IGNORE).sum(dim=1, dtype=torch.float64)


class TrainingData:
    """The training samples of a run: which window each sample is, and its tokens."""

    def __init__(self, tokens: TokenSet, run: Run) -> None:
        """Raises UserError if a domain has no whole window or the mixture does not fit the domains."""
        recipe = run.recipe
        self.tokens = tokens
        self.sequence_length = recipe.sequence_length
        self.domains = list(tokens.domains)
        self._streams = list(tokens.domains.values())
        self._orders = []
        self._truncates = recipe.packing == "truncate"
        if self._truncates and recipe.curriculum:
            raise UserError(
                "packing: truncate has no blocks that a curriculum could order: leave curriculum out"
            )
        windows = {
            name: len(s.documents.start) if self._truncates else (s.n_tokens - 1) // recipe.sequence_length
            for name, s in tokens.domains.items()
        }
        unique_share = min(1.0, recipe.unique_tokens / max(1, sum(windows.values()) * recipe.sequence_length))
        for name, n_windows in windows.items():
            if not n_windows:
                stream = tokens.domains[name]
                raise UserError(
                    f"{stream.folder}: holds {stream.n_tokens:,} tokens, but one window takes "
                    f"{recipe.sequence_length} + 1; add papers"
                )
            key = (recipe.data_seed, name)
            scores = None
            if recipe.curriculum:
                scores = math_shares(tokens.domains[name], recipe.block_windows * recipe.sequence_length)
            order = WindowOrder(n_windows, recipe.block_windows, unique_share, key, scores)
            self._orders.append(order)
        weights = self._weights(recipe.mixture)
        if recipe.anneal_mixture is None:
            self.mixture = Mixture(weights, weights, NEVER)
        else:
            anneal_from = (run.steps_total - run.anneal_steps) * recipe.global_batch_size
            self.mixture = Mixture(weights, self._weights(recipe.anneal_mixture), anneal_from)

    def _weights(self, mixture: Mapping[Domain, float] | None) -> list[int]:
        if mixture is None:
            return [order.n_windows for order in self._orders]
        named = {str(name): weight for name, weight in mixture.items()}
        if missing := [name for name in named if name not in self.domains]:
            raise UserError(
                f"{self.tokens.folder}: holds no {', '.join(missing)}, which the mixture names; leave it out"
            )
        weights = [round(named.get(name, 0) * WEIGHT_UNIT) for name in self.domains]
        if lost := [name for name, weight in named.items() if weight > 0 and not round(weight * WEIGHT_UNIT)]:
            raise UserError(
                f"mixture: {named}: the weight of {', '.join(lost)} is rounded to 0 millionths; "
                f"multiply all weights by the same number"
            )
        if not sum(weights):
            raise UserError(f"mixture: {named}: at least one weight must be positive; 0 leaves a domain out")
        return weights

    @property
    def unique_tokens(self) -> dict[str, int]:
        """Target tokens in one epoch of each domain; beyond them the run repeats its data."""
        unique = {}
        for name, order, stream in zip(self.domains, self._orders, self._streams, strict=True):
            unique[name] = order.n_windows * self.sequence_length
            if self._truncates:
                n_tokens = stream.documents.n_tokens[order.windows(np.arange(order.n_windows))]
                unique[name] = int((np.minimum(n_tokens, self.sequence_length + 1) - 1).sum())
        return unique

    def describe_passes(self, n_samples: int) -> str:
        """How often a run of `n_samples` sees each domain's unique tokens, as text."""
        counts = zip(self.unique_tokens.items(), self._orders, self.mixture.counts(n_samples), strict=True)
        return ", ".join(
            f"{name} {count / order.n_windows:.2f} x {unique:,} tokens"
            for (name, unique), order, count in counts
        )

    def locate(self, samples: np.ndarray) -> Windows:
        """The window of each sample (int64 numbers); with `packing: truncate`, a document's beginning."""
        domain, index = self.mixture.locate(samples)
        start, length = np.empty_like(index), np.full_like(index, self.sequence_length + 1)
        for number, (order, stream) in enumerate(zip(self._orders, self._streams, strict=True)):
            here = domain == number
            window = order.windows(index[here])
            if self._truncates:
                start[here] = stream.documents.start[window]
                length[here] = np.minimum(stream.documents.n_tokens[window], self.sequence_length + 1)
            else:
                start[here] = window * self.sequence_length
        return domain, start, length

    def count_targets(self, samples: np.ndarray) -> int:
        """Target tokens of the samples: all positions except the padding of truncated documents."""
        if not self._truncates:
            return len(samples) * self.sequence_length
        return int((self.locate(samples)[2] - 1).sum())

    def locate_each(self, samples: np.ndarray, micro_batch_size: int) -> Iterator[Windows]:
        """`locate` of each micro-batch, computed at once for all: one call has a high fixed cost."""
        cuts = np.arange(micro_batch_size, len(samples), micro_batch_size)
        return zip(*(np.split(found, cuts) for found in self.locate(samples)), strict=True)

    def batch(self, samples: np.ndarray) -> Batch:
        """Inputs and targets of the samples (int64 sample numbers)."""
        return self.read(self.locate(samples))

    def read(self, windows: Windows) -> Batch:
        """Inputs and targets of the windows that `locate` found."""
        domain, start, length = windows
        inputs_BT = np.full((len(start), self.sequence_length), self.tokens.eod_id, dtype=np.int64)
        targets_BT = np.full_like(inputs_BT, IGNORE)
        for row, (d, s, n) in enumerate(zip(domain.tolist(), start.tolist(), length.tolist(), strict=True)):
            window = self._streams[d].read(s, n)
            inputs_BT[row, : n - 1], targets_BT[row, : n - 1] = window[:-1], window[1:]
        return Batch(torch.from_numpy(inputs_BT), torch.from_numpy(targets_BT), torch.from_numpy(domain))

    def spans(self, samples: np.ndarray) -> np.ndarray:
        """The pieces of documents that are the samples' targets, in order.

        Returns a uint64 array of shape (spans, 3): hash of the document's id, first position and end position
        (exclusive) in the document. The end-of-document token is the document's last position.
        """
        domain, start, length = self.locate(samples)
        first, end = start + 1, start + length
        low, high = np.empty_like(start), np.empty_like(start)  # a sample's documents: low, ..., high - 1
        for number, stream in enumerate(self._streams):
            here = domain == number
            starts = stream.documents.start
            low[here] = np.searchsorted(starts, first[here], side="right") - 1
            high[here] = np.searchsorted(starts, end[here] - 1, side="right")
        count = high - low
        sample = np.repeat(np.arange(len(samples)), count)  # the sample of each row of the result
        document = low[sample] + np.arange(len(sample)) - np.repeat(np.cumsum(count) - count, count)
        rows = np.empty((len(sample), 3), np.uint64)
        for number, stream in enumerate(self._streams):
            here = np.flatnonzero(domain[sample] == number)
            s, d, documents = sample[here], document[here], stream.documents
            begins = documents.start[d]
            rows[here, 0] = documents.id_hash[d]
            rows[here, 1] = np.maximum(first[s], begins) - begins
            rows[here, 2] = np.minimum(end[s], begins + documents.n_tokens[d]) - begins
        return rows

    def span_hash(self, samples: np.ndarray) -> str:
        """Hash of `spans`: two runs with equal hashes at a step trained on the same text in it."""
        return xxhash.xxh3_128_hexdigest(self.spans(samples).astype("<u8").tobytes())


def math_shares(stream: DomainTokens, block_tokens: int) -> np.ndarray:
    """Share of mathematics in each block of a stream (float64, one number a block).

    It is the mean of `math_share` over the block's documents, weighted by their tokens in the block.
    """
    documents = stream.documents
    ends = documents.start + documents.n_tokens
    mathematics = np.cumsum(documents.math_share * documents.n_tokens, dtype=np.float64)
    edges = np.minimum(np.arange(0, stream.n_tokens + block_tokens, block_tokens), stream.n_tokens)
    until_edge = np.interp(edges, np.append(0, ends), np.append(0.0, mathematics))
    return np.diff(until_edge) / np.diff(edges)


def step_samples(step: int, run: Run) -> np.ndarray:
    """Sample numbers of a step (from 1) on all ranks together (int64, `global_batch_size` of them)."""
    batch = run.recipe.global_batch_size
    return np.arange((step - 1) * batch, step * batch)


def rank_batches(
    data: TrainingData,
    run: Run,
    rank: int,
    world_size: int,
    after_step: int,
    workers: int = 1,
    pin: bool = False,
) -> Iterator[Batch]:
    """A rank's micro-batches of all steps after `after_step`: an equal share of each step's samples.

    `workers` threads read READ_AHEAD micro-batches ahead and, with `pin`, put them in page-locked memory.
    With 0 workers each batch is read when it is requested.
    """

    def read(windows: Windows) -> Batch:
        batch = data.read(windows)
        return batch.pinned() if pin else batch

    steps = range(after_step + 1, run.steps_total + 1)
    shares = (np.split(step_samples(step, run), world_size)[rank] for step in steps)
    located = (
        windows for share in shares for windows in data.locate_each(share, run.recipe.micro_batch_size)
    )
    return read_ahead(located, read, workers)


def read_ahead(
    items: Iterator[Item], read: Callable[[Item], Result], workers: int, ahead: int = READ_AHEAD
) -> Iterator[Result]:
    """`map(read, items)` in order, `ahead` items ahead. Threads suffice: numpy copies without the GIL."""
    if not workers:
        yield from map(read, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="loader") as pool:
        waiting = deque(pool.submit(read, item) for item in islice(items, ahead))
        while waiting:
            waiting.extend(pool.submit(read, item) for item in islice(items, 1))
            yield waiting.popleft().result()


@dataclass(frozen=True)
class ValidationSet:
    """The validation windows of one domain. They hold whole documents, whose bytes are known exactly.

    A row is one document's part of a window: the window's tokens, with targets of this document only. So
    the losses of rows add up to those of documents, and these to the domain's.
    """

    input_ids_RT: torch.Tensor  # int64
    targets_RT: torch.Tensor  # int64, IGNORE outside the row's document
    document_R: torch.Tensor  # int64, index of the row's document in the next three fields
    id_hashes: tuple[str, ...]  # xxh3_64 of each document's id, in hexadecimal
    n_tokens_of: tuple[int, ...]  # targets of each document, including its end-of-document token
    n_bytes_of: tuple[int, ...]  # UTF-8 bytes of each document's text

    @property
    def n_tokens(self) -> int:
        """Number of targets."""
        return sum(self.n_tokens_of)

    @property
    def n_bytes(self) -> int:
        """UTF-8 bytes of the documents' text."""
        return sum(self.n_bytes_of)


def validation_set(stream: DomainTokens, eod_id: int, n_tokens: int, sequence_length: int) -> ValidationSet:
    """Whole documents of a domain, at least one, until they hold `n_tokens`.

    Documents are taken in the order of their ids' hashes. That samples all years, and changes little when the
    corpus grows. An end-of-document token precedes the first document, so every token of a document is a
    target. End-of-document tokens count in the loss but add no bytes.
    """
    documents = stream.documents
    order = np.argsort(documents.id_hash, kind="stable")
    n_documents = int(np.searchsorted(np.cumsum(documents.n_tokens[order]), n_tokens)) + 1
    chosen = order[:n_documents]
    text = [stream.read(int(documents.start[i]), int(documents.n_tokens[i])) for i in chosen]
    tokens = np.concatenate([[eod_id], *text]).astype(np.int64)
    n_targets = len(tokens) - 1
    n_windows = -(-n_targets // sequence_length)
    inputs = np.full(n_windows * sequence_length, eod_id, dtype=np.int64)
    targets = np.full(n_windows * sequence_length, IGNORE, dtype=np.int64)
    inputs[:n_targets], targets[:n_targets] = tokens[:-1], tokens[1:]
    n_tokens_of = [len(part) for part in text]
    owners = np.full(n_windows * sequence_length, -1)
    owners[:n_targets] = np.repeat(np.arange(len(text)), n_tokens_of)
    owners_WT = owners.reshape(n_windows, sequence_length)
    rows = [(w, owner) for w in range(n_windows) for owner in np.unique(owners_WT[w]) if owner >= 0]
    window_R, document_R = np.array(rows).T
    targets_RT = targets.reshape(n_windows, sequence_length)[window_R]
    return ValidationSet(
        torch.from_numpy(inputs.reshape(n_windows, sequence_length)[window_R]),
        torch.from_numpy(np.where(owners_WT[window_R] == document_R[:, None], targets_RT, IGNORE)),
        torch.from_numpy(document_R.copy()),
        tuple(f"{int(documents.id_hash[i]):016x}" for i in chosen),
        tuple(n_tokens_of),
        tuple(int(documents.n_bytes[i]) for i in chosen),
    )
