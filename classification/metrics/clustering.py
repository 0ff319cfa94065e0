"""The unsupervised accuracy: are the classes the clusters that k-means finds?

k-means with as many clusters as classes runs on the evaluated set; every cluster is then given to one class, no two to the
same, and an image counts as right if its cluster is its class's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from repmet.errors import UserError

ASSIGNMENTS = ("hungarian", "greedy")


def unsupervised_accuracy(
    embeddings: Tensor,
    labels: Tensor,
    *,
    assignment: str = "hungarian",
    seed: int = 0,
    starts: int = 15,
    iterations: int = 35,
) -> float:
    """Fraction of images in their class's cluster.

    Args:
        embeddings: (n, e). labels: (n,) class ids; only the classes that have an image count.
        assignment: see `assign_clusters`.
        seed, starts, iterations: of k-means; the best of `starts` runs by k-means++ is taken.

    Raises:
        ValueError: shapes that do not fit, no image, embeddings that are not finite, an unknown assignment.
    """
    if embeddings.dim() != 2 or labels.shape != embeddings.shape[:1] or not len(labels):
        raise UserError(
            "unsupervised_accuracy takes embeddings (n, e) and labels (n,), n at least 1, not "
            f"{tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    if not embeddings.isfinite().all():
        raise UserError("unsupervised_accuracy takes finite embeddings")
    from sklearn.cluster import KMeans  # slow to import, and most evaluations do not need it

    classes, positions = torch.unique(labels.cpu(), return_inverse=True)
    means = KMeans(len(classes), n_init=starts, max_iter=iterations, random_state=seed)
    clusters = means.fit_predict(embeddings.detach().float().cpu().numpy())
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (clusters, positions.numpy()), 1)
    return float(counts[np.arange(len(classes)), assign_clusters(counts, assignment)].sum() / len(labels))


def assign_clusters(counts: np.ndarray, assignment: str = "hungarian") -> np.ndarray:
    """The class of each cluster, a permutation.

    Args:
        counts: (N, N), images of class j in cluster i.
        assignment: "hungarian", the permutation with the most images right (Kuhn 1955); "greedy", the largest count of all
            first, then the largest of the clusters and classes left (of equal counts the first), which is never more.

    Raises:
        ValueError: not a square, an unknown assignment.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise UserError(f"as many clusters as classes: counts (N, N), not {counts.shape}")
    if assignment == "hungarian":
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment(counts, maximize=True)[1]
    if assignment != "greedy":
        raise UserError(f"assignment is one of {', '.join(ASSIGNMENTS)}, not {assignment!r}")
    clusters, classes = np.nonzero(counts)
    assigned = np.full(len(counts), -1)
    taken = np.zeros(len(counts), bool)
    for k in np.argsort(-counts[clusters, classes], kind="stable"):
        if assigned[clusters[k]] < 0 and not taken[classes[k]]:
            assigned[clusters[k]] = classes[k]
            taken[classes[k]] = True
    assigned[assigned < 0] = np.flatnonzero(~taken)  # these share no image with a class that is left
    return assigned
