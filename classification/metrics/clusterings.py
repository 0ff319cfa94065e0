"""How a clustering of embeddings agrees with their classes: normalised mutual information and pairwise F1.

Both from the table of counts alone. Shape legend: n images, N classes, M clusters, e dimensions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.kmeans import kmeans


def contingency(labels: Tensor, clusters: Tensor) -> Tensor:
    """(N, M) float64, images of each class in each cluster; labels and clusters (n,) are any integers.

    Raises:
        ValueError: shapes that do not fit, no image.
    """
    if labels.dim() != 1 or labels.shape != clusters.shape or not len(labels):
        raise UserError(
            f"a label and a cluster of each image are needed, not {tuple(labels.shape)}, {tuple(clusters.shape)}"
        )
    classes, rows = labels.unique(return_inverse=True)
    cluster_ids, columns = clusters.unique(return_inverse=True)
    cells = torch.bincount(rows * len(cluster_ids) + columns, minlength=len(classes) * len(cluster_ids))
    return cells.view(len(classes), len(cluster_ids)).double()


def normalised_mutual_information(counts: Tensor) -> float:
    """`2 I(class; cluster) / (H(class) + H(cluster))` of counts (N, M), 0..1; 1 where there is one class and one cluster."""
    p = counts / counts.sum()
    rows, columns = p.sum(1), p.sum(0)
    entropies = -torch.special.xlogy(rows, rows).sum() - torch.special.xlogy(columns, columns).sum()
    if entropies <= 0:
        return 1.0
    joint = -torch.special.xlogy(p, p).sum()
    return (2 * (entropies - joint) / entropies).clamp(0, 1).item()


def pairwise_f1(counts: Tensor) -> float:
    """F1 of pairs of images: in one cluster against of one class, from counts (N, M); 0 where no pair is in both."""

    def pairs(numbers: Tensor) -> Tensor:
        return (numbers * (numbers - 1) / 2).sum()

    both = pairs(counts)
    return (2 * both / (pairs(counts.sum(0)) + pairs(counts.sum(1))).clamp_min(1)).item()


def cluster_figures(
    embeddings: Tensor, labels: Tensor, *, metric: str = "cosine", seed: int = 0, iterations: int = 20, starts: int = 1
) -> dict[str, float]:
    """NMI and F1 of k-means with as many clusters as there are classes, the best of some starts by inertia.

    Args:
        embeddings: (n, e), labels: (n,). metric: "cosine" clusters the embeddings on the unit sphere.

    Raises:
        ValueError: those of `kmeans` and `contingency`, an unknown metric.
    """
    if metric not in ("cosine", "euclidean"):
        raise UserError(f"clusters are by cosine or euclidean, not {metric!r}")
    points = F.normalize(embeddings.float(), dim=1) if metric == "cosine" else embeddings.float()
    single_class = torch.zeros(len(points), dtype=torch.long, device=points.device)
    generator = torch.Generator().manual_seed(seed)
    classes = len(labels.unique())
    runs = [kmeans(points, single_class, 1, classes, iterations=iterations, generator=generator) for _ in range(starts)]
    best = min(runs, key=lambda run: run.inertia.item())
    counts = contingency(labels, best.assignment)
    return {"NMI": normalised_mutual_information(counts), "F1": pairwise_f1(counts)}
