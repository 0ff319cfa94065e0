"""Classifiers by one prototype a class: free, guided or fixed by a cost matrix, on the sphere, running class means."""

from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from repmet.classification.methods.base import ClassRepresentatives
from repmet.classification.methods.cost_sensitive import CostSensitive, called
from repmet.errors import UserError
from repmet.model_definitions.losses.distortion import DistortionLoss
from repmet.model_definitions.losses.hyperspherical import HypersphericalLoss
from repmet.model_definitions.losses.rank import RankLoss
from repmet.model_definitions.prototypes import (
    DeepNCM,
    HypersphericalPrototypes,
    LearntPrototypes,
    embed_costs,
    spread_on_sphere,
)

GUIDANCE = {"distortion": DistortionLoss, "rank": RankLoss}
SIGMA2 = 0.25  # one prototype a class: no decision depends on it


@MODELS.register_module()
class PrototypeClassifier(CostSensitive):
    """Metric-guided prototypes (V. Sainte Fare Garnot, L. Landrieu, BMVC 2021): cross-entropy + weight x guidance.

    `p(k | x) = softmax_k(-d(f(x), pi_k))`; the guidance holds distances between prototypes pi in proportion to the costs.

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
            raise UserError("PrototypeClassifier: fixed prototypes cannot be guided; give fixed or guidance")
        fixed_prototypes = None
        if fixed:
            D = self.needed("fixed prototypes").D
            fixed_prototypes = called(embed_costs, "model.embedding", embedding, D, self.out_channels).prototypes
        options = dict(prototypes or {})
        self.classifier = called(
            LearntPrototypes, "model.prototypes", options, None, self.num_classes, self.out_channels, fixed_prototypes
        )
        self.title = "Fixed prototypes" if fixed else "Guided prototypes" if guidance else "Free prototypes"
        self.guidance: nn.Module | None = None
        if guidance:
            options = dict(guidance)
            name, self.weight = options.pop("name", "distortion"), options.pop("weight", 1.0)
            if name not in GUIDANCE:
                raise UserError(f"model.guidance.name is one of {', '.join(GUIDANCE)}, not {name!r}")
            self.guidance = called(GUIDANCE[name], "model.guidance", options, self.needed("guidance").D)

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

    The nearest prototype in cosine decides; the loss is `(1 - cos(f(x), p_y))^2`.

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
        spread = called(spread_on_sphere, "model.embedding", embedding, self.num_classes, self.out_channels, D)
        self.classifier = HypersphericalPrototypes(None, spread.prototypes)
        self.criterion = HypersphericalLoss()

    def scores(self, embeddings: Tensor) -> Tensor:
        return self.classifier(embeddings)

    def data_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return self.criterion(scores, labels)

    def class_representatives(self) -> ClassRepresentatives:
        return ClassRepresentatives(self.classifier.prototypes.detach()[:, None], SIGMA2)


@MODELS.register_module()
class RunningMeans(CostSensitive):
    """DeepNCM (S. Guerriero, B. Caputo, T. Mensink, ICLR 2018 workshop): running class means, only the network learns.

    `p(k | x) = softmax_k(-|f(x) - mu_k|^2)`, mu_k the mean of what was seen of class k.

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
