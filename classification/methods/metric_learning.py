"""Any loss of pytorch-metric-learning, with any of its miners, and ours in its terms: triplets, proxies, ..."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.methods.base import Method
from repmet.errors import UserError

# Losses of the package that take no labels: of two views of each image, and of the batch as it is.
_OF_VIEWS = ("SelfSupervisedLoss", "VICRegLoss")
_UNLABELLED = ("ManifoldLoss",)


@MODELS.register_module()
class MetricLearning(Method):
    """Trains an embedding by a loss of pytorch-metric-learning (K. Musgrave, S. Belongie, S. Lim, 2020).

    The baselines' triplets: `[|f(a) - f(p)| - |f(a) - f(n)| + margin]_+`, a and p of one class, n of another, on the unit
    sphere (F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet", CVPR 2015).

    Args:
        encoder, head, kwargs: as `Method`.
        loss: {type: pml. and a class of `pytorch_metric_learning.losses` or `classification.pml.losses`, and its arguments,
            which may be sections themselves: see `classification.pml.parts`}. `num_classes` and `embedding_size`, where it
            asks for them, follow from the training set and the embedding. Its weights, if any, are trained too. To the
            losses of two views (SelfSupervisedLoss, VICRegLoss), neighbours in a batch are the views: two images of a
            class, by `ClassBatchSampler` with an even `per_class`.
        miner: {type: pml. and a class of `pytorch_metric_learning.miners`, ...}; None: all pairs or triplets.
        num_classes: follows from the training set.
        init_norm_multiplier: the head's last layer starts so many times as large: where norms are concentrations, they
            have to start in their range.

    Raises:
        ValueError: no such loss or miner (with the nearest), or an argument that it does not take; a multiplier for a head
            without a linear layer.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        loss: Mapping[str, Any],
        miner: Mapping[str, Any] | None = None,
        num_classes: int | None = None,
        init_norm_multiplier: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        from repmet.classification.pml.parts import PREFIX, build  # slow to import, and no other method needs it

        name = str(loss.get("type")).removeprefix(PREFIX)
        self.title = "Triplet" if name == "TripletMarginLoss" else name
        sizes = {"num_classes": num_classes, "embedding_size": self.out_channels, "descriptors_dim": self.out_channels}
        self.criterion = build(loss, "loss", sizes)
        self.miner = None if miner is None else build(miner, "miner", sizes)
        if init_norm_multiplier != 1:
            _scale_last_layer(self.head, init_norm_multiplier)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        from repmet.classification.pml.parts import release_graph

        release_graph(self.criterion)
        kind = type(self.criterion).__name__
        if kind in _OF_VIEWS:
            return {"loss": self.criterion(embeddings[::2], ref_emb=embeddings[1::2])}
        if kind in _UNLABELLED:
            return {"loss": self.criterion(embeddings)}
        mined = None if self.miner is None else self.miner(embeddings, labels)
        return {"loss": self.criterion(embeddings, labels, mined)}


@torch.no_grad()
def _scale_last_layer(head: nn.Module, factor: float) -> None:
    layers = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError("init_norm_multiplier scales the head's last linear layer; give the model a head")
    layers[-1].weight.mul_(factor)
    if layers[-1].bias is not None:
        layers[-1].bias.mul_(factor)
