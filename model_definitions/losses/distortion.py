"""How far the distances between prototypes are from a matrix of costs (Sainte Fare Garnot, Landrieu, BMVC 2021).

With `d_ij` the distances between K prototypes, D the costs, and N the number of ordered pairs i != j at a positive cost:

    distortion of scale s   dist(s) = 1/N sum |s d_ij - D_ij| / D_ij           (a figure)
    loss of scale s         L(s)    = 1/N sum ((s d_ij - D_ij) / D_ij)^2       (what is trained)

Scale-free, each takes the s that makes it least. With `a_ij = d_ij / D_ij`: L is least at `s = sum a / sum a^2`, where it is
`1 - (sum a)^2 / (N sum a^2)`, in [0, 1); dist is least where 1/s is the median of the a weighted by themselves.
"""

import torch
from torch import Tensor, nn

from repmet.model_definitions.costs import check_costs, counted_pairs
from repmet.model_definitions.prototype_distances import between, check_distance


class DistortionLoss(nn.Module):
    """L of prototypes (K, d): a scalar >= 0, and 0 where their distances are the costs, scale-free up to a factor.

        loss = cross_entropy(model(x), y) + DistortionLoss(D=D)(model.prototypes)

    Scale-free, it does not change when the prototypes are moved, turned or scaled together.

    Args:
        D: costs (K, K), see `check_costs`; pairs of classes at no cost are left out. A buffer that is not saved.
        distance: "euclidean" or "cosine", 1 - cos.
        scale_free: take the best scale; else s = 1, and D is in units of the distance.

    Raises:
        ValueError: as `check_costs`; another distance; a number of prototypes that is not K.
    """

    counted: Tensor
    costs: Tensor

    def __init__(self, D: Tensor, distance: str = "euclidean", scale_free: bool = True) -> None:
        super().__init__()
        check_distance(distance)
        self.distance, self.scale_free = distance, scale_free
        costs = check_costs(D)
        self.register_buffer("counted", counted_pairs(costs), persistent=False)
        self.register_buffer("costs", costs, persistent=False)

    def forward(self, prototypes: Tensor) -> Tensor:
        a = _ratios(prototypes, self.costs, self.counted, self.distance)  # (N,)
        s = best_scale(a.detach()) if self.scale_free else 1.0  # the loss is flat at the best scale: no gradient through it
        return (s * a - 1).square().mean()

    def extra_repr(self) -> str:
        return f"{len(self.costs)} classes, distance={self.distance}, scale_free={self.scale_free}"


def best_scale(ratios: Tensor) -> Tensor:
    """`s = sum a / sum a^2`, by which s a is nearest to 1; 0 where all distances are."""
    return ratios.sum() / ratios.square().sum().clamp_min(torch.finfo(ratios.dtype).tiny)


def distortion(prototypes: Tensor, D: Tensor, distance: str = "euclidean") -> Tensor:
    """dist(1) of prototypes (K, d): the mean relative deviation from the costs, a scalar >= 0.

    Raises:
        ValueError: as `DistortionLoss`.
    """
    return (_measured(prototypes, D, distance) - 1).abs().mean()


def scale_free_distortion(prototypes: Tensor, D: Tensor, distance: str = "euclidean") -> Tensor:
    """min over s of dist(s), in [0, 1].

    Raises:
        ValueError: as `DistortionLoss`.
    """
    a = _measured(prototypes, D, distance)
    return (a / weighted_median(a) - 1).abs().mean() if a.any() else a.new_ones(())


def weighted_median(a: Tensor) -> Tensor:
    """The median of values a (N,) >= 0 weighted by themselves: the first, ascending, at which half of the sum is reached."""
    ordered = a.sort().values
    # in double precision: at N in the millions a running sum of floats stalls
    reached = ordered.double().cumsum(0)
    return ordered[torch.searchsorted(reached, reached[-1:] / 2).clamp_max(len(a) - 1)].squeeze(0)


def _measured(prototypes: Tensor, D: Tensor, distance: str) -> Tensor:
    costs = check_costs(D).to(prototypes.device)
    return _ratios(prototypes, costs, counted_pairs(costs), distance)


def _ratios(prototypes: Tensor, costs: Tensor, counted: Tensor, distance: str) -> Tensor:
    if prototypes.dim() != 2 or len(prototypes) != len(costs):
        number = len(costs)
        raise ValueError(f"costs of {number} classes go with prototypes ({number}, d), not {tuple(prototypes.shape)}")
    d = between(prototypes, distance)
    return (d / costs.to(d.dtype).masked_fill(~counted, 1))[counted]
