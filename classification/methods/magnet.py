"""Magnet loss (O. Rippel, M. Paluri, P. Dollar, L. Bourdev, ICLR 2016)."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from repmet.classification.methods.base import ClassRepresentatives, Method
from repmet.classification.metrics.accuracies import batch_accuracy
from repmet.errors import UserError
from repmet.model_definitions.cluster_index import ClusterIndex
from repmet.model_definitions.losses.magnet import magnet_loss


@MODELS.register_module()
class Magnet(Method):
    """Learns from M neighbouring clusters of different classes, D samples of each; the nearest clusters decide (kNC, eq. 6).

    Eq. 4 and 5, with mu_m the batch's mean of cluster m, C(m) its class, sigma^2 the variance of samples about the means:

        `L = 1 / (M D) sum_md [alpha + d2_mdm / (2 sigma^2) + log sum_{l: C(l) != C(m)} exp(-d2_mdl / (2 sigma^2))]_+`
        `d2_mdl = |f(x_md) - mu_l|^2`

    The cluster index is part of the method and of its checkpoints; `IndexHook` refreshes it while training, and
    `ClusterBatchSampler` draws the batches from it.

    Args:
        encoder, head, kwargs: as `Method`.
        per_cluster: D, samples of each cluster in a batch; follows from the batch sampler.
        num_clusters: K of each class.
        alpha: the desired gap between own and other clusters.
    """

    title = "Magnet"
    rule = "magnet"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        per_cluster: int,
        num_clusters: int = 3,
        alpha: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.per_cluster, self.alpha = per_cluster, alpha
        self.index = ClusterIndex(num_clusters)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        if batch.get("type") != "ClusterBatchSampler":
            raise UserError("Magnet learns from clusters: train_dataloader.batch_sampler is a ClusterBatchSampler")
        model["per_cluster"] = batch["per_cluster"]

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        embeddings = embeddings.unflatten(0, (-1, self.per_cluster))  # (M, D, e)
        classes = labels[:: self.per_cluster]  # (M,)
        losses, sigma2 = magnet_loss(embeddings, classes, self.alpha, reduction="none")
        self.index.update_losses(indices, losses)
        self.index.update_sigma2(sigma2)
        return {"loss": losses.mean(), "accuracy": batch_accuracy(embeddings, classes)}

    def class_representatives(self) -> ClassRepresentatives | None:
        if not self.index.ready:
            return None
        return ClassRepresentatives(self.index.centres, float(self.index.sigma2), self.index.counts)
