"""The report that a run leaves when too many faulty steps stop it: the last batch and the gradient norms."""

import json
from pathlib import Path
from typing import Any

from configs.loader import UserError
from train.config import Run
from train.data.source import Source
from train.guard import MAX_FAULTS, WINDOW_STEPS, Guard
from train.log import finite
from train.parallel.ddp import StepResult


def write_black_box(
    path: Path,
    step: int,
    source: Source,
    tokenizer: Path,
    update: StepResult,
    guard: Guard,
) -> None:
    """Write a JSON report about a faulty step. It appears under its name only when it is complete.

    `source` has begun the step. `tokenizer` is the tokenizer's folder;
    where it does not exist, the report holds token ids without text. Values that are not finite are null,
    because JSON has no NaN.
    """
    from transformers import AutoTokenizer  # not above: it takes seconds, and most runs write no report

    decoder = AutoTokenizer.from_pretrained(tokenizer) if tokenizer.is_dir() else None
    sequences: list[dict[str, Any]] = []
    for known, ids in source.sequences():
        text = decoder.decode(ids) if decoder else None
        sequences.append({**known, "token_ids": ids, "text": text})
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
