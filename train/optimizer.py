"""AdamW (Loshchilov and Hutter 2019) and the learning rate of each step."""

import math

import torch

from train.config import Run
from train.model.llama import PretrainModel


def make_optimizer(model: PretrainModel, run: Run, device: torch.device) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only, not on the scales of norms (as in nanoGPT)."""
    recipe = run.recipe
    weights = list(model.named_weights().values())
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=device.type == "cuda"
    )


def learning_rate(run: Run, step: int) -> float:
    """Learning rate of step 1, 2, …: a linear warm-up, then the recipe's schedule.

    `constant` stays at `lr`. `cosine` falls to `min_lr_ratio * lr` along half a cosine (Loshchilov and Hutter
    2017, equation 5).
    """
    recipe, warmup = run.recipe, run.warmup_steps
    if step <= warmup:
        return recipe.lr * step / warmup
    if recipe.schedule == "constant":
        return recipe.lr
    progress = (step - warmup) / max(1, run.steps_total - warmup)
    decayed = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return recipe.lr * (recipe.min_lr_ratio + (1 - recipe.min_lr_ratio) * decayed)
