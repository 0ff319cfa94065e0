"""Magnet loss (Rippel, Paluri, Dollar, Bourdev, "Metric Learning with Adaptive Density Discrimination", ICLR 2016).

Shapes: M clusters of the batch, D samples of each, e dimensions; N classes, K clusters of each in the index.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.representatives import reduce, squared_distances


def magnet_loss(
    embeddings: Tensor, cluster_classes: Tensor, alpha: float = 1.0, reduction: str = "mean"
) -> tuple[Tensor, Tensor]:
    """Eq. 4 and 5, with `mu_m` the mean of the batch's samples of cluster m, C(m) its class, `d2_mdl = |r_md - mu_l|^2`:

        `sigma2 = sum_md d2_mdm / (M D - 1)`
        `L_md = [ -log( exp(-d2_mdm / (2 sigma2) - alpha) / sum_{l: C(l) != C(m)} exp(-d2_mdl / (2 sigma2)) ) ]_+`

    The sum leaves out every cluster of the sample's class, not its own cluster alone; without another class in the batch it
    is empty and the loss 0. The variance stands in the exponent as it is: not squared once more. The gradient flows through
    the means and the variance too. `sigma2` is kept above the machine's epsilon, so that a collapsed batch stays finite.

    Args:
        embeddings: (M, D, e), D >= 2.
        cluster_classes: (M,).
        alpha: the desired gap between own and other clusters, in units of the log-ratio.
        reduction: "mean", "sum" or "none" (M, D).

    Returns:
        The loss and `sigma2`, a scalar without gradient.

    Raises:
        ValueError: wrong shapes, a single sample a cluster, an unknown reduction.
    """
    if embeddings.dim() != 3 or cluster_classes.shape != embeddings.shape[:1]:
        raise ValueError(
            "magnet_loss takes embeddings (M, D, e) and the classes (M,) of the clusters, "
            f"not {tuple(embeddings.shape)} and {tuple(cluster_classes.shape)}"
        )
    if embeddings.shape[1] < 2:
        raise UserError(f"the variance of a cluster needs at least 2 samples of it, not {embeddings.shape[1]}")
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    means = embeddings.mean(1)  # (M, e)
    to_mean = (embeddings - means[:, None]).square().sum(-1)  # (M, D)
    sigma2 = (to_mean.sum() / (to_mean.numel() - 1)).clamp_min(torch.finfo(to_mean.dtype).eps)
    d2 = squared_distances(embeddings, means[:, None]).squeeze(-1)  # (M, D, M)
    same_class = cluster_classes[:, None] == cluster_classes  # (M, M)
    others = (d2 / (-2 * sigma2)).masked_fill(same_class[:, None], -torch.inf).logsumexp(-1)  # (M, D)
    return reduce(F.relu(alpha + to_mean / (2 * sigma2) + others), reduction), sigma2.detach()


def knc(d2: Tensor, sigma2: float | Tensor, nearest: int = 128) -> Tensor:
    """Eq. 6, the class posterior of the k-nearest-cluster rule, over the L nearest clusters l of all classes:

        `p(c | x) = sum_{l: C(l) = c} exp(-|f(x) - mu_l|^2 / (2 sigma2)) / sum_l exp(-|f(x) - mu_l|^2 / (2 sigma2))`

    A softmax over the L distances, so that it does not underflow far from all of them.

    Args:
        d2: (B, N, K), squared distances to the clusters; infinite where a class has fewer than K.
        sigma2: the variance, > 0: the running average of the training's.
        nearest: L >= 1. Where there are fewer clusters, all count. Of clusters equally far at the edge any may be left out.

    Returns:
        (B, N), rows sum to 1.

    Raises:
        ValueError: a variance or L out of range, a wrong shape.
    """
    if d2.dim() != 3:
        raise ValueError(f"knc takes squared distances (B, N, K), not {tuple(d2.shape)}")
    if not sigma2 > 0 or nearest < 1:
        raise UserError(f"knc needs a variance > 0 and at least 1 nearest cluster, not {float(sigma2)} and {nearest}")
    flat = d2.flatten(1)  # (B, N*K)
    near, index = flat.topk(min(nearest, flat.shape[1]), dim=1, largest=False)  # (B, L)
    weights = torch.softmax(near / (-2 * sigma2), dim=1)
    return d2.new_zeros(d2.shape[:2]).scatter_add(1, index // d2.shape[2], weights)
