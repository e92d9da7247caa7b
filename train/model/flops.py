"""How many FLOPs a token takes, and how many a device can do: the two sides of an MFU."""

from train.model.llama import ModelConfig, count_parameters

# Dense bf16 FLOP/s by the vendor's data sheets, by the device's full name: one generation has several.
PEAK_FLOP_PER_S = {
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H200 NVL": 835e12,
}


def peak_flop_per_s(device_name: str) -> float | None:
    """Peak of one device; None for one that is not listed, which then gets no MFU."""
    return PEAK_FLOP_PER_S.get(device_name)


def flops_per_token(model: ModelConfig, sequence_length: int) -> float:
    """FLOPs of forward and backward for one token: 6N + 12 L d T (Chowdhery et al. 2022, appendix B).

    N counts the weights that take part in products. A tied head is one of them; the embedding of an untied
    model is only looked up.
    """
    parameters = count_parameters(model)
    if not model.tie_word_embeddings:
        parameters -= model.vocab_size * model.hidden_size
    return 6.0 * parameters + 12.0 * model.num_hidden_layers * model.hidden_size * sequence_length
