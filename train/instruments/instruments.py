"""What the training script calls: checks at the start, a copy of the weights before a step, rows after it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from configs.loader import UserError
from train.checkpoint.load import tokenizer_folder
from train.data.batches import TrainingData, ValidationSet
from train.instruments.formulas import piece_bytes
from train.instruments.gradients import GradientMeter, small_batch
from train.instruments.groups import make_grouping
from train.instruments.norms import activation_rows, weight_rows
from train.instruments.token_losses import TokenLosses, count_tokens
from train.parallel.ddp import DataParallel

NEED_WHOLE_GRADIENTS = ("cosines", "noise_scale")


class Instruments:
    """The instruments that a run's recipe names, none by default. They measure whenever the run validates."""

    def __init__(
        self,
        strategy: DataParallel,
        data: TrainingData | None,
        validation: Mapping[str, ValidationSet],
        data_root: Path,
    ) -> None:
        """`data` is None for a source of text, with which a run has no instruments.

        Raises UserError if an instrument cannot work with the run's strategy, batch or data.
        """
        self._strategy, run = strategy, strategy.run
        self._wanted = run.recipe.instruments
        self._before: Mapping[str, Tensor] = {}
        self.token_losses: TokenLosses | None = None
        if data is None:
            return
        self._data = data
        if refused := [name for name in self._wanted if name in NEED_WHOLE_GRADIENTS]:
            if strategy.world.size > 1 and strategy.name != "ddp":
                raise UserError(
                    f"{run.run_id}: instruments: {' and '.join(refused)} need whole gradients on every "
                    f"process: pass strategy=ddp instead of {strategy.name}, or leave them out (losses and "
                    f"norms work)"
                )
            batch = run.recipe.global_batch_size
            if "noise_scale" in refused and small_batch(batch, run.recipe.micro_batch_size) == batch:
                raise UserError(
                    f"{run.run_id}: instruments: noise_scale compares batches of two sizes, but a step has a "
                    f"single sequence: raise global_batch_size, or leave it out"
                )
        by = run.recipe.gradient_groups if "cosines" in self._wanted else ()
        self._meter = GradientMeter(strategy, data, [make_grouping(data, column) for column in by])
        if "losses" in self._wanted:
            folder = tokenizer_folder(data_root, run, data.tokens.tokenizer_sha256)
            pieces = piece_bytes(Tokenizer.from_file(str(folder / "tokenizer.json")))
            counts_V = count_tokens(data.tokens)
            self.token_losses = TokenLosses(validation, counts_V, pieces, strategy.world)

    def before_update(self) -> None:
        """Copy the weights that the step is going to change."""
        if "norms" in self._wanted:
            self._before = self._strategy.state().weights

    def after_update(self, step: int) -> Iterator[dict[str, Any]]:
        """The fields of the log's rows of a step that is over. All processes must take all of them."""
        if "norms" in self._wanted:
            yield from weight_rows(self._before, self._strategy.state().weights)
            self._before = {}
            yield from activation_rows(self._strategy, self._data, step)
        if "noise_scale" in self._wanted:
            yield from self._meter.noise_scale(step)
        if "cosines" in self._wanted:
            yield from self._meter.cosines(step)

    def after_validation(self) -> Iterator[dict[str, Any]]:
        """The fields of the log's rows of a validation. All processes must take all of them."""
        if self.token_losses:
            yield from self.token_losses.rows()
