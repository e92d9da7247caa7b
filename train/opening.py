"""What a run says of itself when it starts: in the log's header and on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from train.config import Run
from train.data.source import Source
from train.parallel.strategy import DataParallel
from train.parallel.world import World


@dataclass(frozen=True)
class Opening:
    """One start of a run, on the machine that it found."""

    run: Run
    source: Source
    strategy: DataParallel
    world: World
    params_total: int

    @property
    def device_name(self) -> str:
        """The GPU's name as its driver gives it; `cpu` without one."""
        return torch.cuda.get_device_name() if self.world.device.type == "cuda" else "cpu"

    def header(self) -> dict[str, Any]:
        """Fields of the log's first row, apart from the fingerprints of the tokens."""
        recipe = self.run.recipe
        return {
            "title": recipe.title,
            "scale": self.run.scale,
            "seed": self.run.seed,
            "data_source": recipe.source,
            "corpus": recipe.corpus,
            "tokenizer": recipe.tokenizer,
            "validation_corpus": recipe.validation_corpus,
            "config_sha256": self.run.sha256(),
            # a domain's epochs are the sum of tokens/<domain> divided by these
            "unique_tokens": self.source.unique_tokens,
            "params_total": self.params_total,
            "clip_grad_norm": recipe.clip_grad_norm,
            "strategy": self.strategy.name,
            "world_size": self.world.size,
            "micro_batch_size": recipe.micro_batch_size,
            "device": self.device_name,
            "torch_version": torch.__version__,
        }

    def tell(
        self, most_micro_batch: int, grad_accum_steps: int, step: int, forced_changes: Sequence[str]
    ) -> None:
        """Print what is trained, from which step, and how the batch is divided.

        `most_micro_batch` is the recipe's upper bound, `forced_changes` are what --force accepted.
        """
        run, recipe, world = self.run, self.run.recipe, self.world
        print(f"{run.run_id}: {recipe.title}")
        print(f"  {self.params_total:,} parameters, {recipe.precision}")
        print(f"  {world.size} x {self.device_name}, {self.strategy.name}")
        print(f"  {run.steps_total:,} steps of {run.tokens_per_step:,} tokens of corpus {recipe.corpus}")
        print(f"  learning rate {recipe.lr:g} after {run.warmup_steps} steps of warm-up, {recipe.schedule}")
        print(
            f"  {recipe.global_batch_size} sequences of {recipe.sequence_length} a step: {world.size} "
            f"processes x {recipe.micro_batch_size} sequences x {grad_accum_steps} accumulation steps"
        )
        if recipe.micro_batch_size < most_micro_batch:
            print(
                f"  micro_batch_size: {recipe.micro_batch_size} is the largest up to {most_micro_batch} that "
                f"divides it"
            )
        print(f"  {self.source.describe(run.steps_total * recipe.global_batch_size)}")
        if step:
            print(f"  resuming from step {step}")
        for change in forced_changes:
            print(f"  --force: trained until now with {change}")
