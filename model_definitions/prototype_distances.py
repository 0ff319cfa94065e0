"""Distances to prototypes, and between them, all from the matmul of `squared_distances`: no (B, K, d) tensor is made.

Source: V. Sainte Fare Garnot, L. Landrieu, "Leveraging class hierarchies with metric-guided prototype learning", BMVC 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.representatives import squared_distances

DISTANCES = ("euclidean", "cosine")


def euclidean(d2: Tensor) -> Tensor:
    """The root of squared distances, with gradient 0 where they vanish, not infinity."""
    apart = d2 > 0
    return torch.where(apart, torch.where(apart, d2, 1).sqrt(), 0)


def pseudo_huber(d2: Tensor, delta: float) -> Tensor:
    """`H(e) = delta (sqrt(1 + (e / delta)^2) - 1)` of e, given e^2: about e^2 / (2 delta) near 0, e - delta far away."""
    # written without the difference of two close numbers: x / (sqrt(1 + x) + 1)
    x = d2 / delta**2
    return delta * x / ((1 + x).sqrt() + 1)


def check_distance(distance: str) -> None:
    """Raises ValueError for a distance that is not one of `DISTANCES`."""
    if distance not in DISTANCES:
        raise UserError(f"distance must be one of {', '.join(DISTANCES)}, not {distance!r}")


def cosine_distances(embeddings: Tensor, points: Tensor) -> Tensor:
    """`1 - cos(E, P)`, values in [0, 2]: (B, d), (K, 1, d) -> (B, K)."""
    # on the unit sphere |a - b|^2 = 2 - 2 cos
    d2 = squared_distances(F.normalize(embeddings, dim=-1), F.normalize(points, dim=-1))
    return d2.squeeze(-1).clamp_max(4) / 2


def between(prototypes: Tensor, distance: str = "euclidean") -> Tensor:
    """Distances d_ij = |p_i - p_j|, or 1 - cos, among prototypes (K, d): (K, K).

    Raises:
        ValueError: another distance, or no prototypes (K, d).
    """
    check_distance(distance)
    if prototypes.dim() != 2 or not len(prototypes):
        raise ValueError(f"prototypes are (K, d), K at least 1, not {tuple(prototypes.shape)}")
    if distance == "cosine":
        return cosine_distances(prototypes, prototypes[:, None])
    centred = prototypes - prototypes.mean(0)  # a distance is a difference of squared lengths: they should be short
    d2 = squared_distances(centred, centred[:, None]).squeeze(-1)
    # the diagonal is 0 but for rounding
    return euclidean(d2.masked_fill(torch.eye(len(d2), dtype=torch.bool, device=d2.device), 0))
