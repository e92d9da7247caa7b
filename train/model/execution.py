"""Settings that save memory or time: TF32, deterministic kernels, recomputation, compilation.

They change results by rounding only. All are applied in place before a strategy wraps the model, so that
parameters keep their names.
"""

import functools
import os
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from train.config import Recipe
from train.model.llama import PretrainModel

# Operations whose results selective recomputation saves: matrix products and attention cost the most to
# repeat.
SAVED_OPERATIONS = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


def set_numerics(recipe: Recipe) -> None:
    """Set TF32 for fp32 matrix products on CUDA, and deterministic kernels, as the recipe says."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = recipe.tf32
    if recipe.deterministic:
        # cuBLAS gives the same bits again only with a fixed workspace (its manual, "Results
        # reproducibility").
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(recipe.deterministic)


def prepare_layers(model: PretrainModel, recipe: Recipe) -> None:
    """Set up recomputation and compilation of each decoder layer in place, as the recipe says."""
    for layer in model.llama.model.layers:
        if recipe.recompute != "none":
            keywords: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # no dropout
            if recipe.recompute == "selective":
                keywords["context_fn"] = _selective_contexts
            layer.forward = functools.partial(checkpoint, layer.forward, **keywords)
        if recipe.compile:
            layer.compile()


def _selective_contexts() -> Any:
    return create_selective_checkpoint_contexts(_policy)


def _policy(context: Any, operation: Any, *arguments: Any, **keywords: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in SAVED_OPERATIONS else CheckpointPolicy.PREFER_RECOMPUTE
