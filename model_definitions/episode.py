"""From the support embeddings of an episode to its representatives, (S, e) -> (N, K, e).

Every function takes embeddings (S, e), labels (S,) with values 0..N-1 and N, and raises ValueError if a class has none.
Gradients flow through all but `kmeans_centres`.
"""

import torch
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.labels import check_range


def _check(embeddings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Returns the number of supports of every class, (N,)."""
    if embeddings.dim() != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"supports are embeddings (S, e) with labels (S,), not {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    check_range(labels, num_classes, "support labels")
    counts = torch.bincount(labels, minlength=num_classes)
    if (counts == 0).any():
        raise UserError(f"classes {(counts == 0).nonzero().flatten().tolist()} of the episode have no support embedding")
    return counts


def class_means(embeddings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Prototypes `c_k = mean of the class's support embeddings` (Snell et al. 2017, eq. 1): (N, 1, e)."""
    counts = _check(embeddings, labels, num_classes)
    sums = embeddings.new_zeros(num_classes, embeddings.shape[1]).index_add(0, labels, embeddings)  # (N, e)
    return (sums / counts[:, None]).unsqueeze(1)


def all_shots(embeddings: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Every support embedding is a representative: (N, K, e) with K the largest count of a class.

    A class with fewer repeats its first one, which changes neither minima over modes nor hard posteriors.
    """
    counts = _check(embeddings, labels, num_classes)
    order = torch.argsort(labels, stable=True)
    first = counts.cumsum(0) - counts  # (N,) where a class begins in `order`
    mode = torch.arange(int(counts.max()), device=labels.device)  # (K,)
    return embeddings[order[first[:, None] + mode * (mode < counts[:, None])]]  # (N, K, e)


def kmeans_centres(embeddings: Tensor, labels: Tensor, num_classes: int, num_modes: int, *, seed: int = 0) -> Tensor:
    """RepMet's few-shot representatives: the centres of k-means within each class, where it has more than K embeddings.

    Classes with at most K embeddings keep them as they are (`all_shots`); one mode is the mean. Returns (N, K', e), K' <= K.

    Raises:
        ValueError: `num_modes` < 1.
    """
    if num_modes < 1:
        raise UserError(f"num_modes must be at least 1, not {num_modes}")
    if num_modes == 1:
        return class_means(embeddings, labels, num_classes)
    from sklearn.cluster import KMeans  # slow to import, and most episodes do not need it

    counts = _check(embeddings, labels, num_classes)
    points, point_labels = [], []
    for c in range(num_classes):
        members = embeddings[labels == c]
        if counts[c] > num_modes:
            fit = KMeans(num_modes, n_init=1, random_state=seed).fit(members.detach().double().cpu().numpy())
            members = torch.as_tensor(fit.cluster_centers_, dtype=embeddings.dtype, device=embeddings.device)
        points.append(members)
        point_labels.append(labels.new_full((len(members),), c))
    return all_shots(torch.cat(points), torch.cat(point_labels), num_classes)
