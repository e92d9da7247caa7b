"""How much of the positions that a step computes are targets, and how much of a corpus is ever one."""

from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from train.data.batches import TrainingData
from train.data.shards import TokenSet
from train.data.stream import TextStream


@dataclass(frozen=True)
class Epoch:
    """One pass over a source's samples."""

    samples: int
    targets: int
    sequence_length: int

    @property
    def padding(self) -> float:
        """Share of the positions that are no target."""
        return 1 - self.targets / (self.samples * self.sequence_length)

    def seen(self, corpus_tokens: int) -> float:
        """Share of the corpus's tokens that are a target, in any number of epochs."""
        return self.targets / corpus_tokens

    def passes(self, corpus_tokens: int) -> float:
        """Epochs for which a budget of as many positions as the corpus has tokens suffices."""
        return corpus_tokens / (self.samples * self.sequence_length)


def epoch_of_tokens(data: TrainingData, samples: int) -> Epoch:
    """An epoch of token shards; `samples`: of all domains."""
    return Epoch(samples, data.count_targets(np.arange(samples)), data.sequence_length)


def epoch_of_text(stream: TextStream) -> Epoch:
    """An epoch of text, counted sample by sample; a window that reaches into the next epoch is left out."""
    first = takewhile(lambda sample: not sample[1].epoch, stream.samples())
    targets = np.fromiter((len(window) - 1 for window, _ in first), np.int64)
    return Epoch(len(targets), int(targets.sum()), stream.sequence_length)


def epoch_samples(tokens: TokenSet, sequence_length: int, truncates: bool) -> int:
    """Samples of an epoch of token shards: whole windows of each domain, or documents."""
    streams = tokens.domains.values()
    if truncates:
        return sum(len(stream.documents.start) for stream in streams)
    return sum((stream.n_tokens - 1) // sequence_length for stream in streams)
