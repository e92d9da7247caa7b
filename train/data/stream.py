"""Batches from text that is tokenized while the run trains: what most training scripts do, to be compared.

A rank reads its share of the shards in an order of the epoch's own, shuffles documents through a buffer,
tokenizes them, joins them with end-of-document tokens and cuts windows of T + 1 tokens that overlap by one.
The order of the windows depends on the number of processes; so other than from token shards, a run resumes
exactly only on as many processes as before, each of which continues at the `Position` that it had reached.

With `packing: truncate`, each sample is the first T + 1 tokens of one document, padded, as the authors'
release has it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from kitoken import Kitoken

from configs.loader import UserError
from train.data.batches import READ_AHEAD, Batch, read_ahead
from train.data.documents import Documents, Group
from train.data.order import permutation
from train.model.loss import IGNORE

BUFFER_DOCUMENTS = 1024  # 60 MB of text of arXiv's papers
EMPTY_EPOCHS = 100  # without text, after which there is none: every epoch gives a process other shards
Encode = Callable[[str], list[int]]


class Position(NamedTuple):
    """Where a rank's next sample begins: epoch, document in the epoch's order, token in the document."""

    epoch: int = 0
    document: int = 0
    token: int = 0


START = Position()


def through_buffer(n: int, buffer: int, key: object) -> np.ndarray:
    """Rows 0 … n - 1 in the order in which a shuffle buffer gives them out (int64, a permutation).

    The buffer holds `buffer` rows; each one that is taken at random makes room for the next. So the k-th is
    one of the first k + `buffer` rows. It is a function of `key`: what a buffer held at any time follows from
    it, and a checkpoint need not store the buffer.
    """
    draws = permutation(n, (key, "draws"))  # their remainders are the random places in the buffer
    order = np.empty(n, np.int64)
    held = list(range(min(buffer, n)))
    for position, draw in enumerate(draws.tolist()):
        chosen = draw % len(held)
        order[position] = held[chosen]
        if (following := position + buffer) < n:
            held[chosen] = following
        else:
            held[chosen] = held[-1]
            held.pop()
    return order


def load_encoder(tokenizer: Path) -> Encode:
    """The encoder that made the token shards. Raises UserError if the tokenizer is missing."""
    model = tokenizer / "tokenizer.model"
    if not model.is_file():
        raise UserError(f"{model}: no such file; run `make preprocess`")
    kitoken = Kitoken.from_sentencepiece_file(str(model))
    return lambda text: kitoken.encode(text, False)


@dataclass(frozen=True)
class TextStream:
    """A rank's endless samples from documents."""

    documents: Documents
    encode: Encode
    eod_id: int
    sequence_length: int
    key: tuple[object, ...]  # seeds the permutations
    rank: int = 0
    world_size: int = 1
    truncates: bool = False
    buffer_documents: int = BUFFER_DOCUMENTS

    def batches(
        self, micro_batch_size: int, position: Position = START, workers: int = 1, ahead: int = READ_AHEAD
    ) -> Iterator[tuple[Batch, Position]]:
        """Each micro-batch from `position` on, and the position behind it. A thread reads `ahead` ahead.

        Raises UserError as the documents do, when the faulty batch is taken.
        """
        samples = self.samples(position)

        def read(_: None) -> tuple[Batch, Position]:
            inputs_BT = np.full((micro_batch_size, self.sequence_length), self.eod_id, dtype=np.int64)
            targets_BT = np.full_like(inputs_BT, IGNORE)
            behind = position
            for row in range(micro_batch_size):
                window, behind = next(samples)
                n = len(window) - 1
                inputs_BT[row, :n], targets_BT[row, :n] = window[:-1], window[1:]
            domains_B = torch.zeros(micro_batch_size, dtype=torch.int64)
            return Batch(torch.from_numpy(inputs_BT), torch.from_numpy(targets_BT), domains_B), behind

        return read_ahead(repeat(None), read, min(workers, 1), ahead)  # more threads would mix the order

    def samples(self, position: Position = START) -> Iterator[tuple[np.ndarray, Position]]:
        """Each window, T + 1 tokens or a shorter document's, and the position behind it."""
        documents = self._encoded(position)
        if self.truncates:
            for (epoch, document, _), tokens in documents:
                yield tokens[: self.sequence_length + 1], Position(epoch, document + 1)
        waiting: deque[tuple[Position, np.ndarray]] = deque()
        n_waiting = -position.token
        first = position.token  # token of waiting[0] with which the next window begins
        while True:
            while n_waiting <= self.sequence_length:
                waiting.append(next(documents))
                n_waiting += len(waiting[-1][1])
            joined = np.concatenate([tokens for _, tokens in waiting])
            while n_waiting > self.sequence_length:
                window = joined[first : first + self.sequence_length + 1]
                n_waiting -= self.sequence_length
                first += self.sequence_length
                while waiting and first >= len(waiting[0][1]):
                    length = len(waiting.popleft()[1])
                    first, joined = first - length, joined[length:]
                # The window's last token begins the next one, so a document is always waiting.
                yield window, waiting[0][0]._replace(token=first)

    def _encoded(self, position: Position) -> Iterator[tuple[Position, np.ndarray]]:
        for at, text in self._texts(position):
            yield at, np.append(np.array(self.encode(text), np.int64), self.eod_id)

    def _texts(self, position: Position) -> Iterator[tuple[Position, str]]:
        epoch, start, empty = position.epoch, position.document, 0
        while empty < EMPTY_EPOCHS:
            empty += 1
            groups = self.documents.groups(self.rank, self.world_size, (*self.key, "shards", epoch))
            n_rows = sum(group.n_rows for group in groups)
            order = through_buffer(n_rows, self.buffer_documents, (*self.key, "rows", epoch, self.rank))
            for document, text in _read_in_order(groups, order, start):
                empty = 0
                yield Position(epoch, document), text
            epoch, start = epoch + 1, 0
        raise UserError(f"{self.documents.location}: holds no text to train on: choose another location")


def _read_in_order(groups: list[Group], order: np.ndarray, start: int) -> Iterator[tuple[int, str]]:
    """(position in the order, text) of each row from `start` on, a group read ahead; rows without text are
    left out, and groups whose rows all came before `start` are not read again."""
    given = np.zeros(len(order), bool)
    given[order[:start]] = True
    ends = np.cumsum([group.n_rows for group in groups])
    needed = [
        (int(end) - group.n_rows, group)
        for end, group in zip(ends, groups, strict=True)
        if not given[end - group.n_rows : end].all()
    ]
    loading = read_ahead(iter(needed), lambda item: (item[0], item[1].read()), workers=1, ahead=1)
    held: dict[int, str | None] = {}
    for position in range(start, len(order)):
        row = int(order[position])
        while row not in held:
            first, texts = next(loading)
            held |= {first + i: text for i, text in enumerate(texts) if not given[first + i]}
        text = held.pop(row)
        if text is not None:
            yield position, text
