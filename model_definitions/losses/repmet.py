"""RepMet's losses for classification, by their versions (L. Karlinsky et al., CVPR 2019, arXiv 1806.04728).

All take squared distances d2 (B, N, K) of B embeddings to N classes x K representatives, labels (B,) with 0..N-1, a
`reduction` ("mean", "sum" or "none"), and raise ValueError for other shapes, labels out of range or sigma <= 0.
Below, `w_ij = exp(-d2_ij / (2 sigma^2))` and y is the label. Written with logarithms of sums, without an epsilon. Where a
sum over other classes is empty, because N = 1, the loss is 0.
"""

import inspect
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.losses.my_loss import my_loss_code, my_loss_readme
from repmet.model_definitions.representatives import check_labels, margin_loss, of_own_class, reduce, soft_log_posterior


def _own_and_other(d2: Tensor, labels: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """`log w` of the sample's class, (B, K), and of all classes, (B, N*K), -inf for the sample's."""
    check_labels(d2, labels)
    if sigma <= 0:
        raise UserError(f"sigma is a standard deviation and must be positive, not {sigma}")
    exponents = d2 * (-0.5 / sigma**2)
    label_mask = F.one_hot(labels, d2.shape[1]).bool()  # (B, N)
    return of_own_class(exponents, labels), exponents.masked_fill(label_mask[..., None], -torch.inf).flatten(1)


def repmet_v1(d2: Tensor, labels: Tensor, alpha: float = 1.0, sigma: float = 0.5, reduction: str = "mean") -> Tensor:
    """First version of the paper: `[ -log( max_j w_yj / sum_{i != y, j} w_ij ) + alpha ]_+`."""
    of_class, other = _own_and_other(d2, labels, sigma)
    return reduce(F.relu(alpha - of_class.amax(-1) + other.logsumexp(-1)), reduction)


def repmet_v2(d2: Tensor, labels: Tensor, alpha: float = 1.0, sigma: float = 0.5, reduction: str = "mean") -> Tensor:
    """`[ -log( sum_j w_yj / sum_ij w_ij ) + alpha ]_+`: with alpha >= 0 the cross-entropy of eq. 5, plus alpha."""
    return reduce(F.relu(alpha + cross_entropy(d2, labels, sigma, "none")), reduction)


def repmet_v3(d2: Tensor, labels: Tensor, alpha: float = 1.0, sigma: float = 0.5, reduction: str = "mean") -> Tensor:
    """`[ -log( sum_j w_yj / sum_{i != y, j} w_ij ) + alpha ]_+`: v1 with all representatives of the class."""
    of_class, other = _own_and_other(d2, labels, sigma)
    return reduce(F.relu(alpha - of_class.logsumexp(-1) + other.logsumexp(-1)), reduction)


def cross_entropy(d2: Tensor, labels: Tensor, sigma: float = 0.5, reduction: str = "mean") -> Tensor:
    """`-log P(C = y | E)` of the soft posterior, eq. 5: the classifier's half of the CVPR loss."""
    check_labels(d2, labels)
    return reduce(F.nll_loss(soft_log_posterior(d2, sigma), labels, reduction="none"), reduction)


def repmet_cvpr(d2: Tensor, labels: Tensor, margin: float = 1.0, sigma: float = 0.5, reduction: str = "mean") -> Tensor:
    """The published version: `cross_entropy` plus the embedding loss of eq. 4 (`margin_loss`: on squared distances)."""
    return cross_entropy(d2, labels, sigma, reduction) + margin_loss(d2, labels, margin, reduction)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "v1": repmet_v1,
    "v2": repmet_v2,
    "v3": repmet_v3,
    "cvpr": repmet_cvpr,
    "margin": margin_loss,
    "my_loss_code": my_loss_code,
    "my_loss_readme": my_loss_readme,
}


class RepMetLoss(nn.Module):
    """One of `LOSSES` by name: d2 (B, N, K), labels (B,) -> a scalar, or (B,) with `reduction="none"`.

    Args:
        name: "v1", "v2", "v3", "cvpr", "margin" (eq. 4 alone), "my_loss_code" or "my_loss_readme".
        arguments: of that function, such as alpha, margin or sigma.

    Raises:
        ValueError: an unknown name, or an argument that the loss does not have.
    """

    def __init__(self, name: str = "cvpr", **arguments: float | str) -> None:
        super().__init__()
        if name not in LOSSES:
            raise UserError(f"RepMetLoss has no loss {name!r}; there are {', '.join(LOSSES)}")
        options = list(inspect.signature(LOSSES[name]).parameters)[2:]
        unknown = [key for key in arguments if key not in options]
        if unknown:
            raise UserError(f"the loss {name} has no {', '.join(unknown)}; it has {', '.join(options)}")
        self.name, self.arguments = name, arguments

    def forward(self, d2: Tensor, labels: Tensor) -> Tensor:
        return LOSSES[self.name](d2, labels, **self.arguments)

    def extra_repr(self) -> str:
        return ", ".join([self.name, *(f"{key}={value}" for key, value in self.arguments.items())])
