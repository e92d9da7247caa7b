"""`source: parquet` and `source: jsonl`: a run reads text and tokenizes it, as most training scripts do.

The order is that of stream.py: it depends on the number of processes, so a checkpoint holds a position for
each process, and the run resumes, exactly, on as many. Losses are not told apart by domain, because a window
joins documents of several.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import xxhash

from configs.loader import UserError
from train.config import Recipe, Run
from train.data.batches import READ_AHEAD, Batch, TrainingData
from train.data.documents import Documents, JsonlDocuments, ParquetDocuments
from train.data.shards import TokenSet
from train.data.stream import Position, TextStream, load_encoder
from train.model.loss import IGNORE
from train.parallel.world import World
from train.preflight import check_vocabulary


class TextSource:
    """Text, tokenized while the run trains. It implements `train.data.source.Source`."""

    numbered: TrainingData | None = None

    def __init__(self, data_root: Path, run: Run, val_tokens: TokenSet) -> None:
        """Read the footers of the shards, or the whole JSONL file.

        Raises UserError if text or tokenizer is missing or damaged, or if the recipe asks for what only token
        shards can do.
        """
        recipe = run.recipe
        if refused := why_refused(recipe):
            raise UserError(f"{run.run_id}: source {recipe.source} {refused}, or pass source=tokens")
        check_vocabulary(val_tokens, run)
        self._encode = load_encoder(data_root / "tokenizers" / recipe.tokenizer)
        self._eod_id = val_tokens.eod_id
        self.location = recipe.source_location or str(data_root / "corpus" / recipe.corpus / "split_corpus")
        self._documents: Documents
        if recipe.source == "parquet":
            self._documents = ParquetDocuments(self.location)
        else:
            self._documents = JsonlDocuments(Path(self.location))
        self.fingerprint = self._documents.fingerprint
        self.tokenizer_sha256 = val_tokens.tokenizer_sha256
        self.domains = ["all"]
        self.unique_tokens: dict[str, int] = {}

    def start(self, run: Run, world: World, after_step: int, positions: Sequence[Sequence[int]]) -> None:
        """Continue at `positions`, or at the beginning before step 1.

        Raises UserError if the checkpoint is of another source or another number of processes, or if there
        are more processes than shards.
        """
        if after_step and not positions:
            raise UserError(
                f"{run.run_id}: its checkpoint says nothing about a position in {run.recipe.source}: until "
                f"step {after_step} it was trained from token shards; start a new run in another folder"
            )
        if after_step and len(positions) != world.size:
            raise UserError(
                f"{run.run_id}: source {run.recipe.source} was read by {len(positions)} processes until step "
                f"{after_step} and can only be read on by as many, not by {world.size}: start "
                f"{len(positions)}"
            )
        self._run, self._world = run, world
        truncates = run.recipe.packing == "truncate"
        stream = TextStream(
            self._documents,
            self._encode,
            self._eod_id,
            run.recipe.sequence_length,
            (run.recipe.data_seed,),
            world.rank,
            world.size,
            truncates,
        )
        self._documents.groups(world.rank, world.size, 0)  # raises if there are too few
        self._position = Position(*positions[world.rank]) if after_step else Position()
        # The targets of truncated documents must be counted before the first backward pass. So a step's
        # micro-batches are read together, and those of the next step while this one computes.
        self._per_step = run.grad_accum_steps(world.size)
        ahead = max(READ_AHEAD, self._per_step)
        self._batches = stream.batches(run.recipe.micro_batch_size, self._position, ahead=ahead)

    def begin_step(self, step: int) -> int:
        """As in Source. One all-reduce: each process adds its targets, its hash and its position."""
        taken = list(islice(self._batches, self._per_step))
        self._step = [batch for batch, _ in taken]
        self._position = taken[-1][1]
        digest = xxhash.xxh3_64()
        for batch in self._step:
            digest.update(batch.input_ids_BT.numpy().tobytes() + batch.targets_BT.numpy().tobytes())
        rows = torch.zeros(self._world.size, 2 + len(Position._fields), dtype=torch.int64)
        n_targets = sum(int((batch.targets_BT != IGNORE).sum()) for batch in self._step)
        rows[self._world.rank] = torch.tensor([n_targets, digest.intdigest() >> 1, *self._position])
        self._rows = self._world.sum(rows.to(self._world.device)).tolist()
        pins = self._world.device.type == "cuda"
        self._waiting = iter([batch.pinned() for batch in self._step] if pins else self._step)
        return sum(row[0] for row in self._rows)

    def next(self) -> Batch:
        """As in Source."""
        return next(self._waiting)

    def span_hash(self) -> str:
        """As in Source: of inputs and targets, by process."""
        return xxhash.xxh3_128_hexdigest(repr([row[1] for row in self._rows]).encode())

    def positions(self) -> tuple[tuple[int, ...], ...]:
        """As in Source: `stream.Position` of each process."""
        return tuple(tuple(row[2:]) for row in self._rows)

    def sequences(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """As in Source: those of the main process, without names of documents."""
        for number, batch in enumerate(self._step):
            for row in range(len(batch.input_ids_BT)):
                yield {"rank": self._world.rank, "micro_batch": number, "row": row}, batch.tokens_of(row)

    def describe(self, n_samples: int) -> str:
        """As in Source: passes are not known before the text has been tokenized."""
        return f"tokenizes while it reads {self._run.recipe.source}: {self.location}"


def why_refused(recipe: Recipe) -> str:
    """What a recipe asks for that a source of text cannot do; empty if nothing."""
    if recipe.source == "jsonl" and recipe.source_location is None:
        return "needs a file: pass source_location=FILE"
    if recipe.mixture is not None or recipe.anneal_mixture is not None:
        return "takes documents as they come, without mixture or anneal_mixture: leave these out"
    if recipe.curriculum:
        return "takes documents as they come, without a curriculum: leave curriculum out"
    if recipe.unique_tokens < recipe.tokens_total:
        return (
            "reads all text before it repeats any, but unique_tokens is less than tokens_total: name a "
            "smaller corpus"
        )
    if recipe.gradient_surgery != "none":
        return "does not tell domains apart, whose gradients pcgrad projects: leave gradient_surgery out"
    if recipe.instruments:
        return "has no sample numbers, by which instruments choose sequences: leave instruments out"
    return ""
