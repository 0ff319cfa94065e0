"""Prototypes on the sphere (P. Mettes, E. van der Pol, C. Snoek, "Hyperspherical prototype networks", NeurIPS 2019)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.dense import as_given, as_rows
from repmet.model_definitions.losses.weighting import IGNORED, counted_rows, weighted_mean
from repmet.model_definitions.prototype_distances import cosine_distances


def separation_loss(prototypes: Tensor) -> Tensor:
    """`1/K sum_i max_{j != i} cos(p_i, p_j)` of prototypes (K, d), K at least 2; a scalar in [-1, 1].

    Least, -1/(K-1), where they are the corners of a simplex, for which K <= d + 1 has to hold.

    Raises:
        ValueError: fewer than two prototypes.
    """
    if prototypes.dim() != 2 or len(prototypes) < 2:
        raise ValueError(f"separation is among prototypes (K, d), K at least 2, not {tuple(prototypes.shape)}")
    unit = F.normalize(prototypes, dim=-1)
    diagonal = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return (unit @ unit.T).masked_fill(diagonal, -torch.inf).amax(1).mean()


def hyperspherical_scores(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """`-(1 - cos(z, p_k))^2`, in [-4, 0]: (B, d) -> (B, K), or (B, d, H, W) -> (B, K, H, W); prototypes (K, d)."""
    return as_given(-cosine_distances(as_rows(embeddings), prototypes[:, None]).square(), embeddings)


class HypersphericalLoss(nn.Module):
    """The mean of `(1 - cos(z, p_y))^2` over the batch, on the scores of `hyperspherical_scores`.

    Args:
        reduction: "mean", weighted as torch's cross-entropy; "sum", as the released code of metric-guided prototypes.
        class_weights: (K,).
        ignore_index: the label of rows that do not count.

    Shape:
        Scores (B, K) and labels (B,), or (B, K, H, W) and (B, H, W) -> a scalar.

    Raises:
        ValueError: another reduction, shapes that do not fit, labels out of range.
    """

    class_weights: Tensor | None

    def __init__(self, reduction: str = "mean", class_weights: Tensor | None = None, ignore_index: int = IGNORED) -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise UserError(f"reduction must be mean or sum, not {reduction!r}")
        self.reduction, self.ignore_index = reduction, ignore_index
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows, labels = counted_rows(scores, labels, self.ignore_index)
        losses = -rows.gather(1, labels[:, None]).squeeze(1)
        if self.reduction == "mean":
            return weighted_mean(losses, labels, self.class_weights)
        return (losses if self.class_weights is None else losses * self.class_weights[labels]).sum()
