"""The configuration of a training run: recipe defaults < base run < run file < scale < command line.

A run file (configs/runs) names its base and changes one thing. A scale (configs/scales) shrinks every run by
the same factors. Lengths are in tokens, so they do not depend on the batch size; steps are derived.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from configs.loader import CONFIGS, Config, UserError, merge, read_yaml, validate
from configs.variants import read_tokenizer_recipe
from train.model.llama import ModelConfig
from train.sinks import Name

DOMAINS = ("cs", "math", "physics")
Domain = Literal["cs", "math", "physics"]
# Weight of a domain in a mixture. The upper limit keeps the products in `order.interleave` (number of samples
# times weights in millionths) below 2^63.
Weight = Annotated[float, Field(ge=0, le=1000)]
Instrument = Literal["cosines", "noise_scale", "losses", "norms"]
Beta = Annotated[float, Field(ge=0, lt=1)]  # AdamW divides by 1 - beta^step, which is 0 for a beta of 1
ANNEAL_SHARE = 0.2  # the last part of a run, in which `anneal_mixture` applies
# Keys that describe a run. A run file states each of them; they are not inherited from the base.
ABOUT = ("title", "base", "named_in_paper", "change", "hypothesis", "primary_metric")
# Keys that say how a machine executes the run. They may change on resuming; only rounding depends on them.
EXECUTION = (
    *("micro_batch_size", "strategy", "recompute", "compile", "deterministic", "head_chunk_tokens"),
    *("checkpoint_every_tokens", "keep_last", "keep_every", "early_checkpoints", "sinks"),
    *("instruments", "gradient_groups", "source_location"),
)
NOT_HASHED = {*ABOUT, *EXECUTION}  # keys that do not decide a run's results
# Keys that came after logs had been published: at their defaults they leave the hash as it was.
CAME_LATER = ("source", "optimizer")


class Recipe(Config):
    """Every key that a run file may set. The defaults are those of Run 23, on which all other runs build."""

    # Description
    title: str
    base: str | None
    named_in_paper: bool = False  # true for Runs 20, 23 and 24 only
    change: str
    hypothesis: str
    primary_metric: str

    # Data
    corpus: str = "main"
    tokenizer: str = "main"
    validation_corpus: str = "main"  # all runs are compared on the validation papers of this corpus
    sequence_length: int = Field(768, gt=0)  # tokens; the paper trains at 768
    # The run sees that many distinct tokens and then repeats them: 200 GB at 3.8 bytes a token.
    unique_tokens: int = Field(52_180_000_000, gt=0)
    mixture: dict[Domain, Weight] | None = None  # weight of each domain; null: in proportion to its tokens
    # Weights over the last fifth of the run; null: `mixture` holds to the end.
    anneal_mixture: dict[Domain, Weight] | None = None
    curriculum: bool = False  # order each domain's blocks from prose to formulas instead of permuting them
    # A token attends to its own document only: by FlexAttention on CUDA, by a mask on CPUs.
    mask_documents: bool = False
    # windows: documents are joined into one stream and cut into windows of T + 1 tokens;
    # truncate: each sample is the first T + 1 tokens of one document, padded
    packing: Literal["windows", "truncate"] = "windows"
    # What the run reads: token shards, or text that it tokenizes meanwhile (docs/io.md): the corpus's Parquet
    # shards, or a JSONL file, which every process holds in memory. It validates on token shards always.
    source: Literal["tokens", "parquet", "jsonl"] = "tokens"
    # Where the text is: a folder or URL of Parquet shards (null: the corpus's own), or the JSONL file.
    source_location: str | None = None
    block_windows: int = Field(
        64, gt=0
    )  # neighbouring windows kept together: reads of 64 x 768 x 4 B = 197 kB
    data_seed: int = 0

    # Model
    model: str = "base"  # a size, which the scale maps to a file in configs/models, or such a file's name
    init_seed: int = 0

    # Length and batch
    tokens_total: int = Field(52_180_000_000, gt=0)  # the paper's 52.18 B
    global_batch_size: int = Field(2048, gt=0)  # sequences; the paper: 32 x 32 accumulation steps x 2 GPUs
    # Sequences on one device at a time, at most: the run takes the largest number that divides its share.
    micro_batch_size: int = Field(16, gt=0)  # train/plan.py prints the largest that fits

    # Optimiser: weight decay on matrices only
    # muon: torch.optim.Muon for the layers' matrices, AdamW for embedding and norms (make bench-recipes)
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(2e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"  # after the warm-up
    min_lr_ratio: float = Field(0.1, ge=0, le=1)  # final learning rate as a fraction of `lr`
    warmup_tokens: int = Field(786_432_000, ge=0)  # 500 steps
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    gradient_surgery: Literal["none", "pcgrad"] = "none"  # between the domains' gradients
    clip_grad_norm: float | None = Field(1.0, gt=0)  # null: no clipping
    # Skip a step whose loss or gradient norm is that many standard deviations above recent ones; null: skip
    # only steps that are not finite. OLMo-core uses 6; the paper's runs skipped nothing.
    spike_sigma: float | None = Field(None, gt=0)

    # Execution
    # With 16 bits, master weights, moments and accumulation stay fp32; fp16 scales the loss dynamically.
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    tf32: bool = False  # multiply fp32 matrices on CUDA with 10 bits of mantissa: faster, less exact
    deterministic: bool = False  # give the same bits every time on CUDA; the fastest kernels do not
    strategy: Literal["zero1", "zero2", "zero3", "ddp", "fsdp", "accelerate"] = "zero1"
    # Activations that a layer keeps for the backward pass: none: all; selective: matrix products and
    # attention; full: only the layer's input. At micro-batch 16, all fit beside the full model in 80 GB.
    recompute: Literal["none", "selective", "full"] = "none"
    compile: bool = False  # compile each layer with torch.compile
    head_chunk_tokens: int | None = Field(None, gt=0)  # tokens whose logits exist at a time; null: by device
    validate_every_tokens: int = Field(393_216_000, gt=0)  # 250 steps
    validation_tokens: int = Field(2_097_152, gt=0)  # of each domain, in whole documents
    checkpoint_every_tokens: int = Field(393_216_000, gt=0)  # 250 steps, 2.5 hours at the paper's speed
    keep_last: int = Field(2, gt=0)  # number of newest checkpoints to keep
    keep_every: int = Field(10, gt=0)  # keep every 10th checkpoint for good
    sinks: tuple[Name, ...] = ()  # experiment trackers that get the log's numbers: tensorboard, wandb
    # Measures taken whenever the run validates (docs/instruments.md); results stay the same.
    instruments: tuple[Instrument, ...] = ()
    # What divides the sequences whose gradients `cosines` compares: domain, year, columns of the token index.
    gradient_groups: tuple[str, ...] = ("domain", "year", "math_share")
    # Also save steps 1, 2, 4, … 512 and keep them, as Pythia does (Biderman et al. 2023).
    early_checkpoints: bool = False


class Scale(Config):
    """A size at which every run can be trained: how it changes models, vocabularies and recipe values."""

    models: dict[str, str]  # a recipe's `model` -> file in configs/models
    vocab_size_factor: float = Field(1.0, gt=0)  # on the vocabulary in configs/tokenizers
    # Stage -> keys that are set in the recipe of corpus main.
    corpus: dict[str, dict[str, Any]] = Field(default_factory=dict)
    multiply: dict[str, float] = Field(default_factory=dict)  # recipe key -> factor
    set: dict[str, Any] = Field(default_factory=dict)  # recipe key -> value that replaces the run's


class Run(Config):
    """One run at one scale with one seed, with every value resolved."""

    name: str
    scale: str
    seed: int
    recipe: Recipe
    model: ModelConfig

    @property
    def run_id(self) -> str:
        """`<scale>/<run>/seed<k>`; this is also its folder below the root of all runs."""
        return f"{self.scale}/{self.name}/seed{self.seed}"

    @property
    def tokens_per_step(self) -> int:
        """Target tokens of one optimiser step: sequences times positions."""
        return self.recipe.global_batch_size * self.recipe.sequence_length

    def steps_of(self, tokens: int) -> int:
        """The number of optimiser steps that comes nearest to a number of tokens; at least one."""
        return max(1, round(tokens / self.tokens_per_step))

    @property
    def steps_total(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_of(self.recipe.tokens_total)

    @property
    def warmup_steps(self) -> int:
        """Number of steps over which the learning rate rises."""
        return self.steps_of(self.recipe.warmup_tokens) if self.recipe.warmup_tokens else 0

    @property
    def anneal_steps(self) -> int:
        """Number of last steps in which `anneal_mixture` applies."""
        return round(ANNEAL_SHARE * self.steps_total)

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint is due after a step."""
        every = self.steps_of(self.recipe.checkpoint_every_tokens)
        return step % every == 0 or step == self.steps_total or self._is_early(step)

    def keeps_for_good(self, step: int) -> bool:
        """Whether a checkpoint is kept even when it is no longer among the `keep_last` newest."""
        every = self.steps_of(self.recipe.checkpoint_every_tokens) * self.recipe.keep_every
        return step % every == 0 or self._is_early(step)

    def _is_early(self, step: int) -> bool:
        return self.recipe.early_checkpoints and step <= 512 and step.bit_count() == 1

    def fitted_to(self, world_size: int) -> "Run":
        """The run with the largest micro-batch up to `micro_batch_size` that divides each process's share.

        Raises UserError if the number of processes does not divide the global batch.
        """
        share, remainder = divmod(self.recipe.global_batch_size, world_size)
        if remainder or not share:
            raise UserError(
                f"{self.run_id}: global_batch_size {self.recipe.global_batch_size} is not a multiple of "
                f"{world_size} processes: start a number of processes that divides it"
            )
        micro = max(m for m in range(1, min(self.recipe.micro_batch_size, share) + 1) if share % m == 0)
        return self.with_recipe(micro_batch_size=micro)

    def with_recipe(self, **values: Any) -> "Run":
        """The run with other recipe values, which are taken as they are: nothing validates them."""
        return self.model_copy(update={"recipe": self.recipe.model_copy(update=values)})

    def grad_accum_steps(self, world_size: int) -> int:
        """Micro-batches of one process in one step. Raises UserError as `fitted_to` does."""
        micro = self.fitted_to(world_size).recipe.micro_batch_size
        return self.recipe.global_batch_size // (micro * world_size)

    def hashed_values(self) -> dict[str, dict[str, Any]]:
        """Every value that decides the run's results; descriptions and execution settings are left out."""
        defaults = {
            key for key in CAME_LATER if getattr(self.recipe, key) == Recipe.model_fields[key].default
        }
        recipe = self.recipe.model_dump(mode="json", exclude=NOT_HASHED | defaults)
        return {"recipe": recipe, "model": self.model.model_dump(mode="json")}

    def sha256(self) -> str:
        """Hash of `hashed_values`: runs with equal hashes give equal results up to rounding."""
        return hashlib.sha256(json.dumps(self.hashed_values(), sort_keys=True).encode()).hexdigest()


def read_run_file(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Path]]:
    """Read a run file and its bases; return its description, its values and the file of each value.

    Raises UserError if a run is its own base or a file leaves out a key that describes the run.
    """
    about: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    values: dict[str, Any] = {}
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following in seen:
            raise UserError(f"{following}: is its own base, by way of {', '.join(p.stem for p in seen)}")
        seen.append(following)
        own = read_yaml(following)
        if missing := [key for key in ABOUT if key not in own]:
            raise UserError(
                f"{following}: says nothing about {', '.join(missing)}; every run must state this"
            )
        about = about or {key: own[key] for key in ABOUT}
        own_values = {key: value for key, value in own.items() if key not in ABOUT}
        origins = dict.fromkeys(own_values, following) | origins
        values = merge(own_values, values)
        following = following.parent / f"{own['base']}.yaml" if own["base"] else None
    return about, values, origins


def read_scale(name: str) -> Scale:
    """Read configs/scales/<name>.yaml. Raises UserError if the file is missing or wrong."""
    path = CONFIGS / "scales" / f"{name}.yaml"
    return validate(Scale, read_yaml(path), str(path))


def load_run(path: Path, scale: str = "full", seed: int = 0, overrides: dict[str, Any] | None = None) -> Run:
    """Resolve a run file at a scale, with a seed for both initial weights and data order.

    Files state full-scale values, which the scale multiplies. `overrides` come from the command line and are
    used as they are: the scale does not multiply them. Raises UserError for an unknown key, a wrong type, an
    impossible value, a missing model file, or a scale that would undo what the run changes.
    """
    about, values, _ = read_run_file(path)
    sizes = read_scale(scale)
    origin = f"{path} at scale {scale}"
    if lost := sorted(set(values) & set(sizes.set)):
        raise UserError(f"{origin}: the scale sets {', '.join(lost)} and would undo what the run changes")
    full = validate(Recipe, about | values, str(path)).model_dump()
    for key, factor in sizes.multiply.items():
        if not isinstance(full.get(key), int | float):
            raise UserError(
                f"configs/scales/{scale}.yaml: multiply.{key}: a recipe has no number of this name"
            )
        full[key] = round(full[key] * factor) if isinstance(full[key], int) else full[key] * factor
    seeds = {"init_seed": seed, "data_seed": seed}
    recipe = validate(Recipe, full | sizes.set | seeds | (overrides or {}), origin)
    # A size (base, half, ...) means a different file at each scale; a model file can also be named directly.
    model_file = CONFIGS / "models" / f"{sizes.models.get(recipe.model, recipe.model)}.yaml"
    if not model_file.is_file():
        files = sorted(file.stem for file in model_file.parent.glob("*.yaml"))
        raise UserError(
            f"{origin}: model {recipe.model!r}: is no size of the scale ({', '.join(sizes.models)}) and no "
            f"file of configs/models ({', '.join(files)})"
        )
    model = validate(ModelConfig, read_yaml(model_file), str(model_file))
    if recipe.tokenizer != "main":  # the model takes the vocabulary size of its tokenizer
        vocab_size = read_tokenizer_recipe(recipe.tokenizer)[0]["vocab_size"]
        model = model.model_copy(update={"vocab_size": round(vocab_size * sizes.vocab_size_factor)})
    if recipe.sequence_length > model.max_position_embeddings:
        raise UserError(
            f"{origin}: sequence_length {recipe.sequence_length} is beyond the model's "
            f"{model.max_position_embeddings} positions"
        )
    return Run(name=path.stem, scale=scale, seed=seed, recipe=recipe, model=model)


def explain(path: Path, scale: str, seed: int, overrides: dict[str, Any]) -> str:
    """Each value of a run with its origin, one a line, as `--print-config` prints them. Raises UserError."""
    run, sizes = load_run(path, scale, seed, overrides), read_scale(scale)
    about, _, files = read_run_file(path)
    lines = []
    for key, value in run.recipe.model_dump(mode="json").items():
        origin = str(files[key]) if key in files else "default of train/config.py"
        if key in about:
            origin = str(path)
        if key in sizes.multiply:
            origin += f", times {sizes.multiply[key]:g} of configs/scales/{scale}.yaml"
        if key in sizes.set:
            origin = f"configs/scales/{scale}.yaml"
        if key in ("init_seed", "data_seed"):
            origin = "--seed"
        if key in overrides:
            origin = "command line"
        lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}  # {origin}")
    model_file = sizes.models.get(run.recipe.model, run.recipe.model)
    for key, value in run.model.model_dump(mode="json").items():
        lines.append(f"model.{key}: {json.dumps(value)}  # configs/models/{model_file}.yaml")
    return "\n".join(lines)


def write_config(path: Path, run: Run) -> None:
    """Write the resolved run as YAML."""
    path.write_text(yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def read_config(path: Path) -> Run:
    """Read a resolved run that `write_config` wrote. Raises UserError if the file is missing or wrong."""
    return validate(Run, read_yaml(path), str(path))
