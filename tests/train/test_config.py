"""The configuration of runs, scales and models: what the files define, and which errors are refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import LlamaForCausalLM

from configs.loader import CONFIGS, UserError, read_yaml, validate
from train.config import ABOUT, Recipe, explain, load_run, read_config, read_scale, write_config
from train.model.flops import flops_per_token
from train.model.llama import ModelConfig, count_parameters

RUNS = sorted((CONFIGS / "runs").glob("*.yaml"))
SCALES = sorted(path.stem for path in (CONFIGS / "scales").glob("*.yaml"))


# Their tokenizers differ from their baseline's, but not in the number of pieces.
SAME_VOCABULARY = {"run06", "run08", "run09"}


def model_config(name: str) -> ModelConfig:
    return validate(ModelConfig, read_yaml(CONFIGS / "models" / f"{name}.yaml"), name)


@pytest.mark.parametrize(
    ("model", "parameters"), [("1b", 1_358_006_272), ("release", 1_633_781_760), ("mini", 1_279_104)]
)
def test_parameters_of_the_model_files(model: str, parameters: int) -> None:
    assert count_parameters(model_config(model)) == parameters


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "models").glob("*.yaml")))
def test_the_formula_counts_the_parameters_of_the_model(name: str, tied: bool) -> None:
    config = model_config(name).model_copy(update={"tie_word_embeddings": tied})
    with torch.device("meta"):  # which allocates nothing
        model = LlamaForCausalLM(config.llama())
    assert count_parameters(config) == sum(weight.numel() for weight in model.parameters())


def test_run_20_takes_8_6_gflop_a_token() -> None:
    config = model_config("1b")
    assert flops_per_token(config, 768) == pytest.approx(8.6e9, rel=0.01)


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_gives_model_and_tokenizer_the_same_vocabulary(scale: str) -> None:
    sizes = read_scale(scale)
    tokenizer = read_yaml(CONFIGS / "tokenizers" / "main.yaml")
    for model in sizes.models.values():
        assert model_config(model).vocab_size == round(tokenizer["vocab_size"] * sizes.vocab_size_factor)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_differs_from_its_base_in_one_value_at_every_scale(path: Path, scale: str) -> None:
    run = load_run(path, scale)
    if run.recipe.base is None:
        assert set(read_yaml(path)) == set(ABOUT)
        return
    base = load_run(path.with_name(f"{run.recipe.base}.yaml"), scale)
    own, others = (r.recipe.model_dump(exclude=set(ABOUT)) for r in (run, base))
    changed = [key for key in own if own[key] != others[key]]
    assert changed == sorted(set(read_yaml(path)) - set(ABOUT))
    assert len(changed) == 1
    # The tokenizer's size and the model's name decide the model's shape; no other key does.
    assert (run.model == base.model) == (
        changed not in (["model"], ["tokenizer"]) or run.name in SAME_VOCABULARY
    )


@pytest.mark.parametrize("scale", SCALES)
def test_run_24_repeats_its_data_ten_times_as_often_as_run_23(scale: str) -> None:
    run23, run24 = (load_run(CONFIGS / "runs" / f"{name}.yaml", scale) for name in ("run23", "run24"))
    assert run24.recipe.tokens_total == run23.recipe.tokens_total
    assert run23.recipe.unique_tokens / run24.recipe.unique_tokens == pytest.approx(10, rel=1e-3)


def test_run_20_at_full_scale_is_that_of_the_paper() -> None:
    run = load_run(CONFIGS / "runs" / "run20.yaml")
    assert run.tokens_per_step == 2048 * 768
    assert run.steps_total == pytest.approx(33_200, rel=1e-3)
    assert run.warmup_steps == 500
    assert run.grad_accum_steps(world_size=2) * run.recipe.micro_batch_size == 32 * 32
    assert run.recipe.schedule == "cosine"


def test_the_demo_takes_300_steps_on_two_processes() -> None:
    run = load_run(CONFIGS / "runs" / "run20.yaml", "demo")
    assert (run.steps_total, run.warmup_steps, run.grad_accum_steps(2)) == (300, 40, 1)


def test_values_come_from_base_run_scale_and_command_line_in_this_order(tmp_path: Path) -> None:
    about = dict.fromkeys(ABOUT, "x") | {"base": None, "named_in_paper": False}
    (tmp_path / "root.yaml").write_text(yaml.safe_dump(about | {"lr": 1e-3, "weight_decay": 0.2}))
    (tmp_path / "child.yaml").write_text(yaml.safe_dump(about | {"base": "root", "lr": 2e-3}))
    demo = read_scale("demo")
    recipe = load_run(tmp_path / "child.yaml", "demo", overrides={"eps": 1e-6}).recipe
    assert recipe.lr == pytest.approx(2e-3 * demo.multiply["lr"])
    assert (recipe.weight_decay, recipe.eps) == (0.2, 1e-6)
    assert recipe.sequence_length == demo.set["sequence_length"]


def test_the_seed_decides_initial_weights_and_data_order_unless_one_is_given() -> None:
    recipe = load_run(RUNS[0], seed=3, overrides={"data_seed": 7}).recipe
    assert (recipe.init_seed, recipe.data_seed) == (3, 7)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"learning_rate": 1e-3}, "learning_rate: unknown key"),
        ({"lr": "fast"}, "lr: .*number"),
        ({"lr": -1.0}, "lr: .*greater than 0"),
        ({"betas": [0.9, 1.5]}, r"betas\.1: .*less than 1"),
        ({"mixture": {"math": -1}}, r"mixture\.math: .*greater than or equal to 0"),
        ({"mixture": {"math": math.inf}}, r"mixture\.math: .*finite number"),
        ({"sequence_length": 512}, "the scale sets sequence_length"),
        (
            {"model": "huge"},
            "model 'huge': is no size of the scale .base, half.* and no file of configs/models",
        ),
        ({"base": "me"}, "is its own base"),
        ({"base": "nobody"}, "nobody.yaml: no such file"),
        ({"title": None}, "says nothing about title"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_error_about_a_wrong_run_file_names_it(tmp_path: Path, own: dict[str, Any], message: str) -> None:
    values = dict.fromkeys(ABOUT, "x") | {"base": None, "named_in_paper": False} | own
    if own == {"title": None}:
        del values["title"]
    path = tmp_path / "me.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=message):
        load_run(path, "demo")


@pytest.mark.parametrize("world_size", [3, 16])
def test_processes_that_do_not_divide_the_batch_are_refused(world_size: int) -> None:
    with pytest.raises(UserError, match=f"8 is not a multiple of {world_size} processes: start a number"):
        load_run(RUNS[0], "demo").grad_accum_steps(world_size)


@pytest.mark.parametrize(
    ("batch", "most", "world_size", "taken"),
    [(8, 4, 1, 4), (8, 4, 4, 2), (8, 4, 8, 1), (2, 4, 1, 2), (12, 4, 2, 3), (14, 6, 2, 1), (2048, 16, 2, 16)],
)
def test_the_micro_batch_is_the_largest_that_divides_the_share(
    batch: int, most: int, world_size: int, taken: int
) -> None:
    run = load_run(RUNS[0], "demo", overrides={"global_batch_size": batch, "micro_batch_size": most})
    assert run.fitted_to(world_size).recipe.micro_batch_size == taken
    assert run.grad_accum_steps(world_size) * taken * world_size == batch
    assert run.fitted_to(world_size).sha256() == run.sha256()


def test_any_model_file_works_at_any_scale() -> None:
    run = load_run(RUNS[0], "demo", overrides={"model": "mini_double"})
    assert run.model == model_config("mini_double")


def test_every_value_is_printed_with_its_origin() -> None:
    path = CONFIGS / "runs" / "run13.yaml"
    said = dict(line.split(": ", 1) for line in explain(path, "demo", 3, {"eps": 1e-6}).splitlines())
    run = load_run(path, "demo", 3, {"eps": 1e-6})
    assert said["lr"] == f"{run.recipe.lr}  # {path}, times 15 of configs/scales/demo.yaml"
    assert said["schedule"] == f'"cosine"  # {path.with_name("run20.yaml")}'
    assert said["eps"] == "1e-06  # command line"
    assert said["init_seed"] == "3  # --seed"
    assert said["sequence_length"] == "128  # configs/scales/demo.yaml"
    assert said["weight_decay"] == "0.1  # default of train/config.py"
    assert said["model.hidden_size"] == "128  # configs/models/demo.yaml"
    assert set(Recipe.model_fields) <= set(said)


def test_a_resolved_run_is_read_back_as_written(tmp_path: Path) -> None:
    run = load_run(RUNS[0], "demo", seed=1)
    write_config(tmp_path / "config.yaml", run)
    assert read_config(tmp_path / "config.yaml") == run


def test_a_key_that_came_later_leaves_the_hash_of_older_runs_as_it_was() -> None:
    run = load_run(RUNS[0], "demo")
    assert "source" not in run.hashed_values()["recipe"]
    other = run.with_recipe(source="jsonl")
    assert other.hashed_values()["recipe"]["source"] == "jsonl"
    assert other.sha256() != run.sha256()


def test_the_hash_ignores_descriptions_and_execution_settings() -> None:
    run = load_run(RUNS[0], "demo")
    assert run.sha256() == load_run(RUNS[0], "demo", overrides={"micro_batch_size": 1}).sha256()
    assert run.sha256() != load_run(RUNS[0], "demo", overrides={"lr": 1e-3}).sha256()
    assert set(ABOUT) < set(Recipe.model_fields)
