"""Linear classifiers that know what mistakes cost: a softmax at every node of a tree, and losses of one softmax."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.methods.cost_sensitive import CostSensitive, called
from repmet.errors import UserError
from repmet.model_definitions.losses.hierarchical import HierarchicalCrossEntropy
from repmet.model_definitions.losses.soft_labels import SoftLabelLoss
from repmet.model_definitions.losses.squared_emd import SquaredEMDLoss
from repmet.model_definitions.prototypes import HierarchicalSoftmax


@MODELS.register_module()
class HierarchicalClassifier(CostSensitive):
    """A softmax among the children of every node (J. Redmon, A. Farhadi, "YOLO9000", CVPR 2017).

    `p(leaf | x) = prod_a softmax_{a and its siblings}(w_a . f(x) + b_a)` over the leaf and its ancestors a, without the
    root; the loss is `-log p(y | x)`.

    Args:
        encoder, head, classes, kwargs: as `CostSensitive`.
        costs: a tree.
    """

    title = "Hierarchical softmax"

    def __init__(self, encoder: Mapping[str, Any], head: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(encoder, head, **kwargs)
        hierarchy = self.needed("HierarchicalClassifier").hierarchy
        if hierarchy is None:
            raise UserError("model.costs: HierarchicalClassifier needs a tree")
        self.classifier = HierarchicalSoftmax(nn.Linear(self.out_channels, len(hierarchy)), hierarchy)

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)[:, : self.num_classes]  # log-probabilities

    def data_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(scores, labels)


@MODELS.register_module()
class CostSoftmax(CostSensitive):
    """A linear layer trained by a loss that knows the costs.

    Args:
        encoder, head, classes, costs, kwargs: as `CostSensitive`.
        criterion: {name: "hierarchical" (`HierarchicalCrossEntropy`, needs a tree), "soft_labels" (`SoftLabelLoss`) or
            "squared_emd" (`SquaredEMDLoss`), and the loss' own options}.

    Raises:
        ValueError: no costs; an unknown name or option.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        criterion: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        options = dict(criterion)
        name = options.pop("name", None)
        if name not in CRITERIA:
            raise UserError(f"model.criterion.name is one of {', '.join(CRITERIA)}, not {name!r}")
        built, self.title = CRITERIA[name]
        D, hierarchy = self.needed(self.title)
        if built is HierarchicalCrossEntropy and hierarchy is None:
            raise UserError("model.costs: the hierarchical cross-entropy needs a tree")
        self.classifier = nn.Linear(self.out_channels, self.num_classes)
        known = hierarchy if built is HierarchicalCrossEntropy else D
        self.criterion = called(built, "model.criterion", options, known)

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)

    def data_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return self.criterion(scores, labels)


CRITERIA = {
    "hierarchical": (HierarchicalCrossEntropy, "Hierarchical cross-entropy"),
    "soft_labels": (SoftLabelLoss, "Soft labels"),
    "squared_emd": (SquaredEMDLoss, "Squared EMD"),
}
