"""With `mask_documents`, a token attends to its own document only, by a mask and by FlexAttention alike."""

import pytest
import torch

from configs.loader import CONFIGS, read_yaml, validate
from tests.train.checkpoint.test_checkpoint import demo_run
from train.model.execution import prepare_layers
from train.model.llama import ModelConfig, build_model, document_positions
from train.model.loss import IGNORE

END = 2  # the end-of-document token


@pytest.fixture(scope="module")
def demo() -> ModelConfig:
    return validate(ModelConfig, read_yaml(CONFIGS / "models" / "demo.yaml"), "demo")


def two_documents(first: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A window with two documents, the first made of the token `first`, and the targets of the second."""
    tokens = torch.cat([torch.full((20,), first), torch.tensor([END]), torch.arange(3, 30)])[None]
    targets = torch.full_like(tokens, IGNORE)
    targets[:, 21:-1] = tokens[:, 22:]
    return tokens, targets


def test_positions_restart_after_each_document() -> None:
    tokens = torch.tensor([[7, 8, END, 9, END, END, 5], [END, 3, 3, 3, 3, 3, 3]])
    expected = [[0, 1, 2, 0, 1, 0, 0], [0, 0, 1, 2, 3, 4, 5]]
    assert document_positions(tokens, END).tolist() == expected


@pytest.mark.parametrize("masked", [True, False])
def test_a_document_attends_to_the_one_before_only_without_masking(demo: ModelConfig, masked: bool) -> None:
    model = build_model(demo, init_seed=0)
    if masked:
        model.keep_documents_apart(END)
    with torch.no_grad():
        (one, _), (other, _) = (model(*two_documents(first)) for first in (50, 60))
    assert (abs(float(one - other)) < 1e-4) is masked


@pytest.mark.parametrize("masked", [True, False])
def test_the_default_path_uses_no_mask(demo: ModelConfig, masked: bool) -> None:
    model = build_model(demo, init_seed=0)
    if masked:
        model.keep_documents_apart(END)
    masks = []
    for layer in model.llama.model.layers:
        layer.self_attn.register_forward_pre_hook(
            lambda _, __, given: masks.append(given.get("attention_mask")), with_kwargs=True
        )
    model(*two_documents(50))
    assert len(masks) == len(model.llama.model.layers)
    assert all((mask is not None) is masked for mask in masks)


def several_documents() -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows with targets, three blocks of FlexAttention long; documents begin inside of blocks."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 60, (2, 301), generator=random)
    tokens[torch.rand(tokens.shape, generator=random) < 0.02] = END
    return tokens[:, :-1], tokens[:, 1:]


def test_flex_attention_gives_the_losses_of_the_mask(demo: ModelConfig) -> None:
    model = build_model(demo, init_seed=0).requires_grad_(False)  # on a CPU, it has no backward pass
    plain, _ = model(*several_documents())
    model.keep_documents_apart(END)
    masked, _ = model(*several_documents())
    model.llama.set_attn_implementation("flex_attention")
    flexible, _ = model(*several_documents())
    assert float(flexible) == pytest.approx(float(masked), rel=1e-6)
    assert float(flexible) != pytest.approx(float(plain), rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_flex_attention_gives_the_gradients_of_the_mask_on_cuda(demo: ModelConfig, recompute: str) -> None:
    def gradients(implementation: str) -> dict[str, torch.Tensor]:
        model = build_model(demo, init_seed=0).cuda()
        prepare_layers(model, demo_run(recompute=recompute).recipe)
        model.keep_documents_apart(END)
        assert model.llama.config._attn_implementation == "flex_attention"
        model.llama.set_attn_implementation(implementation)
        loss, _ = model(*(tokens.cuda() for tokens in several_documents()))
        loss.backward()
        return {name: w.grad for name, w in model.named_weights().items() if w.grad is not None}

    expected, found = gradients("sdpa"), gradients("flex_attention")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 1e-4 * gradient.norm(), name
