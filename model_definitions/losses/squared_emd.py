"""The squared earth mover's distance as a regulariser of the cross-entropy.

Source: L. Hou, C.-P. Yu, D. Samaras, "Squared earth mover's distance-based loss for training deep neural networks", 2016.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from repmet.model_definitions.costs import check_costs
from repmet.model_definitions.losses.weighting import IGNORED, counted_rows, weighted_mean


class SquaredEMDLoss(nn.Module):
    """`-log p(y) + l sum_k p(k)^2 (D[y, k] - mu)`, the mean over the batch, with `p = softmax(z)`.

    Classes at a cost above mu are kept down, those below are let up.

    Args:
        D: costs (K, K). weight: l. mu: in D's units, the ground distance that is neither good nor bad.
        class_weights: (K,). ignore_index: the label of rows that do not count.

    Shape:
        Logits (B, K) and labels (B,), or (B, K, H, W) and (B, H, W) -> a scalar.

    Raises:
        ValueError: as `check_costs`; shapes that do not fit, labels out of range.
    """

    costs: Tensor
    class_weights: Tensor | None

    def __init__(
        self, D: Tensor, weight: float, mu: float, class_weights: Tensor | None = None, ignore_index: int = IGNORED
    ) -> None:
        super().__init__()
        self.weight, self.mu, self.ignore_index = weight, mu, ignore_index
        self.register_buffer("costs", check_costs(D), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows, labels = counted_rows(logits, labels, self.ignore_index)
        moved = (rows.softmax(-1).square() * (self.costs[labels].to(rows.dtype) - self.mu)).sum(-1)
        losses = F.cross_entropy(rows, labels, reduction="none") + self.weight * moved
        return weighted_mean(losses, labels, self.class_weights)
