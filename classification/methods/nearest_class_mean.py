"""Nearest class mean: nothing is learnt but where the classes lie, one pass over the images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from torch import Tensor

from repmet.classification.methods.base import SIGMA2, ClassRepresentatives, Method


@MODELS.register_module()
class NearestClassMean(Method):
    """`argmin_c |f(x) - mu_c|`, with mu_c the mean embedding of the class's training images.

    Training does not change the network: an epoch is the pass that adds the embeddings up. The class means are those of
    all images seen so far, so one epoch over every image once is all there is to do.

    Args:
        encoder, head, kwargs: as `Method`.
        num_classes: follows from the training set.
    """

    title = "Nearest class mean"

    def __init__(
        self, encoder: Mapping[str, Any], head: Mapping[str, Any] | None = None, *, num_classes: int, **kwargs: Any
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.register_buffer("sums", torch.zeros(num_classes, self.out_channels))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.long))

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    @torch.no_grad()
    def train_step(self, data: Mapping[str, Tensor], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Adds a batch up, in evaluation mode; there is no gradient and the optimizer does nothing."""
        self.eval()
        data = self.data_preprocessor(data, True)
        embeddings, labels = self.embed(data["inputs"]), data["labels"]
        self.sums.index_add_(0, labels, embeddings)
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        return {"images": self.counts.sum().float()}

    def class_representatives(self) -> ClassRepresentatives | None:
        if not self.counts.any():
            return None
        means = self.sums / self.counts.clamp_min(1)[:, None]
        return ClassRepresentatives(means[:, None], SIGMA2, (self.counts > 0)[:, None])
