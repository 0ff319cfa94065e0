"""k-means within every class at once: k-means++ seeding and Lloyd's iterations on padded batches of classes.

Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007, its greedy variant: of several
candidates for the next centre, the one that lowers the inertia most.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.labels import check_range

_BATCH = {"cpu": 1 << 19}  # numbers in a batch of classes: what stays in a core's cache for all iterations
_BATCH_ELSEWHERE = 1 << 26


class Clusters(NamedTuple):
    """What `kmeans` returns.

    centres: (N, K, e). A cluster without members repeats a point of its class; of a class without points all are zero.
    counts: (N, K), members of each.
    assignment: (n,), the cluster 0..K-1 of a point within its class.
    inertia: (N,), the sum of squared distances of a class' points to their centres.
    """

    centres: Tensor
    counts: Tensor
    assignment: Tensor
    inertia: Tensor


@torch.no_grad()
def kmeans(
    points: Tensor,
    labels: Tensor,
    num_classes: int,
    num_clusters: int,
    *,
    iterations: int = 20,
    generator: torch.Generator | None = None,
) -> Clusters:
    """K clusters within each class, that minimise `sum_x min_k |x - mu_k|^2` locally.

    Ends when no point changes its cluster. Assignments are the nearest of the returned centres, the first of ties. A class
    of fewer than K distinct points leaves clusters without members.

    Args:
        points: (n, e), at least float32 in the computation.
        labels: (n,), values 0..N-1.
        num_classes: N; classes may be empty.
        num_clusters: K >= 1.
        iterations: at most, >= 1.
        generator: a CPU generator for the seeding; None is torch's own.

    Raises:
        ValueError: wrong shapes, labels out of range, sizes below 1, points that are not finite.
    """
    _check(points, labels, num_classes, num_clusters, iterations)
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    centres = points.new_zeros(num_classes, num_clusters, points.shape[1])
    counts = labels.new_zeros(num_classes, num_clusters)
    assignment = torch.zeros_like(labels)
    inertia = points.new_zeros(num_classes)
    limit = _BATCH.get(points.device.type, _BATCH_ELSEWHERE) // max(points.shape[1], 1)
    for classes, members, valid in _batches(labels, num_classes, limit):
        x = points[members]  # (C, m, e)
        sizes = valid.sum(1, keepdim=True)  # (C, 1)
        origin = (x * valid[..., None]).sum(1, keepdim=True) / sizes[..., None]
        x = (x - origin) * valid[..., None]  # distances are exacter near the origin, and padding is 0
        clusters = _lloyd(x, valid, _seed(x, sizes, valid, num_clusters, generator), iterations)
        centres[classes] = clusters.centres + origin
        counts[classes], inertia[classes] = clusters.counts, clusters.inertia
        assignment[members[valid]] = clusters.assignment[valid]
    return Clusters(centres, counts, assignment, inertia)


def _check(points: Tensor, labels: Tensor, num_classes: int, num_clusters: int, iterations: int) -> None:
    if points.dim() != 2 or labels.shape != points.shape[:1]:
        raise ValueError(f"kmeans takes points (n, e) and labels (n,), not {tuple(points.shape)} and {tuple(labels.shape)}")
    if min(num_classes, num_clusters, iterations) < 1:
        raise UserError(
            f"kmeans needs at least 1 class, cluster and iteration, not {num_classes}, {num_clusters} and {iterations}"
        )
    check_range(labels, num_classes)
    if not points.isfinite().all():
        raise UserError("kmeans: some points are not finite")


def _batches(labels: Tensor, num_classes: int, limit: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Classes of like size together: their ids (C,), their points (C, m) padded, and which of these are no padding (C, m).

    Sizes within a factor of 2 of each other, so that one large class does not blow up all others; at most `limit` points, or
    one class.
    """
    counts = torch.bincount(labels, minlength=num_classes)
    order, first = torch.argsort(labels, stable=True), counts.cumsum(0) - counts
    magnitude = counts.clamp_min(1).double().log2().ceil().long().masked_fill(counts == 0, -1)
    for size in magnitude[counts > 0].unique().tolist():
        alike = (magnitude == size).nonzero().flatten()
        for classes in alike.split(max(1, limit // int(counts[alike].max()))):
            place = torch.arange(int(counts[classes].max()), device=labels.device)  # (m,)
            valid = place < counts[classes, None]
            yield classes, order[first[classes, None] + place * valid], valid


def _seed(x: Tensor, sizes: Tensor, valid: Tensor, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """Greedy k-means++: x (C, m, e) -> initial centres (C, K, e)."""

    def uniform(trials: int) -> Tensor:  # on the CPU whatever the device, so that a seed means the same
        return torch.rand(len(x), trials, generator=generator, dtype=torch.float64).to(x.device, x.dtype)

    every = torch.arange(len(x), device=x.device)
    norms = x.square().sum(-1)  # (C, m)
    trials = 2 + int(math.log(num_clusters))
    first = (uniform(1) * sizes).long().clamp_max(sizes - 1)  # (C, 1)
    centres = x.new_empty(len(x), num_clusters, x.shape[2])
    centres[:, 0] = x[every, first[:, 0]]
    nearest = _distances(x, norms, centres[:, :1])[:, 0] * valid  # (C, m), to the nearest centre so far
    for k in range(1, num_clusters):
        cumulative = nearest.cumsum(1)
        drawn = torch.searchsorted(cumulative, uniform(trials) * cumulative[:, -1:], right=True)
        candidates = x[every[:, None], drawn.clamp_max(sizes - 1)]  # (C, t, e)
        improved = torch.minimum(nearest[:, None], _distances(x, norms, candidates) * valid[:, None])  # (C, t, m)
        best = improved.sum(-1).argmin(-1)  # (C,)
        centres[:, k], nearest = candidates[every, best], improved[every, best]
    return centres


def _lloyd(x: Tensor, valid: Tensor, centres: Tensor, iterations: int) -> Clusters:
    norms = x.square().sum(-1)  # (C, m)
    before = None
    for _ in range(iterations):
        nearest, assignment = _distances(x, norms, centres).min(1)  # (C, m)
        if before is not None and torch.equal(assignment, before):
            break
        before = assignment
        centres = _means(x, valid, assignment, nearest, centres)
    else:
        assignment = _distances(x, norms, centres).min(1).indices
    counts = _members(valid, assignment, centres.shape[1]).sum(-1)
    assigned_centres = centres.gather(1, assignment[..., None].expand(-1, -1, x.shape[2]))  # (C, m, e)
    return Clusters(centres, counts, assignment, ((x - assigned_centres).square().sum(-1) * valid).sum(1))


def _distances(x: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """Squared distances, (C, m, e) and (C, k, e) -> (C, k, m)."""
    d2 = torch.baddbmm(norms[:, None], centres, x.mT, alpha=-2)
    return d2.add_(centres.square().sum(-1, keepdim=True)).clamp_min_(0)


def _members(valid: Tensor, assignment: Tensor, num_clusters: int) -> Tensor:
    """Which points belong to which cluster, (C, K, m)."""
    return (assignment[:, None] == torch.arange(num_clusters, device=valid.device)[:, None]) & valid[:, None]


def _means(x: Tensor, valid: Tensor, assignment: Tensor, nearest: Tensor, centres: Tensor) -> Tensor:
    """The means of the clusters, (C, K, e). One without members moves onto the point of its class that is farthest from its
    centre, the next one onto the next farthest; it stays where there is none."""
    members = _members(valid, assignment, centres.shape[1])
    counts = members.sum(-1)
    means = members.to(x.dtype) @ x / counts.clamp_min(1)[..., None]
    for c in (counts == 0).any(1).nonzero().flatten().tolist():
        empty = (counts[c] == 0).nonzero().flatten()
        far, index = (nearest[c] * valid[c]).topk(min(len(empty), len(nearest[c])))
        index = index[far > 0]
        means[c, empty] = centres[c, empty]
        means[c, empty[: len(index)]] = x[c, index]
    return means
