"""Validation on fixed windows of each domain."""

import math
from dataclasses import dataclass

import torch

from train.config import Run
from train.data.batches import ValidationSet, validation_set
from train.data.shards import TokenSet
from train.log import finite
from train.model.loss import IGNORE
from train.parallel.strategy import DataParallel


@dataclass(frozen=True)
class ValidationResult:
    """What a model makes of one domain's fixed documents."""

    domain: str
    loss_nats: float  # a token
    bits_per_byte: float  # of the documents' text: comparable between tokenizers
    n_tokens: int
    n_bytes: int

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
        nats = torch.zeros((), dtype=torch.float64, device=world.device)
        for first in range(0, len(windows.input_ids_WT), micro * world.size):
            rows = torch.arange(first + world.rank * micro, first + (world.rank + 1) * micro)
            # Every rank runs the same number of batches, as collectives need it: past the end nothing counts.
            past_end = rows >= len(windows.input_ids_WT)
            rows[past_end] = 0
            targets_BT = windows.targets_WT[rows]
            targets_BT[past_end] = IGNORE
            inputs_BT = windows.input_ids_WT[rows].to(world.device)
            nats += strategy.evaluate(inputs_BT, targets_BT.to(world.device)).double().sum()
        total = float(world.sum(nats))
        loss = total / windows.n_tokens
        bits_per_byte = total / math.log(2) / windows.n_bytes
        results.append(ValidationResult(name, loss, bits_per_byte, windows.n_tokens, windows.n_bytes))
    strategy.root.train()
    return results
