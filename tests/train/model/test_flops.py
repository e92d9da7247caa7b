"""FLOPs of a token agree with torch's counter; peak FLOP/s depend on the device's full name."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from configs.loader import CONFIGS, read_yaml, validate
from train.model.flops import flops_per_token, peak_flop_per_s
from train.model.llama import ModelConfig, build_model


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_flops_equal_those_that_torch_counts(tied: bool) -> None:
    shape = read_yaml(CONFIGS / "models" / "demo.yaml") | {"tie_word_embeddings": tied}
    config, length = validate(ModelConfig, shape, "demo"), 64
    model = build_model(config, 0)
    ids = torch.zeros((1, length), dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids, ids)[0].backward()
    # torch does not count its attention kernel on CPUs, so the formula is compared without the attention
    # term.
    assert flops_per_token(config, 0) * length == pytest.approx(counter.get_total_flops(), rel=0.005)


def test_the_lookup_of_an_untied_embedding_costs_no_flops() -> None:
    shape = read_yaml(CONFIGS / "models" / "release.yaml")
    release = validate(ModelConfig, shape, "release")
    tied = validate(ModelConfig, shape | {"tie_word_embeddings": True}, "release, tied")
    assert flops_per_token(release, 768) == flops_per_token(tied, 768)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H1000", None),
        ("cpu", None),
    ],
)
def test_a_device_has_its_own_peak_or_none(name: str, peak: float | None) -> None:
    assert peak_flop_per_s(name) == peak
