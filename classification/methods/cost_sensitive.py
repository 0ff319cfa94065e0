"""Classifiers that know what mistakes cost: prototypes guided by a cost matrix, and the hierarchical baselines."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from classification.costs import Costs, read_costs
from classification.methods.base import ClassRepresentatives, Method
from model_definitions.losses.distortion import DistortionLoss
from model_definitions.losses.hierarchical import HierarchicalCrossEntropy
from model_definitions.losses.hyperspherical import HypersphericalLoss
from model_definitions.losses.rank import RankLoss
from model_definitions.losses.soft_labels import SoftLabelLoss
from model_definitions.losses.squared_emd import SquaredEMDLoss
from model_definitions.prototypes import (
    DeepNCM,
    HierarchicalSoftmax,
    HypersphericalPrototypes,
    LearntPrototypes,
    embed_costs,
    spread_on_sphere,
)

GUIDANCE = {"distortion": DistortionLoss, "rank": RankLoss}
SIGMA2 = 0.25  # one prototype a class: no decision depends on it


class CostSensitive(Method):
    """What these methods share: scores of the classes, (B, K), of which the highest decides, and the costs.

    Args:
        encoder, head, kwargs: as `Method`.
        classes: names of the K classes; they follow from the training set.
        costs: what the training knows of mistakes, see `classification.costs.read_costs`; None: nothing.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        classes: Sequence[str],
        costs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.num_classes = len(classes)
        self.costs: Costs | None = None if costs is None else read_costs(costs, classes)

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["classes"] = list(classes)

    def needed(self, what: str) -> Costs:
        """The costs.

        Raises:
            ValueError: there are none.
        """
        if self.costs is None:
            raise ValueError(f"model.costs is not given: {what} needs it, for instance {{tree: my_tree.yaml}}")
        return self.costs

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, e) -> (B, K)."""
        raise NotImplementedError

    def data_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        scores = self.scores(embeddings)
        right = (scores.detach().argmax(-1) == labels).float().mean()
        return {"loss": self.data_loss(scores, labels), "accuracy": right}

    def predict(self, embeddings: Tensor) -> Tensor:
        return self.scores(embeddings).argmax(-1)

    def other_rules(self, embeddings: Tensor) -> dict[str, Tensor]:
        return {"classifier": self.predict(embeddings)}


@MODELS.register_module()
class PrototypeClassifier(CostSensitive):
    """Metric-guided prototypes (V. Sainte Fare Garnot, L. Landrieu, BMVC 2021): cross-entropy + weight x guidance.

    Args:
        encoder, head, classes, costs, kwargs: as `CostSensitive`.
        fixed: make the prototypes of the costs (`embed_costs`) before the training, and leave them there.
        prototypes: options of `LearntPrototypes`: distance, squared, pseudo_huber, normalize, scale.
        guidance: {name: "distortion" or "rank", weight: 1.0, and the loss' own options}; None: free prototypes.
        embedding: options of `embed_costs`, where they are fixed.

    Raises:
        ValueError: guidance or fixed prototypes without costs; both; an unknown name or option.
    """

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        fixed: bool = False,
        prototypes: Mapping[str, Any] | None = None,
        guidance: Mapping[str, Any] | None = None,
        embedding: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        if fixed and guidance:
            raise ValueError("PrototypeClassifier: fixed prototypes cannot be guided; give fixed or guidance")
        given = None
        if fixed:
            D = self.needed("fixed prototypes").D
            given = _called(embed_costs, "model.embedding", embedding, D, self.out_channels).prototypes
        options = dict(prototypes or {})
        self.classifier = _called(
            LearntPrototypes, "model.prototypes", options, None, self.num_classes, self.out_channels, given
        )
        self.title = "Fixed prototypes" if fixed else "Guided prototypes" if guidance else "Free prototypes"
        self.guidance: nn.Module | None = None
        if guidance:
            options = dict(guidance)
            name, self.weight = options.pop("name", "distortion"), options.pop("weight", 1.0)
            if name not in GUIDANCE:
                raise ValueError(f"model.guidance.name is one of {', '.join(GUIDANCE)}, not {name!r}")
            self.guidance = _called(GUIDANCE[name], "model.guidance", options, self.needed("guidance").D)

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        losses = super().loss(embeddings, labels, indices)
        if self.guidance is not None:  # mmengine adds up what has `loss` in its name
            losses["loss_guidance"] = self.weight * self.guidance(self.classifier.prototypes)
        return losses

    def class_representatives(self) -> ClassRepresentatives:
        return ClassRepresentatives(self.classifier.prototypes.detach()[:, None], SIGMA2)


@MODELS.register_module()
class Hyperspherical(CostSensitive):
    """Fixed prototypes on the sphere (P. Mettes, E. van der Pol, C. Snoek, NeurIPS 2019), with `HypersphericalLoss`.

    Args:
        encoder, head, classes, kwargs: as `CostSensitive`.
        costs: the classes' semantics; None: the prototypes are apart from each other, no more.
        embedding: options of `spread_on_sphere`.
    """

    title = "Hyperspherical prototypes"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        embedding: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        D = None if self.costs is None else self.costs.D
        found = _called(spread_on_sphere, "model.embedding", embedding, self.num_classes, self.out_channels, D)
        self.classifier = HypersphericalPrototypes(None, found.prototypes)
        self.data_loss = HypersphericalLoss()

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)

    def class_representatives(self) -> ClassRepresentatives:
        return ClassRepresentatives(self.classifier.prototypes.detach()[:, None], SIGMA2)


@MODELS.register_module()
class RunningMeans(CostSensitive):
    """DeepNCM (S. Guerriero, B. Caputo, T. Mensink, ICLR 2018 workshop): running class means, only the network learns.

    Args:
        encoder, head, classes, kwargs: as `CostSensitive`.
        weighting, decay: of `DeepNCM`.
    """

    title = "DeepNCM"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        weighting: str = "batch",
        decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        self.classifier = DeepNCM(None, self.num_classes, self.out_channels, weighting, decay)

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier.scores(embeddings)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        self.classifier.update(embeddings.detach(), labels)
        return super().loss(embeddings, labels, indices)

    def class_representatives(self) -> ClassRepresentatives | None:
        seen = self.classifier.counts > 0
        return ClassRepresentatives(self.classifier.means[:, None], SIGMA2, seen[:, None]) if seen.any() else None


@MODELS.register_module()
class HierarchicalClassifier(CostSensitive):
    """A softmax among the children of every node (J. Redmon, A. Farhadi, "YOLO9000", CVPR 2017).

    Args:
        encoder, head, classes, kwargs: as `CostSensitive`.
        costs: a tree.
    """

    title = "Hierarchical softmax"

    def __init__(self, encoder: Mapping[str, Any], head: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(encoder, head, **kwargs)
        hierarchy = self.needed("HierarchicalClassifier").hierarchy
        if hierarchy is None:
            raise ValueError("model.costs: HierarchicalClassifier needs a tree")
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
            raise ValueError(f"model.criterion.name is one of {', '.join(CRITERIA)}, not {name!r}")
        built, self.title = CRITERIA[name]
        D, hierarchy = self.needed(self.title)
        if built is HierarchicalCrossEntropy and hierarchy is None:
            raise ValueError("model.costs: the hierarchical cross-entropy needs a tree")
        self.classifier = nn.Linear(self.out_channels, self.num_classes)
        known = hierarchy if built is HierarchicalCrossEntropy else D
        self.data_loss = _called(built, "model.criterion", options, known)

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)


CRITERIA = {
    "hierarchical": (HierarchicalCrossEntropy, "Hierarchical cross-entropy"),
    "soft_labels": (SoftLabelLoss, "Soft labels"),
    "squared_emd": (SquaredEMDLoss, "Squared EMD"),
}


def _called(target: Any, where: str, options: Mapping[str, Any] | None, *given: Any) -> Any:
    """`target(*given, **options)`, where the options are of a YAML.

    Raises:
        ValueError: an option that it does not have, or that is given already.
    """
    known = list(inspect.signature(target).parameters)[len(given) :]
    if unknown := [name for name in options or {} if name not in known]:
        raise ValueError(f"{where} has no {unknown[0]!r}; it has {', '.join(known)}")
    return target(*given, **(options or {}))
