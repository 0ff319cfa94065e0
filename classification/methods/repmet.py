"""RepMet for classification (L. Karlinsky et al., CVPR 2019), in each of its published and programmed losses."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from repmet.classification.methods.base import ClassRepresentatives, Method
from repmet.errors import UserError
from repmet.model_definitions.kmeans import kmeans
from repmet.model_definitions.losses.repmet import LOSSES, RepMetLoss
from repmet.model_definitions.representatives import Representatives, soft_posterior

INITIAL = ("random", "kmeans")
TITLES = {
    "v1": "RepMet v1",
    "v2": "RepMet v2",
    "v3": "RepMet v3",
    "cvpr": "RepMet, CVPR",
    "margin": "RepMet, margin loss alone",
    "my_loss_code": "MyLoss",
    "my_loss_readme": "MyLoss, README's formula",
}


@MODELS.register_module()
class RepMet(Method):
    """Learns K representatives R_ij of each class i together with the embedding E; the soft posterior (eq. 5) decides:

        `P(C = i | X) = sum_j p_ij / sum_ij p_ij,  p_ij = exp(-|E(X) - R_ij|^2 / (2 sigma^2))`

    As published the loss is `-log P(C = y | X) + [min_j |E - R_yj|^2 - min_{i != y, j} |E - R_ij|^2 + alpha]_+` (eq. 4); the
    others are in `model_definitions.losses.repmet`.

    The parameter is `representatives.weight`: `paramwise_cfg: {custom_keys: {representatives: {lr_mult: 10}}}` gives it a
    learning rate of its own.

    Args:
        encoder, head, kwargs: as `Method`.
        num_classes: N; follows from the training set.
        num_modes: K.
        loss: {name: one of `model_definitions.losses.repmet.LOSSES`, and its own arguments}.
        sigma: standard deviation of the posterior, in the loss as in the accuracies.
        normalize: hold the representatives on the unit sphere, in the graph; else they are free.
        initial: "random", of about unit length; "kmeans", the centres of each class's embeddings when the training starts
            (`ClusteredStartHook`). Weights that are loaded, as by a resume, stay as they are.

    Raises:
        ValueError: an unknown loss, an argument that it does not have, another `initial`.
    """

    rule = "repmet"

    def __init__(
        self,
        encoder: Mapping[str, Any],
        head: Mapping[str, Any] | None = None,
        *,
        num_classes: int,
        num_modes: int = 3,
        loss: Mapping[str, Any] | None = None,
        sigma: float = 0.5,
        normalize: bool = False,
        initial: str = "random",
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, head, **kwargs)
        if initial not in INITIAL:
            raise UserError(f"RepMet: initial representatives are {' or '.join(INITIAL)}, not {initial!r}")
        arguments = {"name": "cvpr"} | dict(loss or {})
        if "sigma" in inspect.signature(LOSSES.get(arguments["name"], LOSSES["cvpr"])).parameters:
            arguments.setdefault("sigma", sigma)
        self.criterion = RepMetLoss(**arguments)
        measure = {"squared": ", squared", "euclidean": ", Euclidean"}
        default = "squared" if arguments["name"].startswith("my_loss") else None
        self.title = TITLES[arguments["name"]] + measure.get(arguments.get("measure", default), "")
        self.sigma = sigma
        self.representatives = Representatives(
            num_classes,
            num_modes,
            self.out_channels,
            normalize=normalize,
            separable=False,
            std=self.out_channels**-0.5,
        )
        self.register_buffer("started", torch.tensor(initial == "random"))  # kept: what a checkpoint brings has started

    @classmethod
    def size(cls, model: dict, labels: Tensor, classes: Sequence[str], batch: Mapping[str, Any]) -> None:
        model["num_classes"] = len(classes)

    @torch.no_grad()
    def start(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> None:
        """Puts the representatives onto the k-means centres of each class's embeddings (n, e).

        Raises:
            ValueError: `kmeans`'s: embeddings that are not finite.
        """
        num_classes, num_modes, _ = self.representatives.weight.shape
        clusters = kmeans(embeddings, labels, num_classes, num_modes, generator=generator)
        self.representatives.weight.copy_(clusters.centres)
        self.started.fill_(True)

    def loss(self, embeddings: Tensor, labels: Tensor, indices: Tensor) -> dict[str, Tensor]:
        d2 = self.representatives(embeddings)  # (B, N, K)
        right = soft_posterior(d2.detach(), self.sigma).argmax(-1) == labels
        return {"loss": self.criterion(d2, labels), "accuracy": right.float().mean()}

    def class_representatives(self) -> ClassRepresentatives:
        return ClassRepresentatives(self.representatives.points.detach(), self.sigma**2)
