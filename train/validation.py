"""Validation on fixed windows of each domain."""

import math
from dataclasses import asdict, dataclass

import torch

from train.config import Run
from train.data.batches import ValidationSet, validation_set
from train.data.shards import TokenSet
from train.log import finite
from train.model.loss import IGNORE
from train.parallel.strategy import DataParallel


@dataclass(frozen=True)
class DocumentResult:
    """What a model makes of one document of a validation set."""

    document: str  # xxh3_64 of its id, in hexadecimal
    loss_nats: float  # a token
    n_tokens: int
    n_bytes: int


@dataclass(frozen=True)
class ValidationResult:
    """What a model makes of one domain's fixed documents."""

    domain: str
    loss_nats: float  # a token
    bits_per_byte: float  # of the documents' text: comparable between tokenizers
    n_tokens: int
    n_bytes: int
    documents: tuple["DocumentResult", ...]

    @property
    def perplexity(self) -> float:
        """Of a token; infinite where the loss is beyond what fp64 can raise e to (709 nats)."""
        try:
            return math.exp(self.loss_nats)
        except OverflowError:
            return math.inf

    def row(self) -> dict[str, object]:
        """The fields of a log row; what is not finite is null."""
        return {
            "domain": self.domain,
            "loss_nats": finite(self.loss_nats),
            "perplexity": finite(self.perplexity),
            "bits_per_byte": finite(self.bits_per_byte),
            "n_tokens": self.n_tokens,
            "n_bytes": self.n_bytes,
        }

    def document_rows(self) -> list[dict[str, object]]:
        """The fields of a log row for each document."""
        return [
            {"domain": self.domain, **asdict(document), "loss_nats": finite(document.loss_nats)}
            for document in self.documents
        ]


def validation_sets(tokens: TokenSet, run: Run) -> dict[str, ValidationSet]:
    """The fixed windows of each domain that the split holds."""
    recipe = run.recipe
    return {
        name: validation_set(stream, tokens.eod_id, recipe.validation_tokens, recipe.sequence_length)
        for name, stream in tokens.domains.items()
    }


def validate_model(strategy: DataParallel, sets: dict[str, ValidationSet]) -> list[ValidationResult]:
    """Evaluate every domain; all ranks call it, take their share of the windows and get the same results."""
    world, micro = strategy.world, strategy.run.recipe.micro_batch_size
    strategy.root.eval()
    results = []
    for name, windows in sets.items():
        nats_D = torch.zeros(len(windows.id_hashes), dtype=torch.float64, device=world.device)
        n_rows = len(windows.input_ids_RT)
        for first in range(0, n_rows, micro * world.size):
            rows = torch.arange(first + world.rank * micro, first + (world.rank + 1) * micro)
            # Every rank runs the same number of batches, as collectives need it: past the end nothing counts.
            past_end = rows >= n_rows
            rows[past_end] = 0
            targets_BT = windows.targets_RT[rows]
            targets_BT[past_end] = IGNORE
            inputs_BT = windows.input_ids_RT[rows].to(world.device)
            losses_B = strategy.evaluate(inputs_BT, targets_BT.to(world.device)).double()
            nats_D.index_add_(0, windows.document_R[rows].to(world.device), losses_B)
        nats = world.sum(nats_D).tolist()
        total = sum(nats)
        documents = tuple(
            DocumentResult(document, nats_of / n_tokens, n_tokens, n_bytes)
            for document, nats_of, n_tokens, n_bytes in zip(
                windows.id_hashes, nats, windows.n_tokens_of, windows.n_bytes_of, strict=True
            )
        )
        loss = total / windows.n_tokens
        bits_per_byte = total / math.log(2) / windows.n_bytes
        results.append(
            ValidationResult(name, loss, bits_per_byte, windows.n_tokens, windows.n_bytes, documents)
        )
    strategy.root.train()
    return results
