"""Soft labels: the target of a class gives some of its probability to the classes that are cheap to mistake it for.

Source: L. Bertinetto et al., "Making better mistakes: leveraging class hierarchies with deep networks", CVPR 2020.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.costs import check_costs
from repmet.model_definitions.losses.weighting import IGNORED, counted_rows, focal_factor, weighted_mean


def soft_labels(D: Tensor, beta: float) -> Tensor:
    """`log q_y(k) = log softmax_k(-beta D[y, k] / max D)`: (K, K), a row a class.

    Raises:
        ValueError: as `check_costs`; beta is negative, or all costs are 0.
    """
    costs = check_costs(D)
    if beta < 0 or not costs.any():
        raise UserError(f"soft labels take beta >= 0 and a positive cost, not {beta} and the largest {costs.max().item()}")
    return F.log_softmax(-beta * costs / costs.max(), dim=-1)


class SoftLabelLoss(nn.Module):
    """`KL(q_y || softmax(z))`, the mean over the batch: the cross-entropy with soft targets but for their own entropy.

    Args:
        D: costs (K, K). beta: 0 gives uniform targets; towards infinity they become one-hot.
        focal_gamma: multiplies `log p(k)` by `(1 - p(k))^gamma`; None: does not.
        class_weights: (K,). ignore_index: the label of rows that do not count.

    Shape:
        Logits (B, K) and labels (B,), or (B, K, H, W) and (B, H, W) -> a scalar.

    Raises:
        ValueError: as `soft_labels`; shapes that do not fit, labels out of range.
    """

    log_targets: Tensor
    class_weights: Tensor | None

    def __init__(
        self,
        D: Tensor,
        beta: float = 1.0,
        focal_gamma: float | None = None,
        class_weights: Tensor | None = None,
        ignore_index: int = IGNORED,
    ) -> None:
        super().__init__()
        self.focal_gamma, self.ignore_index = focal_gamma, ignore_index
        self.register_buffer("log_targets", soft_labels(D, beta), persistent=False)
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows, labels = counted_rows(logits, labels, self.ignore_index)
        log_p = F.log_softmax(rows, dim=-1)
        if self.focal_gamma is not None:
            log_p = log_p * focal_factor(log_p, self.focal_gamma)
        log_q = self.log_targets[labels].to(log_p.dtype)
        q = log_q.exp()
        # torch.xlogy's convention: a target that has underflowed to 0 adds nothing
        losses = torch.where(q > 0, q * (log_q - log_p), 0).sum(-1)
        return weighted_mean(losses, labels, self.class_weights)
