"""`fsdp`: each process holds its share of weights, gradients and moments (FSDP2, `fully_shard`)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from train.data.batches import Batch
from train.parallel.ddp import DataParallel, Tensors


class FullyShardedDataParallel(DataParallel):
    """Weights are gathered layer by layer for the forward and backward pass and dropped again.

    Every tensor is a DTensor whose rows are cut in even pieces. bf16: shares, gradient sums and the exchange
    are fp32, what is gathered to compute with is bf16.
    """

    name = "fsdp"

    def _wrap(self) -> Any:
        mesh = init_device_mesh(self.world.device.type, (self.world.size,))
        policy = MixedPrecisionPolicy()
        if self.run.recipe.precision == "bf16":
            policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        names = {weight: name for name, weight in self.model.named_weights().items()}
        for layer in self.model.llama.model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        # The root's group holds what no layer does: the embedding, the head that may be the same tensor, and
        # the last norm. They stay gathered from the root's forward, which uses the head, to the backward.
        root = fully_shard(self.model, mesh=mesh, mp_policy=policy)
        sharded = self.model.named_weights()
        for group in self.optimizer.param_groups:
            group["params"] = [sharded[names[weight]] for weight in group["params"]]
        return root

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel."""
        self.root.set_requires_gradient_sync(last)
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        (loss_sum * (self.world.size / n_targets)).backward()
        return losses_B

    def evaluate(self, input_ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """As in DataParallel."""
        losses_B = super().evaluate(input_ids_BT, targets_BT)
        self.root.reshard()  # no backward pass will do it, and a gathered weight is a stale bf16 copy
        return losses_B

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.root(input_ids_BT, targets_BT)

    def _sum_of_shares(self, tensor: Tensor) -> Tensor:
        return self.world.sum(tensor)

    def _whole(self, tensors: Mapping[str, Tensor]) -> Tensors:
        wholes: Tensors = {}
        for name, tensor in tensors.items():
            assert isinstance(tensor, DTensor)
            whole = tensor.full_tensor()  # one at a time: all ranks gather, one keeps
            if self.world.is_main:
                wholes[name] = whole.to("cpu", copy=True)
        return wholes

    def _share_of(self, tensor: Tensor) -> Tensor:
        assert isinstance(tensor, DTensor)
        return tensor.to_local().detach()

    def _cut(self, whole: Tensor) -> Tensor:
        pieces = whole.chunk(self.world.size)  # as DTensor's Shard(0) cuts: the last ranks may have nothing
        return pieces[self.world.rank] if self.world.rank < len(pieces) else whole[:0]
