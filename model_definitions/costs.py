"""The matrix of costs D between classes: D[y, k] is what it costs to take class y for class k."""

import warnings

import torch
from torch import Tensor

from repmet.errors import UserError


def check_costs(costs: Tensor) -> Tensor:
    """The matrix as a float tensor, its diagonal set to 0: what a right answer costs is not asked.

    Args:
        costs: D (K, K), K at least 2, values >= 0 off the diagonal. The losses that take it are written for a symmetric
            one; another is used as it is, with a warning.

    Raises:
        ValueError: D is not square, or a value off the diagonal is negative or not finite.
    """
    costs = torch.as_tensor(costs)
    if costs.dim() != 2 or costs.shape[0] != costs.shape[1] or len(costs) < 2:
        raise ValueError(f"costs D must be square, (K, K) with K >= 2, not {tuple(costs.shape)}")
    costs = (costs if costs.is_floating_point() else costs.float()).detach().clone().fill_diagonal_(0)
    wrong = ~(costs.isfinite() & (costs >= 0))
    if wrong.any():
        i, j = wrong.nonzero()[0].tolist()
        raise UserError(f"costs D[{i}, {j}] is {costs[i, j].item()}; a cost must be finite and not negative")
    if not torch.allclose(costs, costs.T):
        message = "costs D is not symmetric; a distance between prototypes is, and both orders are counted"
        warnings.warn(message, stacklevel=3)
    return costs


def counted_pairs(costs: Tensor) -> Tensor:
    """(K, K), the ordered pairs of classes at a positive cost; zeros off the diagonal are left out, with a warning.

    Two classes at no distance have no ratio of distance to cost.

    Raises:
        ValueError: no pair is left.
    """
    counted = costs > 0
    if not counted.any():
        raise UserError("costs D has no positive value off its diagonal")
    zeros = int((~counted).sum()) - len(costs)
    if zeros:
        warnings.warn(f"costs D is 0 for {zeros} ordered pairs of classes; they are left out", stacklevel=3)
    return counted
