"""A classifier by fixed prototypes on the sphere (P. Mettes, E. van der Pol, C. Snoek, NeurIPS 2019)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from repmet.model_definitions.losses.hyperspherical import hyperspherical_scores
from repmet.model_definitions.representatives import Representatives


class HypersphericalPrototypes(nn.Module):
    """`score_k = -(1 - cos(f(x), p_k))^2`, in [-4, 0]; to be trained by `HypersphericalLoss`.

    Args:
        model: the network f, to (B, d) or (B, d, H, W); None: the input is the embedding.
        prototypes: (K, d), such as of `spread_on_sphere`; brought to length 1, and fixed.

    Shape:
        Whatever `model` takes -> (B, K) or (B, K, H, W).

    Raises:
        ValueError: prototypes of another number of dimensions, or one of length 0.
    """

    def __init__(self, model: nn.Module | None, prototypes: Tensor) -> None:
        super().__init__()
        if prototypes.dim() != 2 or not prototypes.norm(dim=-1).all():
            raise ValueError(f"prototypes are (K, d), none of length 0, not {tuple(prototypes.shape)}")
        self.model = nn.Identity() if model is None else model
        self.representatives = Representatives(len(prototypes), 1, prototypes.shape[1], normalize=True, separable=False)
        self.representatives.weight.requires_grad_(False).copy_(F.normalize(prototypes, dim=-1)[:, None])

    @property
    def prototypes(self) -> Tensor:
        """(K, d), of length 1."""
        return self.representatives.points.squeeze(1)

    def forward(self, *inputs: Any, **more: Any) -> Tensor:
        return hyperspherical_scores(self.model(*inputs, **more), self.prototypes)
