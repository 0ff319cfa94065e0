"""Guidance by a cost matrix as regularisers of pytorch-metric-learning: they guide the proxies of any loss that has some.

    ProxyAnchorLoss(K, d, weight_regularizer=DistortionRegularizer(D), weight_reg_weight=1.0)

adds `weight_reg_weight * DistortionLoss(D)(proxies)` to the loss.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_metric_learning.regularizers import BaseRegularizer
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.losses.distortion import DistortionLoss
from repmet.model_definitions.losses.rank import RankLoss


class _Guidance(BaseRegularizer):
    """The loss of the proxies, a row a class; of K * m rows, m a class and class by class, the means of the classes."""

    def __init__(self, D: Tensor | Sequence[Sequence[float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = len(D)

    def compute_loss(self, embeddings: Tensor) -> dict[str, dict[str, Any]]:
        if len(embeddings) % self.num_classes:
            raise UserError(f"{len(embeddings)} proxies do not divide among the {self.num_classes} classes of the costs D")
        points = embeddings.unflatten(0, (self.num_classes, -1)).mean(1)  # (K, d)
        return {"loss": {"losses": self.guidance(points), "indices": None, "reduction_type": "already_reduced"}}


class DistortionRegularizer(_Guidance):
    """`DistortionLoss` of the proxies.

    Args:
        D: (K, K), see `model_definitions.costs`. distance, scale_free: of the loss.
        kwargs: as `BaseRegularizer`.

    Raises:
        ValueError: as the loss; proxies that do not divide among the classes.
    """

    def __init__(
        self,
        D: Tensor | Sequence[Sequence[float]],
        distance: str = "euclidean",
        scale_free: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(D, **kwargs)
        self.guidance = DistortionLoss(torch.as_tensor(D), distance, scale_free)


class RankRegularizer(_Guidance):
    """`RankLoss` of the proxies.

    Args:
        D: (K, K), see `model_definitions.costs`. n_triplets, distance: of the loss.
        kwargs: as `BaseRegularizer`.

    Raises:
        ValueError: as the loss; proxies that do not divide among the classes.
    """

    def __init__(
        self,
        D: Tensor | Sequence[Sequence[float]],
        n_triplets: int = 1000,
        distance: str = "euclidean",
        **kwargs: Any,
    ) -> None:
        super().__init__(D, **kwargs)
        self.guidance = RankLoss(torch.as_tensor(D), n_triplets, distance)
