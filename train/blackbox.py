"""The report that a run leaves when too many faulty steps stop it: the last batch and the gradient norms."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from configs.loader import UserError
from train.config import Run
from train.data.batches import TrainingData
from train.guard import MAX_FAULTS, WINDOW_STEPS, Guard
from train.log import finite
from train.parallel.ddp import StepResult


def write_black_box(
    path: Path,
    step: int,
    samples: np.ndarray,
    data: TrainingData,
    tokenizer: Path,
    update: StepResult,
    guard: Guard,
) -> None:
    """Write a JSON report about a faulty step. It appears under its name only when it is complete.

    `samples` are the step's sample numbers (int64, one-dimensional). `tokenizer` is the tokenizer's folder;
    where it does not exist, the report holds token ids without text. Values that are not finite are null,
    because JSON has no NaN.
    """
    batch = data.batch(samples)
    decoder = AutoTokenizer.from_pretrained(tokenizer) if tokenizer.is_dir() else None
    sequences: list[dict[str, Any]] = []
    for row, sample in enumerate(samples.tolist()):
        ids = batch.input_ids_BT[row].tolist() + batch.targets_BT[row, -1:].tolist()
        sequences.append(
            {
                "sample": sample,
                "domain": data.domains[int(batch.domains_B[row])],
                "documents": [f"{span[0]:016x}" for span in data.spans(samples[row : row + 1]).tolist()],
                "token_ids": ids,
                "text": decoder.decode(ids) if decoder else None,
            }
        )
    content = {
        "step": step,
        "fault": update.fault,
        "grad_norm": finite(update.grad_norm),
        "layer_grad_norms": {name: finite(norm) for name, norm in update.layer_norms.items()},
        "guard": guard.state.model_dump(),
        "sequences": sequences,
    }
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def fault_error(run: Run, step: int, update: StepResult, black_box: Path) -> UserError:
    """The error that ends a run after MAX_FAULTS faulty steps, with the remedy."""
    return UserError(
        f"{run.run_id}: step {step} is faulty ({update.fault}), number {MAX_FAULTS} within {WINDOW_STEPS} "
        f"steps; no faulty step changed the weights. {black_box} holds the step's text and the gradient "
        f"norm of each parameter. Correct the data or lower lr, and start again with --force (a "
        f"changed run needs it); training resumes from the newest checkpoint"
    )
