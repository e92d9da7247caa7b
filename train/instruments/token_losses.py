"""Validation loss of formulas and prose apart, by a token's frequency, and by its position in the window.

Every target counts once in each of the three divisions, so the bins of a division add up to the loss of the
validation itself. It costs no forward pass: two int8 arrays as long as the validation set, and a sum a bin.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.data.batches import ValidationSet
from train.data.shards import TokenSet
from train.instruments.formulas import formula_tokens
from train.log import finite
from train.model.loss import IGNORE
from train.parallel.world import World

TEXT = ("prose", "formula")
DECILES = tuple(str(decile) for decile in range(1, 11))  # 1: the most frequent tokens
# Training tokens that are counted for the deciles, in pieces from all over the streams: 16 MB of reading. The
# tenth of all occurrences that the rarest tokens make up is then known from 400,000 of them.
COUNTED_TOKENS, PIECE_TOKENS = 4_194_304, 4096


class TokenLosses:
    """Sums of the losses of one validation, by domain, division and bin."""

    def __init__(
        self,
        sets: Mapping[str, ValidationSet],
        frequency_counts_V: np.ndarray,
        pieces: Sequence[bytes],
        world: World,
    ) -> None:
        """`frequency_counts_V`: how often each token occurs in training. `pieces`: each token's bytes."""
        self._world = world
        self._text = {name: torch.from_numpy(formula_rows(windows, pieces)) for name, windows in sets.items()}
        self._decile_V = torch.from_numpy(deciles(frequency_counts_V)).to(world.device)
        self._bins = {"text": TEXT, "frequency_decile": DECILES, "position": position_names(sets)}
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._clear()

    def add(self, domain: str, rows_B: Tensor, targets_BT: Tensor, losses_BT: Tensor) -> None:
        """Add the losses (nats) of some rows of a domain's validation set; targets of IGNORE do not count."""
        counted_BT = targets_BT != IGNORE
        losses_N = losses_BT[counted_BT].double()
        position_T = torch.arange(targets_BT.shape[1], device=targets_BT.device) + 1
        edges = 2 ** torch.arange(len(self._bins["position"]), device=targets_BT.device)
        bins = {
            "text": self._text[domain][rows_B].to(targets_BT.device)[counted_BT],
            "frequency_decile": self._decile_V[targets_BT[counted_BT]],
            "position": (torch.bucketize(position_T, edges, right=True) - 1).expand_as(targets_BT)[
                counted_BT
            ],
        }
        for division, bins_N in bins.items():
            sums = self._sums[division][domain]
            sums[0].index_add_(0, bins_N.long(), losses_N)
            sums[1].index_add_(0, bins_N.long(), torch.ones_like(losses_N))

    def rows(self) -> list[dict[str, Any]]:
        """The fields of the log's rows, summed over all processes, which must all call it. Starts anew."""
        rows = []
        for division, names in self._bins.items():
            for domain, sums in self._sums[division].items():
                nats, tokens = self._world.sum(sums).tolist()
                rows += [
                    {
                        "measure": "loss",
                        "domain": domain,
                        "by": division,
                        "group": name,
                        "loss_nats": finite(nats[i] / tokens[i]),
                        "n_tokens": int(tokens[i]),
                    }
                    for i, name in enumerate(names)
                    if tokens[i]
                ]
        self._clear()
        return rows

    def _clear(self) -> None:
        for division, names in self._bins.items():
            shape, device = (2, len(names)), self._world.device
            self._sums[division] = {
                d: torch.zeros(shape, dtype=torch.float64, device=device) for d in self._text
            }


def formula_rows(windows: ValidationSet, pieces: Sequence[bytes]) -> np.ndarray:
    """Whether each target of a validation set is mathematics (R, T; int8, 0 where there is no target)."""
    targets_RT, owners_R = windows.targets_RT.numpy(), windows.document_R.numpy()
    found_RT = np.zeros(targets_RT.shape, np.int8)
    for document in range(len(windows.id_hashes)):
        rows = np.flatnonzero(owners_R == document)  # in order: together they are the whole document
        there = targets_RT[rows] != IGNORE
        found = np.zeros(there.shape, np.int8)
        found[there] = formula_tokens(targets_RT[rows][there].tolist(), pieces)
        found_RT[rows] = found
    return found_RT


def deciles(counts_V: np.ndarray) -> np.ndarray:
    """Decile 0 to 9 of each token: each holds about a tenth of all occurrences, 0 the most frequent tokens.

    A token lies where the middle of its occurrences lies, so one that makes up more than a tenth leaves the
    deciles beside it emptier. Tokens that never occur are in the last.
    """
    order = np.argsort(-counts_V, kind="stable")
    ends = np.cumsum(counts_V[order], dtype=np.float64)
    middle = (ends - counts_V[order] / 2) / max(1.0, ends[-1])
    found_V = np.empty(len(counts_V), np.int64)
    found_V[order] = np.minimum(9, 10 * middle)
    found_V[counts_V == 0] = 9
    return found_V


def count_tokens(tokens: TokenSet, at_most: int = COUNTED_TOKENS) -> np.ndarray:
    """Occurrences of each token in pieces of the streams, evenly spaced, that hold about `at_most` tokens."""
    counts_V = np.zeros(tokens.vocab_size, np.int64)
    total = sum(stream.n_tokens for stream in tokens.domains.values())
    stride = PIECE_TOKENS * max(1, -(-total // at_most))
    for stream in tokens.domains.values():
        for start in range(0, stream.n_tokens, stride):
            piece = stream.read(start, min(PIECE_TOKENS, stream.n_tokens - start))
            counts_V += np.bincount(piece, minlength=tokens.vocab_size)
    return counts_V


def position_names(sets: Mapping[str, ValidationSet]) -> tuple[str, ...]:
    """Names of the bins of positions in a window, from 1 to its length: `1`, `2-3`, `4-7`, …"""
    length = max(windows.targets_RT.shape[1] for windows in sets.values())
    lows = [1, *(2**power for power in range(1, (length - 1).bit_length()))]
    highs = [*(low - 1 for low in lows[1:]), length]
    return tuple(f"{low}-{high}" if low < high else f"{low}" for low, high in zip(lows, highs, strict=True))
