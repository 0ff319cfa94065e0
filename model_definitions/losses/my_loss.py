"""MyLoss of pytorch.repmet, in its two forms: the README's formula and the code, which differ.

Both compare the distance D to a representative with a largest one within a class: D is the squared distance (`measure`
"squared") or the distance ("euclidean"), and alpha is in the same units. Both take d2 (B, N, K), labels (B,) with 0..N-1
and a `reduction`, and raise ValueError for other shapes, labels out of range, sigma <= 0 or another measure.
J is the number of representatives of the classes in the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.representatives import check_labels, of_own_class, reduce

MEASURES = ("squared", "euclidean")


def my_loss_readme(
    d2: Tensor, labels: Tensor, alpha: float = 1.0, sigma: float = 0.5, measure: str = "squared", reduction: str = "mean"
) -> Tensor:
    """`L_n = 1/J sum_ij [ -(D_n,ij - max_k D_n,yk - alpha) / (2 sigma^2) ]_+`.

    The sum is over all classes in the batch, the sample's included; the maximum over the representatives of the sample's
    class.
    """
    d, _, present, scale = _prepare(d2, labels, sigma, measure)
    farthest = of_own_class(d, labels).amax(-1)  # (B,)
    terms = F.relu(scale * (farthest[:, None, None] + alpha - d))  # (B, N, K)
    return _mean_over_representatives(terms, present[:, None], present, reduction)


def my_loss_code(
    d2: Tensor, labels: Tensor, alpha: float = 1.0, sigma: float = 0.5, measure: str = "squared", reduction: str = "mean"
) -> Tensor:
    """`L_n = 1/J sum_{i != y, j} [ -(D_n,ij - m_ij - alpha) / (2 sigma^2) ]_+`, i over the other classes in the batch.

    `m_ij` is the largest distance of the batch's samples of class i to the representative, with gradient. The divisor
    still counts the sample's class.
    """
    d, label_mask, present, scale = _prepare(d2, labels, sigma, measure)
    farthest = d.masked_fill(~label_mask[..., None], -torch.inf).amax(0)  # (N, K)
    farthest = farthest.masked_fill(~present[:, None], 0)
    terms = F.relu(scale * (farthest + alpha - d))  # (B, N, K)
    return _mean_over_representatives(terms, (present & ~label_mask)[..., None], present, reduction)


def _prepare(d2: Tensor, labels: Tensor, sigma: float, measure: str) -> tuple[Tensor, Tensor, Tensor, float]:
    """D (B, N, K), whether a class is the sample's own (B, N), whether it is in the batch (N,), and 1 / (2 sigma^2)."""
    check_labels(d2, labels)
    if sigma <= 0:
        raise UserError(f"sigma is a standard deviation and must be positive, not {sigma}")
    if measure not in MEASURES:
        raise UserError(f"measure must be one of {', '.join(MEASURES)}, not {measure!r}")
    # the square root has no gradient at 0
    d = d2 if measure == "squared" else d2.clamp_min(torch.finfo(d2.dtype).eps).sqrt()
    label_mask = F.one_hot(labels, d2.shape[1]).bool()
    return d, label_mask, label_mask.any(0), 0.5 / sigma**2


def _mean_over_representatives(terms: Tensor, counted: Tensor, present: Tensor, reduction: str) -> Tensor:
    representatives = present.sum() * terms.shape[-1]  # J
    return reduce((terms * counted).sum((1, 2)) / representatives, reduction)
