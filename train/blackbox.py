"""What is left when repeated faults stop a run: the last batch as text, and where the gradient burst."""

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
    """Write a JSON file about a faulty step, aside and renamed.

    `samples`: the step's sample numbers; `tokenizer`: its folder, left out where it is gone. Values that are
    not finite are null, as JSON has no NaN.
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


def too_many_faults(run: Run, step: int, update: StepResult, black_box: Path) -> UserError:
    """The sentence with which a run ends that can only go on to skip."""
    return UserError(
        f"{run.run_id}: step {step} ({update.fault}) is fault {MAX_FAULTS} within {WINDOW_STEPS} steps, "
        f"none of which reached the weights. {black_box} holds its text and each layer's gradient norm: mend "
        f"the data or lower lr, and start again with --force, without which a change is refused: it goes "
        f"on from the newest checkpoint"
    )
