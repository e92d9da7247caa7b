"""Send the numbers of the log to experiment trackers: TensorBoard, Weights & Biases.

    torchrun ... train/pretrain.py configs/runs/run20.yaml sinks='[tensorboard, wandb]'

Both are optional (pip install -e '.[tracking]'); analysis reads the log only. TensorBoard writes to
tensorboard/ in the run's folder. Weights & Biases takes account and mode from its own environment variables
(WANDB_API_KEY, WANDB_MODE=offline, ...), which are never logged here.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from configs.loader import UserError

Name = Literal["tensorboard", "wandb"]
_PLACE = ("kind", "step", "tokens_seen", "time_utc", "wall_s", "domain")  # these locate a row


class Sink(Protocol):
    """An experiment tracker that receives the numbers of the log."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Record the numbers of one row by name."""

    def flush(self) -> None:
        """Write everything recorded so far to disk."""

    def close(self) -> None:
        """Finish: no row follows."""


class TensorBoard:
    """Writes to tensorboard/ in the run's folder."""

    def __init__(self, folder: Path, run_id: str, after_step: int, header: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Rows that an earlier start wrote beyond the checkpoint are void; TensorBoard hides purged steps.
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
    """Keeps one Weights & Biases run for each run's folder, across restarts."""

    def __init__(self, folder: Path, run_id: str, after_step: int, header: dict[str, Any]) -> None:
        import wandb

        identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._run = wandb.init(
            project="arxiv-to-model", name=run_id, id=identity, resume="allow", dir=str(folder), config=header
        )
        # The tracker's own step counter must not go back, as it would when a restart repeats steps.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """As in Sink."""
        self._run.log({"step": step} | values)

    def flush(self) -> None:
        """Nothing to do: a background process writes by itself."""

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
    """Open the named sinks; steps after `after_step` will be written again.

    Raises UserError if a sink's package is not installed.
    """
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
    """The numbers of a log row, named <kind>/<key> or, in rows of a domain, <kind>/<key>/<domain>."""
    place = f"/{row['domain']}" if "domain" in row else ""
    return {
        f"{row['kind']}/{key}{place}": float(value)
        for key, value in row.items()
        if key not in _PLACE and isinstance(value, int | float)
    }
