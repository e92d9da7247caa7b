"""Recipes of today beside that of Run 20: `make bench-recipes [SCALE=mini] [DATA=data/mini]`.

In:  token shards of corpus main below DATA (make preprocess SCALE=mini).
Out: bits per byte of each option on the validation papers, and its difference to the baseline, paired by
     seed; analysis/measurements/recipes.json. A negative difference is better.

Every run is the training script itself on one process, with few tokens. Only `muon` is a key of the recipe;
the other options replace a function of the script and exist nowhere else. AdamW and Muon each get the best of
several rates on the first seed; the other options share AdamW's. Finished runs stay in
$ARXIV_RUNS/bench-recipes/, so a second call trains what is missing, and --report trains nothing.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.effects import t_quantile
from benchmarks.measure import record
from configs.loader import CONFIGS, default_data_root, default_runs_root, run_main
from tests.support.training import ROOT
from train.config import Run
from train.model.llama import ModelConfig, PretrainModel, build_model
from train.model.loss import IGNORE
from train.optimizer import learning_rate, make_optimizer

RUN, SCALE = CONFIGS / "runs" / "run20.yaml", "mini"
TOKENS, SEEDS = 300_000, (0, 1, 2)
WARMUP_STEPS = 15
UNIQUE_TOKENS = 10_018_560  # of which a run sees the first 300,000
TOKENS_PER_STEP = 16 * 256  # of scale mini
RATES = {"baseline": (2e-3, 4e-3, 8e-3), "muon": (4e-3, 8e-3, 16e-3, 32e-3)}
VALIDATION_TOKENS = 24_576  # of each domain
Z_LOSS = 1e-4  # PaLM (Chowdhery et al. 2022, section 5)
DECAY_SHARE = 0.2  # of the steps, in which a WSD schedule falls (Hägele et al. 2024: 10 to 20 %)


# ---------------------------------------------------------------- options


def z_loss(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, _: int) -> tuple[Tensor, Tensor]:
    """Cross-entropy whose gradient has that of Z_LOSS times log² Z in it; the losses returned have not."""
    logits_NV = (hidden_ND @ weight_VD.T).float()
    losses_N = F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORE, reduction="none")
    penalty_N = logits_NV.logsumexp(dim=1).square() * (targets_N != IGNORE)
    return losses_N.sum() + Z_LOSS * penalty_N.sum(), losses_N.detach()


class HeadNorm(nn.Module):
    """A projection to heads whose vectors are then normalised, with a learned scale (Henry et al. 2020)."""

    def __init__(self, projection: nn.Linear, head_size: int, eps: float) -> None:
        super().__init__()
        self.projection, self.norm = projection, nn.RMSNorm(head_size, eps)

    def forward(self, states_BTD: Tensor) -> Tensor:
        """Vectors of all heads beside each other (B, T, D)."""
        heads = self.projection(states_BTD).unflatten(-1, (-1, len(self.norm.weight)))
        return self.norm(heads).flatten(-2)


def model_with_qk_norm(config: ModelConfig, init_seed: int) -> PretrainModel:
    """The model with queries and keys normalised by head; `llama` has no place for these norms."""
    model = build_model(config, init_seed)
    for layer in model.llama.model.layers:
        attention: Any = layer.self_attn
        attention.q_proj = HeadNorm(attention.q_proj, attention.head_dim, config.rms_norm_eps)
        attention.k_proj = HeadNorm(attention.k_proj, attention.head_dim, config.rms_norm_eps)
    return model


def model_with_depth_scaled_weights(config: ModelConfig, init_seed: int) -> PretrainModel:
    """The model whose projections into the residual start at 1/sqrt(2 L) of their size (GPT-2)."""
    model = build_model(config, init_seed)
    with torch.no_grad():
        for name, weight in model.named_weights().items():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * config.num_hidden_layers) ** -0.5)
    return model


def optimizer_that_spares_embeddings(model: PretrainModel, run: Run, device: torch.device) -> Any:
    """AdamW without weight decay on the embedding (and the head, which is the same tensor)."""
    optimizer = make_optimizer(model, run, device)
    embedding = model.llama.model.embed_tokens.weight
    decayed, spared = optimizer.param_groups
    decayed["params"] = [weight for weight in decayed["params"] if weight is not embedding]
    spared["params"] = [*spared["params"], embedding]
    return optimizer


def wsd_to_zero(run: Run, step: int) -> float:
    """Warm-up, stable, decay: the rate falls to zero over the last steps (Hägele et al. 2024, equation 1)."""
    if step <= run.warmup_steps:
        return learning_rate(run, step)
    left = (run.steps_total - step) / (DECAY_SHARE * run.steps_total)
    return run.recipe.lr * (1.0 if left >= 1 else 1 - math.sqrt(1 - left))


# option -> (function of the training script, what replaces it) or recipe values
PATCHES: dict[str, tuple[str, Callable[..., Any]]] = {
    "z_loss": ("train.model.llama.chunked_cross_entropy", z_loss),
    "qk_norm": ("train.pretrain.build_model", model_with_qk_norm),
    "depth_scaled_init": ("train.pretrain.build_model", model_with_depth_scaled_weights),
    "no_embedding_decay": ("train.pretrain.make_optimizer", optimizer_that_spares_embeddings),
    "wsd_to_zero": ("train.pretrain.learning_rate", wsd_to_zero),
}
VALUES = {"baseline": [], "muon": ["optimizer=muon"], "cosine_to_zero": ["min_lr_ratio=0"]}
OPTIONS = ("baseline", "muon", "wsd_to_zero", "cosine_to_zero", *(n for n in PATCHES if n != "wsd_to_zero"))


# ---------------------------------------------------------------- runs


class Trial(NamedTuple):
    """One run: an option with a peak learning rate and a seed."""

    option: str
    lr: float
    seed: int

    def folder(self, root: Path) -> Path:
        """Where it writes."""
        return root / f"{self.option}-lr{self.lr:g}" / f"seed{self.seed}"

    def recipe(self) -> list[str]:
        """What differs from Run 20, as `key=value`."""
        at_the_end = 10**12  # tokens: no validation and no checkpoint before
        return [
            *(f"lr={self.lr}", f"tokens_total={TOKENS}", f"unique_tokens={UNIQUE_TOKENS}"),
            f"warmup_tokens={WARMUP_STEPS * TOKENS_PER_STEP}",
            *("global_batch_size=16", "micro_batch_size=8", f"validation_tokens={VALIDATION_TOKENS}"),
            *(f"validate_every_tokens={at_the_end}", f"checkpoint_every_tokens={at_the_end}"),
            *VALUES.get(self.option, ()),
        ]

    def train(self, data: Path, root: Path) -> None:
        """Train in this process."""
        from train.pretrain import main

        arguments = [
            *("train/pretrain.py", str(RUN), "--scale", SCALE, "--seed", str(self.seed)),
            *("--data", str(data), "--out", str(self.folder(root)), *self.recipe()),
        ]
        with contextlib.ExitStack() as patched:
            patched.enter_context(mock.patch.object(sys, "argv", arguments))
            if patch := PATCHES.get(self.option):
                patched.enter_context(mock.patch(*patch))
            if code := main():
                sys.exit(code)

    def bits_per_byte(self, root: Path) -> float | None:
        """Mean over the domains at the end; None before."""
        log = self.folder(root) / "log.0.jsonl"
        if not (self.folder(root) / "DONE").is_file():
            return None
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        return statistics.mean(row["bits_per_byte"] for row in rows if row["kind"] == "val")


def train_missing(trials: Iterable[Trial], data: Path, root: Path) -> None:
    """Train each trial that is not finished in a process of its own, one after the other."""
    for trial in trials:
        if trial.bits_per_byte(root) is None:
            one = ["--one", trial.option, f"{trial.lr}", f"{trial.seed}"]
            command = [sys.executable, "-m", "benchmarks.recipes", "--data", str(data), *one]
            subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


def results_of(trials: Iterable[Trial], root: Path) -> dict[Trial, float]:
    """Bits per byte of the finished trials."""
    found = {trial: trial.bits_per_byte(root) for trial in trials}
    return {trial: value for trial, value in found.items() if value is not None}


def best_rate(option: str, sweep: dict[Trial, float]) -> float:
    """The rate of the first seed that is best for an option; the others take the baseline's."""
    tuned = option if option in RATES else "baseline"
    return min((value, trial.lr) for trial, value in sweep.items() if trial.option == tuned)[1]


def compare(results: dict[Trial, float]) -> dict[str, Any]:
    """Each option's bits per byte and differences to the baseline by seed."""
    by_option: dict[str, dict[int, float]] = {}
    for trial, value in results.items():
        by_option.setdefault(trial.option, {})[trial.seed] = value
    rates = {trial.option: trial.lr for trial in results}
    figures = {}
    for option, values in by_option.items():
        pairs = [seed for seed in values if seed in by_option["baseline"]]
        differences = {seed: values[seed] - by_option["baseline"][seed] for seed in pairs}
        figures[option] = {
            "lr": rates[option],
            "bits_per_byte": values,
            "differences": differences,
            "mean_difference": statistics.mean(differences.values()),
            "half_interval_95": half_interval(list(differences.values())),
        }
    return figures


def half_interval(differences: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean by Student's t, over seeds only; NaN for one seed."""
    n = len(differences)
    return t_quantile(n - 1) * statistics.stdev(differences) / math.sqrt(n) if n > 1 else math.nan


def main() -> None:
    """Train what is missing, then print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data_root(SCALE), help="data root")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--one", nargs=3, metavar=("OPTION", "LR", "SEED"), help="train one run here")
    arguments = parser.parse_args()
    data, root = arguments.data.resolve(), default_runs_root().resolve() / "bench-recipes"
    if arguments.one:
        option, lr, seed = arguments.one
        Trial(option, float(lr), int(seed)).train(data, root)
        return
    sweep_trials = [Trial(option, lr, SEEDS[0]) for option, rates in RATES.items() for lr in rates]
    if not arguments.report:
        train_missing(sweep_trials, data, root)
    sweep = results_of(sweep_trials, root)
    trials = [Trial(option, best_rate(option, sweep), seed) for seed in SEEDS for option in OPTIONS]
    if not arguments.report:
        train_missing(trials, data, root)
    figures = compare(results_of(trials, root))
    for trial, value in sweep.items():
        print(f"{trial.option:<20} rate {trial.lr:<6g} {value:.4f} bits per byte")
    for option, row in figures.items():
        by_seed = ", ".join(f"{difference:+.4f}" for difference in row["differences"].values())
        mean, half = row["mean_difference"], row["half_interval_95"]
        print(f"{option:<20} rate {row['lr']:<6g} {mean:+.4f} ± {half:.4f} (by seed: {by_seed})")
    content = {
        "command": "make bench-recipes",
        "scale": SCALE,
        "tokens": TOKENS,
        "tokens_per_step": TOKENS_PER_STEP,
        "rates": {o: {f"{t.lr:g}": v for t, v in sweep.items() if t.option == o} for o in RATES},
        "options": figures,
    }
    print(f"written: {record('recipes', content, ['torch'])}")


if __name__ == "__main__":
    run_main(main)
