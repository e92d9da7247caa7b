"""Checks before any work begins: do tokens, device and disk suffice for the run?"""

import shutil
from pathlib import Path

from configs.loader import UserError, format_bytes
from train.checkpoint.load import list_checkpoints
from train.config import Run
from train.data.shards import TokenSet
from train.model.llama import count_parameters
from train.parallel.world import World
from train.planning.disk import checkpoint_bytes

# A CPU does about 10^11 FLOP/s. At 6 FLOPs a parameter and token, a model of this size gets 170 tokens/s.
CPU_MAX_PARAMETERS = 100_000_000


def check_vocabulary(tokens: TokenSet, run: Run) -> None:
    """Raise UserError if the tokens' vocabulary exceeds the model's."""
    if tokens.vocab_size > run.model.vocab_size:
        raise UserError(
            f"{tokens.folder}: its tokenizer has {tokens.vocab_size:,} pieces, the model only "
            f"{run.model.vocab_size:,}: the tokens are not of the run's scale ({run.scale}): pass the "
            f"matching --scale or --data"
        )


def check_tokens(tokens: TokenSet, run: Run) -> None:
    """Raise UserError if the vocabulary exceeds the model's or the tokens do not fill one step."""
    check_vocabulary(tokens, run)
    n_tokens = min(sum(stream.n_tokens for stream in tokens.domains.values()), run.recipe.unique_tokens)
    if n_tokens < run.tokens_per_step:
        raise UserError(
            f"{tokens.folder}: {n_tokens:,} unique tokens are too few: one step takes "
            f"{run.tokens_per_step:,}; add papers or lower global_batch_size"
        )


def check_device(run: Run, world: World) -> None:
    """Raise UserError if there is no GPU and the model has more than CPU_MAX_PARAMETERS."""
    parameters = count_parameters(run.model)
    if world.device.type == "cpu" and parameters > CPU_MAX_PARAMETERS:
        raise UserError(
            f"{run.run_id}: there is no GPU (torch sees none), and {parameters:,} parameters are too many "
            f"for a CPU: start the run on a machine with a GPU, or pass --scale mini or demo"
        )


def check_disk(run: Run, folder: Path) -> None:
    """Raise UserError if the disk of `folder` has no room for the run's checkpoints."""
    needed = checkpoint_bytes(run)
    there = list_checkpoints(folder / "checkpoints")
    needed -= sum(path.stat().st_size for checkpoint in there for path in checkpoint.iterdir())
    existing = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    if (free := shutil.disk_usage(existing).free) < needed:
        raise UserError(
            f"{folder}: {format_bytes(free)} are free, its checkpoints take {format_bytes(needed)} more: "
            f"make room, choose another place (--out, ARXIV_RUNS), or keep fewer (keep_last, keep_every)"
        )
