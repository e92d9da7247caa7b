"""What a run trains from: token shards (`source: tokens`), or text that it tokenizes while it reads.

`TokenSource` is here, `TextSource` in text_source.py; the training loop knows only the interface `Source`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from configs.loader import UserError
from train.config import Run
from train.data.batches import Batch, TrainingData, rank_batches, step_samples
from train.data.shards import TokenSet, open_tokens
from train.data.text_source import TextSource
from train.parallel.world import World
from train.preflight import check_tokens


class Source(Protocol):
    """The training sequences of a run, in the order of its steps."""

    fingerprint: str  # of the data: same fingerprint, same batches
    tokenizer_sha256: str
    domains: list[str]  # that `Batch.domains_B` numbers
    unique_tokens: dict[str, int]  # target tokens in one epoch of each domain; empty if not known
    # Samples by their numbers, which instruments need; None for text, whose order has none.
    numbered: TrainingData | None

    def start(self, run: Run, world: World, after_step: int, positions: Sequence[Sequence[int]]) -> None:
        """Go behind a step. `positions`: those of that step's checkpoint, if the source has some.

        Raises UserError if the number of processes does not fit.
        """
        ...

    def begin_step(self, step: int) -> int:
        """Number of the step's targets on all processes, all of which must call it, step by step."""
        ...

    def next(self) -> Batch:
        """This process's next micro-batch of the step that has begun."""
        ...

    def span_hash(self) -> str:
        """Hash of the text that the step trains on, on all processes together."""
        ...

    def positions(self) -> tuple[tuple[int, ...], ...]:
        """Where each process is behind the step, for its checkpoint; empty if the step's number says it."""
        ...

    def sequences(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """What is known of each sequence of the step on the main process, and its T + 1 tokens."""
        ...

    def describe(self, n_samples: int) -> str:
        """What a run of so many samples reads, as text."""
        ...


class TokenSource:
    """Token shards, in an order that depends on the seed and the tokens alone."""

    def __init__(self, tokens: TokenSet, run: Run) -> None:
        """Raises UserError as `TrainingData` does."""
        self.tokens = tokens
        self._data = TrainingData(tokens, run)
        self.numbered: TrainingData | None = self._data
        self.fingerprint = tokens.fingerprint
        self.tokenizer_sha256 = tokens.tokenizer_sha256
        self.domains = self._data.domains
        self.unique_tokens = self._data.unique_tokens

    def start(self, run: Run, world: World, after_step: int, positions: Sequence[Sequence[int]]) -> None:
        """As in Source; any number of processes fits."""
        self._run, pin = run, world.device.type == "cuda"
        self._batches = rank_batches(self._data, run, world.rank, world.size, after_step, pin=pin)

    def begin_step(self, step: int) -> int:
        """As in Source, without communication."""
        self._samples = step_samples(step, self._run)
        return self._data.count_targets(self._samples)

    def next(self) -> Batch:
        """As in Source."""
        return next(self._batches)

    def span_hash(self) -> str:
        """As in Source."""
        return self._data.span_hash(self._samples)

    def positions(self) -> tuple[tuple[int, ...], ...]:
        """None: the number of the step is the position."""
        return ()

    def sequences(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """As in Source: sample number, domain, and hashes of the documents' ids; of all processes."""
        data, batch = self._data, self._data.batch(self._samples)
        for row, sample in enumerate(self._samples.tolist()):
            known = {
                "sample": sample,
                "domain": data.domains[int(batch.domains_B[row])],
                "documents": [f"{span[0]:016x}" for span in data.spans(self._samples[[row]]).tolist()],
            }
            yield known, batch.tokens_of(row)

    def describe(self, n_samples: int) -> str:
        """As in Source."""
        return f"passes over the data: {self._data.describe_passes(n_samples)}"


def open_source(data_root: Path, run: Run, val_tokens: TokenSet) -> Source:
    """The source that the recipe names.

    `val_tokens`, which every run needs, tell a source of text the tokenizer. Raises UserError if files are
    missing or damaged, or if the source cannot do what the recipe asks for.
    """
    recipe = run.recipe
    if recipe.source == "tokens":
        if recipe.source_location is not None:
            raise UserError(
                f"{run.run_id}: source_location names text, but source is tokens: pass source=parquet or "
                f"jsonl, or leave source_location out"
            )
        tokens = open_tokens(data_root, recipe.corpus, recipe.tokenizer, "train")
        check_tokens(tokens, run)
        return TokenSource(tokens, run)
    return TextSource(data_root, run, val_tokens)
