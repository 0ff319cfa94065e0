"""The classifiers that every metric is compared with: a linear layer, or cosines, and the cross-entropy of the softmax."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.methods.base import Method
from repmet.errors import UserError


@MODELS.register_module()
class Softmax(Method):
    """`p(y = i | x) = softmax_i(w_i . f(x) + b_i)`, trained by its cross-entropy.

    Args:
        encoder, head, kwargs: as `Method`.
        num_classes: follows from the training set.
    """

    title = "Softmax"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        num_classes: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.classifier = nn.Linear(self.out_channels, num_classes)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        logits = self.classifier(embeddings)  # (B, N)
        return {"loss": F.cross_entropy(logits, labels), "accuracy": (logits.argmax(-1) == labels).float().mean()}

    def other_rules(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"classifier": self.predict(embeddings)}

    def predict(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings).argmax(-1)


@MODELS.register_module()
class CosineSoftmax(Method):
    """`p(y = i | x) = softmax_i(s cos(w_i, f(x)))`, trained by its cross-entropy; new classes by the cosine to their means.

    The cosine classifier of few-shot learning (S. Gidaris, N. Komodakis, CVPR 2018; Baseline++ of W. Chen et al., 2019).

    Args:
        encoder, head, kwargs: as `Method`.
        num_classes: follows from the training set.
        scale: s; the cosines lie in [-1, 1], and a softmax of those would be nearly flat.

    Raises:
        ValueError: a scale that is not positive.
    """

    title = "Cosine classifier"
    distance = "cosine"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        num_classes: int,
        scale: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        if scale <= 0:
            raise UserError(f"CosineSoftmax: scale must be positive, got {scale}")
        self.directions = nn.Parameter(torch.randn(num_classes, self.out_channels) * self.out_channels**-0.5)  # (N, e)
        self.scale = scale

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    def logits(self, embeddings: Tensor) -> Tensor:
        """(B, N) scaled cosines of embeddings (B, e)."""
        return self.scale * F.normalize(embeddings, dim=-1) @ F.normalize(self.directions, dim=-1).T

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        logits = self.logits(embeddings)
        return {"loss": F.cross_entropy(logits, labels), "accuracy": (logits.argmax(-1) == labels).float().mean()}

    def other_rules(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"classifier": self.predict(embeddings)}

    def predict(self, embeddings: Tensor) -> Tensor:
        return self.logits(embeddings).argmax(-1)
