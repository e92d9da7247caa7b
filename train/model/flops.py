"""FLOPs a token and peak FLOP/s of a device, for the MFU (model FLOPs utilisation)."""

from train.model.llama import ModelConfig, count_parameters

# Dense bf16 FLOP/s from NVIDIA's data sheets, by full device name, because the variants of a generation
# differ.
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
    """Dense bf16 FLOP/s of one device; None if it is not listed, and then the log has no MFU."""
    return PEAK_FLOP_PER_S.get(device_name)


def flops_per_token(model: ModelConfig, sequence_length: int) -> float:
    """FLOPs of forward and backward pass for one token: 6 P + 12 L D T (Chowdhery et al. 2022, appendix B).

    P counts the parameters used in matrix products, L layers of width D, T positions. A tied head is among P;
    the embedding of an untied model is not, as it is only looked up.
    """
    parameters = count_parameters(model)
    if not model.tie_word_embeddings:
        parameters -= model.vocab_size * model.hidden_size
    return 6.0 * parameters + 12.0 * model.num_hidden_layers * model.hidden_size * sequence_length
