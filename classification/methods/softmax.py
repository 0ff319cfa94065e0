"""The classifier that every metric is compared with: a linear layer and the cross-entropy of its softmax."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.methods.base import Method


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
