"""The head on plain arrays: what `model_definitions.representatives` and `.episode` compute, where there may be no torch.

Shapes: B embeddings, N classes, K representatives a class, S support images, e embedding dimensions.
"""

import numpy as np
from numpy.typing import NDArray

from repmet.errors import MissingPackage

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def squared_distances(embeddings: Floats, points: Floats) -> Floats:
    """`d2 = |E|^2 + |R|^2 - 2 E.R`, clamped at 0: (B, e) and (N, K, e) -> (B, N, K)."""
    rows = points.reshape(-1, points.shape[-1])  # (N*K, e)
    d2 = np.square(embeddings).sum(-1)[:, None] + np.square(rows).sum(-1) - 2 * embeddings @ rows.T
    return np.maximum(d2, 0).reshape(len(embeddings), *points.shape[:2])


def soft_log_posterior(d2: NDArray[np.floating], sigma: float) -> NDArray[np.floating]:
    """Logarithm of `sum_j exp(-d2_ij / (2 sigma^2)) / sum_kl exp(-d2_kl / (2 sigma^2))` (RepMet, eq. 5).

    (..., N, K) -> (..., N), finite however far from all modes the embedding lies.
    """
    of_class = _log_sum_exp(d2 * (-0.5 / sigma**2))
    return of_class - _log_sum_exp(of_class)[..., None]


def _log_sum_exp(values: NDArray[np.floating]) -> NDArray[np.floating]:
    largest = values.max(-1, keepdims=True)
    return np.log(np.exp(values - largest).sum(-1)) + largest[..., 0]


def centres(embeddings: Floats, labels: Labels, num_classes: int, num_modes: int) -> Floats:
    """The classes' representatives, (N, K', e), K' <= K: the mean for one mode, else the centres of k-means.

    A class with at most K embeddings keeps them as they are; one with fewer than K' repeats its first.

    Raises:
        MissingPackage: k-means is asked for, and scikit-learn is not installed.
    """
    members = [embeddings[labels == c] for c in range(num_classes)]
    if num_modes == 1:
        return np.stack([of_class.mean(0, keepdims=True) for of_class in members])
    kept = [of_class if len(of_class) <= num_modes else _kmeans(of_class, num_modes) for of_class in members]
    width = max(map(len, kept))
    return np.stack([rows[np.where(np.arange(width) < len(rows), np.arange(width), 0)] for rows in kept])


def _kmeans(embeddings: Floats, clusters: int) -> Floats:
    try:
        from sklearn.cluster import KMeans  # slow to import, and one representative a class does not need it
    except ModuleNotFoundError:
        raise MissingPackage("several representatives a class need scikit-learn: pip install scikit-learn") from None
    fit = KMeans(clusters, n_init=1, random_state=0).fit(embeddings.astype(np.float64))
    return fit.cluster_centers_.astype(embeddings.dtype)
