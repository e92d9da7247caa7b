"""The peer of benchmarks/training.py: transformers' Trainer with DeepSpeed ZeRO-1 on the same batches.

    torchrun --nproc_per_node 2 benchmarks/training_peer.py configs/runs/run20.yaml --scale S --data D --out F

Out: F, JSON: the time in seconds at which each step ended, and the loss that Trainer reports for it.
"""

import argparse
import json
import os
import time
from pathlib import Path

import deepspeed
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from configs.loader import parse_overrides
from train.config import Run, load_run
from train.data.batches import TrainingData, step_samples
from train.data.shards import open_tokens
from train.model.llama import build_model
from train.optimizer import learning_rate

# Otherwise DeepSpeed compiles a C++ extension for a minute; our code does not use it either.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class Windows(Dataset):
    """The run's samples in its order, held in memory so that the peer spends no time on reading."""

    def __init__(self, data: TrainingData, steps: int, run) -> None:  # type: ignore[no-untyped-def]
        batches = [data.batch(step_samples(step, run)) for step in range(1, steps + 1)]
        self.input_ids = torch.cat([batch.input_ids_BT for batch in batches])
        self.targets = torch.cat([batch.targets_BT for batch in batches])

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        # Targets are shifted already. The library takes them as `shift_labels`, but also requires `labels`.
        return {"input_ids": self.input_ids[k], "labels": self.targets[k], "shift_labels": self.targets[k]}


class TrainerWithOurSchedule(Trainer):
    """Trainer with the run's learning rates; its own warm-up would start one step later, with a rate of 0."""

    run: Run

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule whose index k has the learning rate of the run's step k + 1."""
        peak = self.run.recipe.lr
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer or self.optimizer, lambda k: learning_rate(self.run, k + 1) / peak
        )
        return self.lr_scheduler


class StepTimes(TrainerCallback):
    """Records the time at which each step ended, and its loss."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def on_log(self, *_: object, logs: dict[str, float], **__: object) -> None:
        """Record the loss of a step."""
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def on_step_end(self, *_: object, **__: object) -> None:
        """Record the end of a step."""
        self.seconds.append(time.perf_counter())


def main() -> None:
    """Train the run's steps and write times and losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--scale")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    run = load_run(arguments.run, arguments.scale, 0, parse_overrides(arguments.overrides))
    recipe = run.recipe
    tokens = open_tokens(arguments.data, recipe.corpus, recipe.tokenizer, "train")
    data = Windows(TrainingData(tokens, run), run.steps_total, run)
    accumulation = run.grad_accum_steps(int(os.environ["WORLD_SIZE"]))
    settings = TrainingArguments(
        output_dir=str(arguments.out.parent / "trainer"),
        max_steps=run.steps_total,
        per_device_train_batch_size=recipe.micro_batch_size,
        gradient_accumulation_steps=accumulation,
        train_sampling_strategy="sequential",
        learning_rate=recipe.lr,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.betas[0],
        adam_beta2=recipe.betas[1],
        max_grad_norm=recipe.clip_grad_norm or 0.0,
        logging_steps=1,  # our code also logs every step
        logging_strategy="steps",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        deepspeed={
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "zero_allow_untested_optimizer": True,
            "zero_optimization": {"stage": 1},
        },
    )
    times = StepTimes()
    model = build_model(run.model, recipe.init_seed).llama
    trainer = TrainerWithOurSchedule(model=model, args=settings, train_dataset=data, callbacks=[times])
    trainer.run = run
    trainer.train()
    if trainer.is_world_process_zero():
        arguments.out.write_text(json.dumps({"seconds": times.seconds, "losses": times.losses}))


if __name__ == "__main__":
    main()
