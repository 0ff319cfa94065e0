"""Our losses in the terms of pytorch-metric-learning: its trainers, miners, reducers, regularisers and distributed wrappers
take them like its own, and a YAML file names them in the same way. What they share: `classification.pml.base`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import WeightRegularizerMixin
from pytorch_metric_learning.utils import common_functions as c_f
from torch import Tensor

from repmet.classification.pml.base import BaseBatchLoss, BaseGroupedLoss, per_sample, sample_weights
from repmet.classification.pml.probabilistic_proxy_loss import ProbabilisticProxyLoss
from repmet.errors import UserError
from repmet.model_definitions.losses.magnet import magnet_loss
from repmet.model_definitions.losses.prototypical import prototypical_log_probabilities
from repmet.model_definitions.losses.repmet import RepMetLoss as RepMetCriterion
from repmet.model_definitions.representatives import Representatives, soft_log_posterior

__all__ = ["MagnetLoss", "ProbabilisticProxyLoss", "PrototypicalLoss", "RepMetLoss"]


class RepMetLoss(WeightRegularizerMixin, BaseBatchLoss):
    """RepMet's losses over learnt representatives, K of each class (`model_definitions.losses.repmet`).

    Args:
        num_classes, embedding_size: N and e. num_modes: K.
        variant: one of `repmet.LOSSES`. arguments: its own, such as {margin: 0.5, sigma: 0.5}.
        normalize: hold the representatives on the unit sphere.
        kwargs: PML's; its weight regulariser sees (N * K, e).
    """

    def __init__(
        self,
        num_classes: int,
        embedding_size: int,
        num_modes: int = 3,
        variant: str = "cvpr",
        arguments: dict[str, Any] | None = None,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.criterion = RepMetCriterion(variant, **(arguments or {}), reduction="none")
        self.sigma = float(self.criterion.arguments.get("sigma", 0.5))
        self.representatives = Representatives(
            num_classes, num_modes, embedding_size, normalize=normalize, separable=False, std=embedding_size**-0.5
        )

    def own_loss(self, embeddings: Tensor, labels: Tensor, indices_tuple: Any) -> dict[str, Any]:
        losses = self.criterion(self.representatives(embeddings), labels)  # (B,)
        losses = losses * sample_weights(indices_tuple, labels, losses)
        terms = {"loss": per_sample(losses, c_f.torch_arange_from_size(embeddings))}
        self.add_weight_regularization_to_loss_dict(terms, self.representatives.weight.flatten(0, 1))
        return terms

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Log posteriors (B, N)."""
        return soft_log_posterior(self.representatives(embeddings), self.sigma)


class MagnetLoss(BaseGroupedLoss):
    """Magnet loss over the clusters of a batch (`model_definitions.losses.magnet`).

    Args:
        alpha: the desired gap.
        clusters_per_class: K: labels are then `class * K + cluster`, as in `ClusterIndex.assignment`; 1: they are classes.
    """

    def __init__(self, alpha: float = 1.0, clusters_per_class: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha, self.clusters_per_class = alpha, clusters_per_class

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        losses, _ = magnet_loss(embeddings, groups // self.clusters_per_class, self.alpha, reduction="none")
        return losses, slice(None)


class PrototypicalLoss(BaseGroupedLoss):
    """The loss of Prototypical Networks: of every class of the batch the first samples are the support, the others queries.

    Args:
        shot: support samples of each. distance_to_prototypes: "squared_euclidean" or "cosine".
    """

    def __init__(self, shot: int = 1, distance_to_prototypes: str = "squared_euclidean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if shot < 1:
            raise UserError(f"an episode needs at least 1 support sample of each class, not {shot}")
        self.shot, self.least, self.distance_to_prototypes = shot, shot + 1, distance_to_prototypes

    def grouped_loss(self, embeddings: Tensor, groups: Tensor) -> tuple[Tensor, slice]:
        support, query = embeddings[:, : self.shot], embeddings[:, self.shot :]
        log_probabilities = prototypical_log_probabilities(
            support.flatten(0, 1), query.flatten(0, 1), len(groups), self.distance_to_prototypes
        )
        targets = torch.arange(len(groups), device=groups.device).repeat_interleave(query.shape[1])
        losses = F.nll_loss(log_probabilities, targets, reduction="none")
        return losses.view(len(groups), -1), slice(self.shot, None)
