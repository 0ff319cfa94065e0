"""Prototypes made of the costs alone, before any training: in the plane or any space, or on the sphere."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.costs import check_costs
from repmet.model_definitions.losses.distortion import DistortionLoss, distortion
from repmet.model_definitions.losses.hyperspherical import separation_loss
from repmet.model_definitions.losses.rank import RankLoss

LOSSES = ("distortion", "rank")
STARTS = ("mds", "random")


class Embedded(NamedTuple):
    """prototypes: (K, d). stress: the value of what was minimised. distortion: mean relative deviation from D; None without
    one. steps: that were taken."""

    prototypes: Tensor
    stress: float
    distortion: float | None
    steps: int


def embed_costs(
    D: Tensor,
    embedding_dim: int,
    loss: str = "distortion",
    *,
    start: str = "mds",
    max_steps: int = 1000,
    tolerance: float = 1e-7,
    n_triplets: int = 1000,
    seed: int = 0,
) -> Embedded:
    """Prototypes whose distances are the costs (or in their order): `fixed` ones of metric-guided prototype learning.

    The distortion loss, of scale 1, is minimised by L-BFGS, the rank loss, over random triples, by Adam.

    Args:
        D: (K, K), see `check_costs`. embedding_dim: d >= 1.
        loss: "distortion" or "rank".
        start: "mds", classical multidimensional scaling, which is exact where D can be; or "random", uniform.
        max_steps: at most so many.
        tolerance: stop where a step lowers the distortion loss by less.
        n_triplets: of a step of the rank loss. seed: of all random numbers.

    Raises:
        ValueError: as `check_costs`; an unknown loss or start; sizes below 1.
    """
    if loss not in LOSSES or start not in STARTS:
        raise UserError(f"loss is one of {', '.join(LOSSES)} and start of {', '.join(STARTS)}, not {loss!r} and {start!r}")
    if embedding_dim < 1 or max_steps < 1:
        raise UserError(f"embedding_dim and max_steps must be at least 1, not {embedding_dim} and {max_steps}")
    costs = check_costs(D).double()
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(len(costs), embedding_dim, dtype=torch.double, generator=generator)
    if start == "mds":
        # a little noise parts the classes that are one point in so few dimensions
        points = classical_mds(costs, embedding_dim) + 1e-3 * costs.mean() * (points - 0.5)
    if loss == "distortion":
        criterion = DistortionLoss(costs, scale_free=False)
        points, stress, steps = _by_lbfgs(criterion, points, max_steps, tolerance)
    else:
        ranks = RankLoss(costs, n_triplets)
        points, stress, steps = _by_adam(lambda p: ranks(p, generator=generator), points, max_steps)
    return Embedded(points.float(), stress, distortion(points, costs).item(), steps)


def spread_on_sphere(
    num_classes: int,
    embedding_dim: int,
    D: Tensor | None = None,
    *,
    max_steps: int = 1000,
    n_triplets: int = 1000,
    seed: int = 0,
) -> Embedded:
    """Unit prototypes as far from each other as can be, `separation_loss`; with D, in its order too, by `RankLoss`.

    By Adam on points that are brought back to length 1, its step falling to 0.

    Args:
        num_classes: K >= 2. embedding_dim: d >= 2. D: (K, K) costs, the classes' semantics; None: separation alone.
        max_steps, n_triplets, seed: as `embed_costs`.

    Raises:
        ValueError: as `check_costs`; D of another number of classes; sizes out of range.
    """
    if num_classes < 2 or embedding_dim < 2 or max_steps < 1:
        raise UserError(f"at least 2 classes, 2 dimensions, 1 step, not {num_classes}, {embedding_dim}, {max_steps}")
    if D is not None and len(D) != num_classes:
        raise UserError(f"costs of {len(D)} classes do not go with {num_classes} prototypes")
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(num_classes, embedding_dim, dtype=torch.double, generator=generator)
    ranks = None if D is None else RankLoss(torch.as_tensor(D).double(), n_triplets, distance="cosine")

    def objective(points: Tensor) -> Tensor:
        unit = F.normalize(points, dim=-1)
        separation = separation_loss(unit)
        return separation if ranks is None else separation + ranks(unit, generator=generator)

    points, stress, steps = _by_adam(objective, points, max_steps, after=lambda p: F.normalize(p, dim=-1))
    points = F.normalize(points, dim=-1)
    return Embedded(points.float(), stress, None if D is None else distortion(points, D, "cosine").item(), steps)


def classical_mds(D: Tensor, embedding_dim: int) -> Tensor:
    """Torgerson's scaling: the leading eigenvectors of `-1/2 J D^2 J`, J the centring matrix; (K, d), 0 past the K-th.

    Exact for the distances of points in so many dimensions. An asymmetric D is taken by the mean of both orders.
    """
    squares = ((D + D.T) / 2).square()
    centred = squares - squares.mean(0) - squares.mean(1, keepdim=True) + squares.mean()
    values, vectors = torch.linalg.eigh(-0.5 * centred)  # ascending
    number = min(embedding_dim, len(D))
    coordinates = vectors[:, -number:] * values[-number:].clamp_min(0).sqrt()
    return F.pad(coordinates, (0, embedding_dim - number))


def _by_lbfgs(
    objective: Callable[[Tensor], Tensor], points: Tensor, max_steps: int, tolerance: float
) -> tuple[Tensor, float, int]:
    points = points.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([points], max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective(points)
        value.backward()
        return value

    best, steps = math.inf, 0
    while steps < max_steps:
        optimizer.param_groups[0]["max_iter"] = min(20, max_steps - steps)
        optimizer.step(closure)
        steps += optimizer.param_groups[0]["max_iter"]
        with torch.no_grad():
            value = objective(points).item()
        if best - value < tolerance:
            break
        best = value
    return points.detach(), value, steps


def _by_adam(
    objective: Callable[[Tensor], Tensor],
    points: Tensor,
    max_steps: int,
    after: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, float, int]:
    points = points.clone().requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_steps)
    for _ in range(max_steps):
        optimizer.zero_grad()
        value = objective(points)
        value.backward()
        optimizer.step()
        schedule.step()
        if after is not None:
            with torch.no_grad():
                points.copy_(after(points))
    return points.detach(), value.item(), max_steps
