"""What our losses share in the terms of pytorch-metric-learning.

All are called as loss(embeddings (B, e), labels (B,), indices_tuple=None), give one loss a sample to the reducer, weigh the
samples as often as a miner's tuples name them, and take raw embeddings: norms mean something here, so the `distance` that
PML's losses take is refused. Parameters keep their type under autocast.
"""

import sys
from typing import Any

import torch
import torch.distributed as dist
from pytorch_metric_learning.losses import BaseMetricLossFunction
from pytorch_metric_learning.utils import common_functions as c_f
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch import Tensor

from repmet.errors import UserError


def per_sample(losses: Tensor, indices: Tensor) -> dict[str, Any]:
    return {"losses": losses, "indices": indices, "reduction_type": "element"}


def whole(loss: Tensor) -> dict[str, Any]:
    return {"losses": loss, "indices": None, "reduction_type": "already_reduced"}


def sample_weights(indices_tuple: Any, labels: Tensor, losses: Tensor) -> Tensor:
    """How often a miner's tuples name each sample, relative to the one named most; 1 without a miner. (B,)"""
    return lmu.convert_to_weights(indices_tuple, labels, dtype=losses.dtype)


class BaseBatchLoss(BaseMetricLossFunction):
    """What all of ours ask for: labels, no other references than the batch, and at least float32, also under autocast: PML
    adds losses up in the type of the embeddings.

    Raises:
        ValueError: a `distance`: the losses' own formulas say which it is.
    """

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("distance") is not None:
            raise UserError(f"{type(self).__name__} takes no distance: its formula says which it is; leave it out")
        super().__init__(**kwargs)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: Any = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        return super().forward(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    def compute_loss(
        self, embeddings: Tensor, labels: Tensor, indices_tuple: Any, ref_emb: Tensor, ref_labels: Tensor
    ) -> dict[str, Any]:
        c_f.labels_required(labels)
        c_f.ref_not_supported(embeddings, labels, ref_emb, ref_labels)
        return self.own_loss(embeddings, labels, indices_tuple) if len(labels) else self.zero_losses()

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        raise NotImplementedError


class BaseGroupedLoss(BaseBatchLoss):
    """Losses of batches with as many samples of every class, in any order, such as PML's `MPerClassSampler` gives.

    Of a batch that PML's DistributedLossWrapper has gathered, all processes see the samples in one order.
    """

    least = 2  # samples of a class

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        groups, counts = labels.unique(return_counts=True)
        if len(groups) < 2:  # nothing to tell apart
            return self.zero_losses()
        if counts.min() != counts.max() or counts[0] < self.least:
            raise UserError(
                f"{type(self).__name__} takes batches with as many samples of every class, at least {self.least}, not "
                f"{counts.min().item()}..{counts.max().item()}; draw them by MPerClassSampler or ClassBatchSampler"
            )
        order = _order_of_ranks(len(labels)).to(labels.device)
        order = order[labels[order].argsort(stable=True)]
        losses, kept = self.grouped_loss(embeddings[order].unflatten(0, (len(groups), -1)), groups)
        indices = order.view(len(groups), -1)[:, kept].flatten()
        return {"loss": per_sample(losses.flatten() * sample_weights(indices_tuple, labels, losses)[indices], indices)}

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        """Losses (M, d) of embeddings (M, D, e) of the groups (M,), and which d of the D samples they are of."""
        raise NotImplementedError


def _order_of_ranks(number: int) -> Tensor:
    """The samples (n,) in the order of the processes that they came from: the wrapper puts each process' own ones first.

    0..n-1 where the batch is this process' own.
    """
    order = torch.arange(number)
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1 or not _gathered():
        return order
    local, *others = order.chunk(dist.get_world_size())
    others.insert(dist.get_rank(), local)
    return torch.cat(others)


def _gathered() -> bool:
    """Whether a DistributedLossWrapper is calling: a loss is not told."""
    frame = sys._getframe()
    while frame is not None and frame.f_code is not DistributedLossWrapper.forward_regular_loss.__code__:
        frame = frame.f_back
    return frame is not None
