"""The RepMet head: N classes x K modes x e dimensions, and the functions that live on its distances.

Both trees classify by distance to representatives. `Representatives` holds the learnt ones; an episode's own are passed to
`squared_distances` and never written over them.

Shape legend: B embeddings, N classes, K modes (representatives) per class, e embedding dimensions, S support embeddings.
Source of the equations: L. Karlinsky et al., "RepMet: Representative-based metric learning for classification and one-shot
object detection", CVPR 2019, and the parameters of its released detector.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repmet.errors import UserError
from repmet.model_definitions.labels import check_range


def squared_distances(embeddings: Tensor, representatives: Tensor) -> Tensor:
    """Squared Euclidean distance of every embedding to every representative, `d2 = |E|^2 + |R|^2 - 2 E.R`, clamped at 0.

    Computed in at least float32, also under autocast: the difference of large terms does not survive half precision.

    Args:
        embeddings: (..., B, e).
        representatives: (..., N, K, e); leading dimensions broadcast with those of `embeddings`.

    Returns:
        (..., B, N, K), values >= 0.

    Raises:
        ValueError: the last dimensions differ, or there are too few dimensions.
    """
    if embeddings.dim() < 2 or representatives.dim() < 3 or embeddings.shape[-1] != representatives.shape[-1]:
        raise ValueError(
            "squared_distances takes embeddings (..., B, e) and representatives (..., N, K, e) of the same e, "
            f"not {tuple(embeddings.shape)} and {tuple(representatives.shape)}"
        )
    with torch.autocast(embeddings.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(embeddings.dtype, representatives.dtype), torch.float32)
        e = embeddings.to(dtype)
        r = representatives.to(dtype).flatten(-3, -2)  # (..., N*K, e)
        products = e @ r.transpose(-2, -1)  # (..., B, N*K); `mT` has no ONNX operator
        d2 = e.square().sum(-1, keepdim=True) + r.square().sum(-1).unsqueeze(-2) - 2 * products
        return d2.clamp_min(0).unflatten(-1, representatives.shape[-3:-1])  # (..., B, N, K)


class Representatives(nn.Module):
    """Learnt representatives: maps embeddings (B, e) to squared distances (B, N, K).

    Args:
        num_classes: N >= 1.
        num_modes: K >= 1, representatives per class.
        dim: e >= 1.
        normalize: project the representatives onto the unit sphere in the graph (`REP_L2_NORM` of the released detector);
            off, they are free.
        separable: start as `class centre + mode offset`, the offsets shared by all classes, so that the modes of a class
            begin close to one another (cosine about 0.8 with the default deviations); off, every one is drawn alone.
        std, mode_std: standard deviations of the centres and of the mode offsets.

    Raises:
        ValueError: a size below 1, or embeddings of another dimension.
    """

    def __init__(
        self,
        num_classes: int,
        num_modes: int,
        dim: int,
        *,
        normalize: bool = False,
        separable: bool = True,
        std: float = 0.1,
        mode_std: float = 0.05,
    ) -> None:
        super().__init__()
        if min(num_classes, num_modes, dim) < 1:
            raise UserError(f"Representatives needs sizes >= 1, not {num_classes} x {num_modes} x {dim}")
        self.normalize, self.separable = normalize, separable
        self.std, self.mode_std = std, mode_std
        self.weight = nn.Parameter(torch.empty(num_classes, num_modes, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        num_classes, num_modes, dim = self.weight.shape
        with torch.no_grad():
            if self.separable:
                centres = torch.randn(num_classes, 1, dim) * self.std
                offsets = torch.randn(1, num_modes, dim) * self.mode_std
                self.weight.copy_(centres + offsets)
            else:
                self.weight.normal_(0, self.std)

    @property
    def points(self) -> Tensor:
        """(N, K, e), the representatives as distances see them."""
        return F.normalize(self.weight, dim=-1) if self.normalize else self.weight

    def forward(self, embeddings: Tensor) -> Tensor:
        return squared_distances(embeddings, self.points)

    def extra_repr(self) -> str:
        return "classes={}, modes={}, dim={}, normalize={}".format(*self.weight.shape, self.normalize)


def _kernel(d2: Tensor, sigma: float) -> Tensor:
    """`exp(-d2 / (2 sigma^2))`: eq. 1, the likelihood of one mode."""
    if sigma <= 0:
        raise UserError(f"sigma is a standard deviation and must be positive, not {sigma}")
    return torch.exp(d2 * (-0.5 / sigma**2))


def posterior(d2: Tensor, sigma: float = 0.5) -> Tensor:
    """Hard class posterior, eq. 2: `P(i | E) = max_j exp(-d2_ij / (2 sigma^2))`.

    (..., N, K) -> (..., N), values in (0, 1]. No epsilon is added. Of tied classes `argmax` takes the first.
    """
    return _kernel(d2, sigma).amax(-1)


def background(d2: Tensor, sigma: float = 0.5) -> Tensor:
    """Background posterior, eq. 3: `P(B | E) = 1 - max_i P(i | E)`. (..., N, K) -> (...), values in [0, 1)."""
    return 1 - posterior(d2, sigma).amax(-1)


def soft_log_posterior(d2: Tensor, sigma: float = 0.5) -> Tensor:
    """Logarithm of `soft_posterior`, (..., N, K) -> (..., N), finite however far from all modes the embedding lies."""
    if sigma <= 0:
        raise UserError(f"sigma is a standard deviation and must be positive, not {sigma}")
    return torch.log_softmax(d2.flatten(-2) * (-0.5 / sigma**2), -1).unflatten(-1, d2.shape[-2:]).logsumexp(-1)


def soft_posterior(d2: Tensor, sigma: float = 0.5) -> Tensor:
    """Normalised posterior, eq. 5: `sum_j exp(-d2_ij / (2 sigma^2)) / sum_kl exp(-d2_kl / (2 sigma^2))`.

    (..., N, K) -> (..., N), rows sum to 1. A softmax over all modes, so that it does not underflow far from all of them.
    """
    return soft_log_posterior(d2, sigma).exp()


def check_labels(d2: Tensor, labels: Tensor) -> None:
    """Raises ValueError unless these are squared distances (B, N, K) and labels (B,) with values 0..N-1."""
    if d2.dim() != 3 or labels.shape != d2.shape[:1]:
        raise ValueError(f"the loss takes d2 (B, N, K) and labels (B,), not {tuple(d2.shape)} and {tuple(labels.shape)}")
    check_range(labels, d2.shape[1])


def of_own_class(values: Tensor, labels: Tensor) -> Tensor:
    """Of values (B, N, ...) those of each row's class, (B, ...)."""
    index = labels.view(-1, *[1] * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
    return values.gather(1, index).squeeze(1)


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """The "mean" of losses (0 of none), their "sum", or with "none" themselves.

    Raises:
        ValueError: another reduction.
    """
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.sum() / max(losses.numel(), 1)
    raise UserError(f"reduction must be mean, sum or none, not {reduction!r}")


def margin_loss(d2: Tensor, labels: Tensor, margin: float = 0.5, reduction: str = "mean") -> Tensor:
    """Embedding loss, eq. 4: `[ min_j d2_{y j} - min_{i != y, j} d2_{ij} + margin ]_+`, the margin on **squared** distances.

    Args:
        d2: (B, N, K).
        labels: (B,), values 0..N-1.
        margin: >= 0.
        reduction: "mean" (0 for an empty batch), "sum" or "none" (B,).

    Returns:
        A scalar or (B,). With a single class there is no other one to keep away from, and the loss is 0.

    Raises:
        ValueError: wrong shapes, labels out of range, an unknown reduction.
    """
    check_labels(d2, labels)
    nearest = d2.amin(-1)  # (B, N)
    label_mask = F.one_hot(labels, d2.shape[1]).bool()  # (B, N)
    losses = F.relu(of_own_class(nearest, labels) - nearest.masked_fill(label_mask, torch.inf).amin(-1) + margin)  # (B,)
    return reduce(losses, reduction)
