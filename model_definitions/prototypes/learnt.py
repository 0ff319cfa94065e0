"""Prototypes around any network, learnt with it or fixed: a class is a point, and the scores are distances to it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.dense import as_given, as_rows
from repmet.model_definitions.prototype_distances import check_distance, cosine_distances, euclidean, pseudo_huber
from repmet.model_definitions.representatives import Representatives


class LearntPrototypes(nn.Module):
    """`score_k = -scale dist(f(x), p_k)`, logits for the ordinary cross-entropy (Sainte Fare Garnot, Landrieu, BMVC 2021).

    Distances are Euclidean, e = |f(x) - p|, or by `pseudo_huber` H(e), or c = 1 - cos(f(x), p); `squared` squares whatever
    came out.

        model = LearntPrototypes(backbone, n_prototypes=10, embedding_dim=64)
        loss = cross_entropy(model(x), y) + DistortionLoss(D=D)(model.prototypes)

    Args:
        model: the network f, to (B, d), or, for scores of every pixel, (B, d, H, W); None: the input is the embedding.
        n_prototypes: K, a prototype a class. embedding_dim: d.
        prototypes: (K, d), fixed; None: they are learnt, from a uniform start in [0, 1).
        distance: "euclidean" or "cosine".
        squared: of the distance, whichever it is.
        pseudo_huber: delta > 0, Euclidean distances alone; None: the distance itself.
        normalize: put embeddings and prototypes onto the unit sphere.
        scale: > 0, one over the temperature.

    Shape:
        Whatever `model` takes, further inputs and keywords too -> (B, K) or (B, K, H, W), values <= 0.

    Raises:
        ValueError: sizes below 1, fixed prototypes of another shape, an option out of range, a pseudo-Huber cosine,
            embeddings of another dimension.
    """

    def __init__(
        self,
        model: nn.Module | None,
        n_prototypes: int,
        embedding_dim: int,
        prototypes: Tensor | None = None,
        distance: str = "euclidean",
        squared: bool = False,
        pseudo_huber: float | None = None,
        normalize: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_distance(distance)
        if pseudo_huber is not None and (pseudo_huber <= 0 or distance != "euclidean"):
            raise UserError(f"pseudo_huber is a positive Euclidean distance, not {pseudo_huber} with distance={distance}")
        if scale <= 0:
            raise UserError(f"scale must be positive, not {scale}")
        self.model = nn.Identity() if model is None else model
        self.distance, self.squared, self.pseudo_huber = distance, squared, pseudo_huber
        self.normalize, self.scale = normalize, scale
        self.representatives = Representatives(n_prototypes, 1, embedding_dim, normalize=normalize, separable=False)
        if prototypes is None:
            nn.init.uniform_(self.representatives.weight)
        else:
            self._fix(prototypes)

    def _fix(self, prototypes: Tensor) -> None:
        weight = self.representatives.weight
        if prototypes.shape != weight[:, 0].shape:
            raise ValueError(f"fixed prototypes are {tuple(weight[:, 0].shape)}, not {tuple(prototypes.shape)}")
        with torch.no_grad():
            weight.copy_(prototypes[:, None])
        weight.requires_grad_(False)

    @property
    def prototypes(self) -> Tensor:
        """(K, d), as distances see them: what a guiding loss takes."""
        return self.representatives.points.squeeze(1)

    def forward(self, *inputs: Any, **more: Any) -> Tensor:
        embeddings = self.model(*inputs, **more)
        return as_given(self.scores(as_rows(embeddings)), embeddings)

    def scores(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, d) -> (B, K)."""
        if self.distance == "cosine":
            d = cosine_distances(embeddings, self.representatives.points)
        else:
            d2 = self.representatives(F.normalize(embeddings, dim=-1) if self.normalize else embeddings).squeeze(-1)
            if self.pseudo_huber is not None:
                d = pseudo_huber(d2, self.pseudo_huber)
            else:
                d = d2 if self.squared else euclidean(d2)
        # a squared Euclidean distance was never rooted; whatever else came out is squared here
        if self.squared and (self.distance == "cosine" or self.pseudo_huber is not None):
            d = d.square()
        return -self.scale * d

    def extra_repr(self) -> str:
        return (
            f"distance={self.distance}, squared={self.squared}, pseudo_huber={self.pseudo_huber}, "
            f"normalize={self.normalize}, scale={self.scale}"
        )
