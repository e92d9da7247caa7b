"""AdamW (Loshchilov and Hutter 2019), Muon beside it, and the learning rate of each step."""

import math
from typing import Any

import torch
from torch import Tensor

from train.config import Recipe, Run
from train.model.llama import PretrainModel

# A checkpoint's name of each moment -> the optimiser's. Both averages of gradients are exponential.
ADAMW_MOMENTS = {"exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq"}
MUON_MOMENTS = {"exp_avg": "momentum_buffer"}


class MuonWithAdamW(torch.optim.Optimizer):
    """torch's Muon (Jordan et al. 2024) on the last parameter group, AdamW on the others.

    Muon replaces a matrix's averaged gradient by the nearest matrix with orthogonal rows or columns, in bf16
    by five Newton-Schulz iterations, and scales it to the size of AdamW's updates (Liu et al. 2025, "Muon is
    Scalable for LLM Training", section 2.2): both share a learning rate and a weight decay.
    """

    def __init__(self, adamw: torch.optim.AdamW, muon: torch.optim.Muon) -> None:
        self.adamw, self.muon = adamw, muon
        super().__init__([*adamw.param_groups, *muon.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights. `closure` is there for torch's interface and not called."""
        # Strategies exchange the tensors of groups, Accelerate the groups, and a resume the state.
        self.adamw.state = self.muon.state = self.state
        self.adamw.param_groups, self.muon.param_groups = self.param_groups[:-1], self.param_groups[-1:]
        self.adamw.step()
        self.muon.step()


def make_optimizer(model: PretrainModel, run: Run, device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimiser, with weight decay on matrices only, not on the scales of norms (as in nanoGPT).

    `muon`: Muon gets the layers' matrices, AdamW the embedding (which may be the head, too) and the norms.
    """
    recipe, weights = run.recipe, model.named_weights()
    by_adamw = [weight for name, weight in weights.items() if not takes_muon(recipe, name, weight)]
    groups = [
        {"params": [w for w in by_adamw if w.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [w for w in by_adamw if w.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=device.type == "cuda"
    )
    if recipe.optimizer == "adamw":
        return adamw
    matrices = [weight for name, weight in weights.items() if takes_muon(recipe, name, weight)]
    muon = torch.optim.Muon(
        matrices, lr=recipe.lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return MuonWithAdamW(adamw, muon)


def takes_muon(recipe: Recipe, name: str, weight: Tensor) -> bool:
    """Whether Muon updates a parameter: with `optimizer: muon`, every matrix within a layer."""
    return recipe.optimizer == "muon" and ".layers." in name and weight.ndim == 2


def moment_names(recipe: Recipe, name: str, weight: Tensor) -> dict[str, str]:
    """The moments that a parameter has: a checkpoint's name -> the optimiser's."""
    return MUON_MOMENTS if takes_muon(recipe, name, weight) else ADAMW_MOMENTS


def why_refused(recipe: Recipe, strategy: str) -> str:
    """Why an optimiser does not work with a strategy of several processes; empty if it does."""
    if recipe.optimizer == "muon" and strategy.startswith("zero"):
        return (
            f"optimizer muon updates whole matrices, which {strategy} cuts into flat pieces: pass "
            f"strategy=ddp, accelerate or fsdp"
        )
    return ""


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
