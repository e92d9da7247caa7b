"""`gradient_surgery: pcgrad` (Run 11): remove from each domain's gradient what conflicts with the others.

The method is algorithm 1 of Yu et al. 2020, "Gradient Surgery for Multi-Task Learning" (arXiv 2001.06782),
with a domain as a task.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from train.config import DOMAINS
from train.data.batches import Batch
from train.data.order import permutation
from train.parallel.ddp import DataParallel
from train.parallel.gradients import dot, gradient_of, sum_over_processes


class PCGrad(DataParallel):
    """DataParallel that holds one gradient for each of the three domains.

    A domain's gradient is that of its part of the step's mean loss, so without conflicts the domains'
    gradients add up to the plain gradient.
    """

    def _wrap(self) -> Any:
        self._by_domain: list[list[Tensor]] = []
        return self.model  # no DDP: `backward` exchanges the gradients of each domain

    def backward(self, batch: Batch, n_targets: int, last: bool) -> Tensor:
        """As in DataParallel; after the last micro-batch the weights' gradients are the projected ones."""
        weights = list(self.model.parameters())
        bf16 = self.run.recipe.precision == "bf16"
        if not self._by_domain:
            self._by_domain = [[torch.zeros_like(w) for w in weights] for _ in DOMAINS]
        losses_B = torch.empty(len(batch.domains_B), device=self.world.device)
        for domain in batch.domains_B.unique().tolist():
            rows_B = batch.domains_B == domain
            inputs_BT, targets_BT = batch.input_ids_BT[rows_B], batch.targets_BT[rows_B]
            gradient, losses_B[rows_B] = gradient_of(self.model, bf16, inputs_BT, targets_BT, n_targets)
            torch._foreach_add_(self._by_domain[domain], gradient)
        if last:
            if self.world.size > 1:
                with self.exchange.waiting():
                    for gradients in self._by_domain:
                        sum_over_processes(gradients, self.world)
            # The number of updates is part of a checkpoint, so a resumed run draws the same random orders.
            updates = int(self._update_count(weights[0]))
            key = (self.run.recipe.data_seed, "pcgrad", updates)
            for weight, projected in zip(weights, project(self._by_domain, key), strict=True):
                weight.grad = projected
            self._by_domain = []
        return losses_B

    def _update_count(self, weight: Tensor) -> float:
        return float(self.optimizer.state.get(weight, {}).get("step", 0))


def project(by_task: Sequence[Sequence[Tensor]], key: tuple[object, ...]) -> list[Tensor]:
    """The sum of the tasks' gradients, each projected onto the normal planes of those it conflicts with.

    `by_task` holds each task's gradients of all parameters, which together form one vector. `key` seeds the
    order in which a task's gradient is compared with the others. Dot products are summed in fp64.
    """
    tasks = [task for task, gradients in enumerate(by_task) if dot(gradients, gradients) > 0]
    total = [torch.zeros_like(gradient) for gradient in by_task[0]]
    for task in tasks:
        own = [gradient.clone() for gradient in by_task[task]]
        others = [other for other in tasks if other != task]
        for position in permutation(len(others), (*key, task)).tolist():
            other = by_task[others[position]]
            if (conflict := dot(own, other)) < 0:
                torch._foreach_add_(own, list(other), alpha=-conflict / dot(other, other))
        torch._foreach_add_(total, own)
    return total
