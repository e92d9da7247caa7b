"""Validation on the same windows of each domain every time."""

import math
from dataclasses import asdict, dataclass

import torch

from train.config import Run
from train.data.batches import ValidationSet, validation_set
from train.data.shards import TokenSet
from train.instruments.token_losses import TokenLosses
from train.log import finite
from train.model.loss import IGNORE
from train.parallel.strategy import DataParallel


@dataclass(frozen=True)
class DocumentResult:
    """What a model makes of one document of a validation set."""

    document: str  # xxh3_64 of the document's id, in hexadecimal
    loss_nats: float  # mean over target tokens
    n_tokens: int  # targets
    n_bytes: int  # UTF-8 bytes of the text


@dataclass(frozen=True)
class ValidationResult:
    """A model's loss on the validation documents of one domain."""

    domain: str
    loss_nats: float  # mean over target tokens
    bits_per_byte: float  # loss sum in bits / UTF-8 bytes of the text: comparable between tokenizers
    n_tokens: int  # targets
    n_bytes: int  # UTF-8 bytes of the text
    documents: tuple["DocumentResult", ...] = ()

    @property
    def perplexity(self) -> float:
        """exp(loss_nats), of a token; infinite beyond 709 nats, where fp64 overflows."""
        try:
            return math.exp(self.loss_nats)
        except OverflowError:
            return math.inf

    def row(self) -> dict[str, object]:
        """The fields of a log row; values that are not finite become None."""
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
    """The validation windows of each domain that the split holds."""
    recipe = run.recipe
    return {
        name: validation_set(stream, tokens.eod_id, recipe.validation_tokens, recipe.sequence_length)
        for name, stream in tokens.domains.items()
    }


def validate_model(
    strategy: DataParallel, sets: dict[str, ValidationSet], token_losses: TokenLosses | None = None
) -> list[ValidationResult]:
    """Evaluate every domain, and add each token's loss to `token_losses`.

    All ranks must call it; each takes its share of the windows, and all get the same results.
    """
    world, micro = strategy.world, strategy.run.recipe.micro_batch_size
    strategy.root.eval()
    results = []
    for name, windows in sets.items():
        nats_K = torch.zeros(len(windows.id_hashes), dtype=torch.float64, device=world.device)
        n_rows = len(windows.input_ids_RT)
        for first in range(0, n_rows, micro * world.size):
            rows_B = torch.arange(first + world.rank * micro, first + (world.rank + 1) * micro)
            # Collectives need the same number of batches on every rank: rows past the end count as nothing.
            past_end_B = rows_B >= n_rows
            rows_B[past_end_B] = 0
            targets_BT = windows.targets_RT[rows_B]
            targets_BT[past_end_B] = IGNORE
            inputs_BT, targets_BT = windows.input_ids_RT[rows_B].to(world.device), targets_BT.to(world.device)
            losses_B = strategy.evaluate(inputs_BT, targets_BT).double()
            if token_losses and strategy.model.token_losses_BT is not None:
                token_losses.add(name, rows_B, targets_BT, strategy.model.token_losses_BT)
            nats_K.index_add_(0, windows.document_R[rows_B].to(world.device), losses_B)
        nats = world.sum(nats_K).tolist()
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
