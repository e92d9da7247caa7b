"""The model: Llama (Touvron et al. 2023) as the transformers library builds it, with our own loss.

With the library's model, `generate`, vLLM and lm-eval need no conversion of weights. Its loss would hold all
logits in memory at once, so `loss.py` replaces it.

Importing the library's model takes seconds. It is done where a model is built: planning, the study's list and
a refused start need only the shape.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from configs.loader import Config
from train.model.loss import chunked_cross_entropy, default_chunk_tokens

if TYPE_CHECKING:
    from transformers import LlamaConfig


class ModelConfig(Config):
    """Shape of a model; the names are those of `transformers.LlamaConfig`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    tie_word_embeddings: bool
    max_position_embeddings: int = 4096  # the paper's context length; training uses `sequence_length` of it
    rope_theta: float = 10_000.0  # Llama 1 and 2
    rms_norm_eps: float = 1e-5  # Llama 2
    initializer_range: float = 0.02  # Llama's

    def llama(self) -> "LlamaConfig":
        """The same shape as a configuration of the library."""
        from transformers import LlamaConfig

        shape = self.model_dump(exclude={"rope_theta"})
        return LlamaConfig(
            **shape,
            num_key_value_heads=self.num_attention_heads,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            use_cache=False,
            bos_token_id=None,
            pad_token_id=None,
        )


class PretrainModel(nn.Module):
    """Llama with the loss inside `forward`.

    DDP, ZeRO and FSDP gather parameters for the root module's forward. A head used outside of it would see
    only a shard of its weight.
    """

    def __init__(self, config: ModelConfig) -> None:
        from transformers import LlamaForCausalLM

        super().__init__()
        self.llama = LlamaForCausalLM(config.llama())
        self.document_end_id: int | None = None  # if set, a token attends to its own document only
        self.head_chunk_tokens: int | None = None  # None: the default of the device
        self.token_losses_BT: Tensor | None = None  # nats, of the latest forward pass (fp32, detached)

    def forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Losses in nats, summed over all targets except IGNORE.

        Returns the sum over the batch (scalar, fp32, differentiable) and each sequence's sum (B, fp32,
        detached). Inputs and targets are int64; targets are already shifted by one.
        """
        positions_BT = None
        if self.document_end_id is not None:
            positions_BT = document_positions(input_ids_BT, self.document_end_id)
        # From positions that restart at 0 the library derives a mask that keeps documents apart (for
        # FlexAttention, the blocks to visit), but only without cache and attention_mask. Without positions
        # there is no mask, and the flash kernel runs.
        hidden_BTD = self.llama.model(
            input_ids=input_ids_BT, position_ids=positions_BT, use_cache=False
        ).last_hidden_state
        if torch.is_autocast_enabled(hidden_BTD.device.type):
            # The last norm multiplies by its fp32 weight. The head is a matrix product like any other.
            hidden_BTD = hidden_BTD.to(torch.get_autocast_dtype(hidden_BTD.device.type))
        loss_sum, losses_N = chunked_cross_entropy(
            hidden_BTD.flatten(0, 1),
            self.llama.lm_head.weight,
            targets_BT.flatten(),
            self.head_chunk_tokens or default_chunk_tokens(hidden_BTD.device),
        )
        self.token_losses_BT = losses_N.view_as(targets_BT)
        return loss_sum, self.token_losses_BT.sum(dim=1)

    def keep_documents_apart(self, document_end_id: int) -> None:
        """Let each token attend to its own document only. Call this when the model is on its device.

        On CUDA, FlexAttention (Dong et al. 2024) takes the place of a mask: it skips blocks of 128 x 128
        that lie between documents and holds no tensor of T x T. Results differ by rounding only.
        """
        self.document_end_id = document_end_id
        if self.llama.device.type == "cuda":
            self.llama.set_attn_implementation("flex_attention")

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Each distinct parameter by its name in a Hugging Face checkpoint; a tied head is absent."""
        return dict(self.llama.named_parameters())


def document_positions(input_ids_BT: Tensor, document_end_id: int) -> Tensor:
    """Position of each token in its document (B, T, int64); counting starts anew with each window."""
    index_T = torch.arange(input_ids_BT.shape[1], device=input_ids_BT.device)
    begins_BT = torch.zeros_like(input_ids_BT, dtype=torch.bool)
    begins_BT[:, 1:] = input_ids_BT[:, :-1] == document_end_id
    return index_T - torch.where(begins_BT, index_T, 0).cummax(dim=1).values


def build_model(config: ModelConfig, init_seed: int) -> PretrainModel:
    """Model with fp32 weights that depend on `init_seed` alone: the same on every rank."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return PretrainModel(config)


def count_parameters(config: ModelConfig) -> int:
    """Number of distinct parameters of Llama (Touvron et al. 2023); a tied head has none of its own.

    A layer has four square projections, three matrices of the FFN and two norms.
    """
    width, embedding = config.hidden_size, config.vocab_size * config.hidden_size
    attention, ffn, norms = 4 * width**2, 3 * width * config.intermediate_size, 2 * width
    layers = config.num_hidden_layers * (attention + ffn + norms)
    return embedding * (1 if config.tie_word_embeddings else 2) + layers + width  # the last norm


def rope_frequencies(model: nn.Module) -> dict[str, Tensor]:
    """The rotary frequencies by buffer name (Su et al. 2021, equation 15).

    They must stay fp32: bf16 has 8 bits of precision, too few for the angles of far positions.
    """
    return {name: buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")}
