"""TensorBoard and Weights & Biases beside the log, fed from the rows that the log gets.

    torchrun ... train/pretrain.py configs/runs/run20.yaml sinks='[tensorboard, wandb]'

Neither is needed: pip install -e '.[tracking]'. The log stays what analysis reads. TensorBoard's files lie in
the run's folder, in tensorboard/; Weights & Biases takes its account and mode from its own environment
(WANDB_API_KEY, WANDB_MODE=offline, ...), of which nothing is written here.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from configs.loader import UserError

Name = Literal["tensorboard", "wandb"]
_PLACE = ("kind", "step", "tokens_seen", "time_utc", "wall_s", "domain")  # say where a row belongs


class Sink(Protocol):
    """Where numbers go besides the log."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one row by name."""

    def flush(self) -> None:
        """Bring to the disk what was given so far."""

    def close(self) -> None:
        """The run ends here."""


class TensorBoard:
    """tensorboard/ in the run's folder."""

    def __init__(self, folder: Path, run_id: str, after_step: int, header: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier restart wrote beyond the checkpoint is void: TensorBoard is told to hide it.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)
        self._writer.add_text("header", "\n".join(f"    {key}: {value}" for key, value in header.items()))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """As in Sink."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """As in Sink."""
        self._writer.flush()

    def close(self) -> None:
        """As in Sink."""
        self._writer.close()


class WeightsAndBiases:
    """One run there for a run's folder here, whatever its restarts."""

    def __init__(self, folder: Path, run_id: str, after_step: int, header: dict[str, Any]) -> None:
        import wandb

        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project="arxiv-to-model", name=run_id, id=identity, resume="allow", dir=str(folder), config=header
        )
        # Its own counter refuses steps that a restart does again.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """As in Sink."""
        self._run.log({"step": step} | values)

    def flush(self) -> None:
        """A process of its own writes what it was given."""

    def close(self) -> None:
        """As in Sink."""
        self._run.finish()


KINDS: dict[Name, type[TensorBoard] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def open_sinks(
    names: Sequence[Name], folder: Path, run_id: str, after_step: int, header: dict[str, Any]
) -> list[Sink]:
    """The sinks of these names. Raises UserError where their package is missing."""
    sinks: list[Sink] = []
    for name in names:
        try:
            sinks.append(KINDS[name](folder, run_id, after_step, header))
        except ImportError as error:
            raise UserError(
                f"sinks: {name} is not installed ({error}): pip install -e '.[tracking]', or leave it out"
            ) from None
    return sinks


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a log row, named after its kind and domain."""
    place = f"/{row['domain']}" if "domain" in row else ""
    return {
        f"{row['kind']}/{key}{place}": float(value)
        for key, value in row.items()
        if key not in _PLACE and isinstance(value, int | float)
    }
