"""`fsdp`: each process holds a shard of weights, gradients and moments (FSDP2, `fully_shard`)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from train.data.batches import Batch
from train.parallel.ddp import HALF_PRECISION, DataParallel, Tensors


class FullyShardedDataParallel(DataParallel):
    """Gathers the weights of one layer at a time for its forward and backward pass (Zhao et al. 2023).

    Every tensor is a DTensor, sharded evenly over its first dimension. With bf16 or fp16, shards, gradient
    sums and the exchange are fp32; gathered weights have 16 bits.
    """

    name = "fsdp"

    def _wrap(self) -> Any:
        mesh = init_device_mesh(self.world.device.type, (self.world.size,))
        policy = MixedPrecisionPolicy()
        if dtype := HALF_PRECISION.get(self.run.recipe.precision):
            policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
        names = {weight: name for name, weight in self.model.named_weights().items()}
        for layer in self.model.llama.model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        # The root's group holds the rest: the embedding, the head (which may be the same tensor) and the last
        # norm. They stay gathered from the root's forward pass to its backward pass.
        root = fully_shard(self.model, mesh=mesh, mp_policy=policy)
        sharded = self.model.named_weights()
        # Names within torch, which is pinned exactly. On CUDA the collectives run in streams of their own,
        # and the computation waits for them in these methods.
        for part in (*self.model.llama.model.layers, self.model):
            for gathered in part._get_fsdp_state()._fsdp_param_groups:
                for method in ("unshard", "wait_for_unshard", "post_backward", "finalize_backward"):
                    self.exchange.around(gathered, method)
        for group in self.optimizer.param_groups:
            group["params"] = [sharded[names[weight]] for weight in group["params"]]
        return root

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel."""
        self.root.set_requires_gradient_sync(last)
        loss_sum, losses_B = self._forward(batch.input_ids_BT, batch.targets_BT)
        (loss_sum * (self.world.size * self.loss_scale.scale / n_targets)).backward()
        return losses_B

    def evaluate(self, input_ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """As in DataParallel."""
        losses_B = super().evaluate(input_ids_BT, targets_BT)
        self.root.reshard()  # no backward pass follows that would drop the gathered bf16 copies
        return losses_B

    def _forward(self, input_ids_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.root(input_ids_BT, targets_BT)

    def _sum_over_shards(self, tensor: Tensor) -> Tensor:
        return self.world.sum(tensor)

    def _unsharded(self, tensors: Mapping[str, Tensor]) -> Tensors:
        wholes: Tensors = {}
        for name, tensor in tensors.items():
            assert isinstance(tensor, DTensor)
            whole = tensor.full_tensor()  # one at a time: all ranks gather it, the main process keeps it
            if self.world.is_main:
                wholes[name] = whole.to("cpu", copy=True)
        return wholes

    def _shard_of(self, tensor: Tensor) -> Tensor:
        assert isinstance(tensor, DTensor)
        return tensor.to_local().detach()

    def _own_shard(self, whole: Tensor) -> Tensor:
        pieces = whole.chunk(self.world.size)  # as DTensor's Shard(0) does; the last ranks may get none
        return pieces[self.world.rank] if self.world.rank < len(pieces) else whole[:0]
