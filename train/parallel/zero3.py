"""`zero3`: DeepSpeed's ZeRO of stage 3, which also shards the weights that the model computes with."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from train.parallel.ddp import Tensors
from train.parallel.zero import Zero


class Zero3(Zero):
    """Gathers the weights of one module at a time for its forward and backward pass.

    DeepSpeed cuts each parameter on its own: rank r holds the r-th of `world.size` equal pieces of its
    elements, the last one padded. A group's partition is the concatenation of its parameters' pieces. The
    code relies on that, and on the attributes that `_load_weights` names; hence the exact pin of its version.

    `PretrainModel` uses the head's weight outside of the head's own forward. DeepSpeed sees the access and
    gathers the weight for as long as the model's forward and backward pass need it.
    """

    def _stage_config(self) -> dict[str, Any]:
        # One sub-group for each parameter group, so that partitions and groups correspond.
        return {"sub_group_size": sys.maxsize}

    def _mark_exchange(self) -> None:
        self.exchange.around(self._inner.parameter_offload.get_param_coordinator(), "fetch_sub_module")
        self.exchange.around(self._inner, "_DeepSpeedZeroOptimizer_Stage3__reduce_and_partition_ipg_grads")

    def _partitions(self) -> list[Tensor]:
        partitions: list[Tensor] = self._inner.fp32_partitioned_groups_flat
        return partitions

    def _load_weights(self, weights: Mapping[str, Tensor]) -> None:
        # As at the end of DeepSpeed's step: fp32 partitions become those that the model computes with, and
        # small parameters, which stay gathered, are gathered again.
        inner = self._inner
        inner.parameter_offload.partition_all_parameters()
        for number in range(len(self._groups)):
            inner._reassign_or_swap_out_partitioned_parameters(number)
        if inner.persistent_parameters:
            inner.persistent_parameters[0].all_gather(inner.persistent_parameters)

    def _named(self, partitions: list[Tensor]) -> Tensors:
        """As in Zero: named tensors from all ranks' partitions, one parameter at a time."""
        tensors: Tensors = {}
        for names, partition in zip(self._groups, partitions, strict=True):
            lengths = [self._piece_length(name) for name in names]
            for name, piece in zip(names, partition.detach().split(lengths), strict=True):
                parts = self.world.gather(piece.contiguous())
                if parts:
                    shape = self._shapes[name]
                    tensors[name] = torch.cat([part.cpu() for part in parts])[: shape.numel()].view(shape)
        return tensors

    def _partition_of(self, tensors: Mapping[str, Tensor], names: list[str], partition: Tensor) -> Tensor:
        """As in Zero: this rank's piece of each tensor, padded with zeros; they are read one at a time."""
        share = torch.zeros(partition.numel(), dtype=torch.float32)
        offset = 0
        for name in names:
            length = self._piece_length(name)
            piece = tensors[name].flatten()[self.world.rank * length :][:length]
            share[offset : offset + len(piece)] = piece
            offset += length
        return share.to(partition.device)

    def _piece_length(self, name: str) -> int:
        return -(-self._shapes[name].numel() // self.world.size)
