"""Representatives of shown classes in a metric of the embedding, as they are or tuned to the images that show them.

Plain arrays: what has no torch learns by the same equations.

Shapes: S support embeddings, N classes, K representatives a class, e embedding dimensions, r <= min(S, e).
"""

from dataclasses import dataclass

import numpy as np

from repmet.classification.array_head import Floats, Labels, centres, squared_distances

# The best of frozen ImageNet networks: 0.2 to 0.3 for one image a class, 0.14 to 0.19 for five (EfficientNet-Lite0 and
# ResNet-18 to layer3 on flowers17), whatever the scale of their embeddings.
SIGMA = 0.22
WIDER = 2.0  # sigma while representatives move, in expected ones: under a narrow one few images pull
STEPS = 30  # of L-BFGS


@dataclass(frozen=True)
class Tuning:
    """How far a head leaves the plain representatives in the plain embedding.

    Attributes:
        shrinkage: of the metric, in (0, 1], see `whitening`; 1 leaves the embedding as it is.
        weight: of what holds the representatives where they were, > 0, see `moved`; None: they stay there.
    """

    shrinkage: float = 1.0
    weight: float | None = None


PLAIN = Tuning()


@dataclass(frozen=True, eq=False)
class Whitening:
    """A metric of the embedding: it scales orthonormal directions (r, e) by scales (r,) and leaves all others."""

    directions: Floats
    scales: Floats

    def __call__(self, embeddings: Floats) -> Floats:
        """Embeddings (B, e) as the metric sees them, (B, e)."""
        return embeddings + (embeddings @ self.directions.T * (self.scales - 1)) @ self.directions


@dataclass(frozen=True, eq=False)
class FittedHead:
    """Representatives and their metric.

    Attributes:
        points: (N, K, e), in the metric's space.
        metric: of the embeddings; None for the plain one.
    """

    points: Floats
    metric: Whitening | None = None

    def distances(self, embeddings: Floats) -> Floats:
        """Squared distances of embeddings (B, e) to the representatives, (B, N, K)."""
        return squared_distances(embeddings if self.metric is None else self.metric(embeddings), self.points)


def fitted_head(embeddings: Floats, labels: Labels, num_classes: int, modes: int, tuning: Tuning = PLAIN) -> FittedHead:
    """The head of a support set.

    Args:
        embeddings: (S, e). labels: (S,), 0..N-1, each of which occurs. modes: K at most, as `centres` takes it.
    """
    metric = None if tuning.shrinkage == 1 else whitening(embeddings, labels, num_classes, tuning.shrinkage)
    seen = embeddings if metric is None else metric(embeddings)
    points = centres(seen, labels, num_classes, modes)
    if tuning.weight is not None:
        points = moved(points, seen, labels, WIDER * expected_sigma(seen, labels), tuning.weight)
    return FittedHead(points, metric)


def expected_sigma(embeddings: Floats, labels: Labels) -> float:
    """`SIGMA` of the median distance between support images of different classes; of one class it decides nothing."""
    d2 = squared_distances(embeddings, embeddings[:, None])[..., 0]  # (S, S)
    between = np.sort(d2[labels[:, None] != labels])
    return SIGMA * max(float(np.sqrt(between[(len(between) - 1) // 2])), 1e-6) if len(between) else 1.0


def whitening(embeddings: Floats, labels: Labels, num_classes: int, shrinkage: float) -> Whitening:
    """The metric in which the images of a class spread alike in all directions, up to its scale:

        `x -> Sigma^(-1/2)`,  `Sigma = (1 - a) W^T W / (S - N) + a s I`

    with W the supports less their class means, s the mean of the covariance's diagonal and a the shrinkage: regularised
    discriminant analysis (Friedman 1989). Directions without any support keep their length.

    Args:
        embeddings: (S, e). labels: (S,), 0..N-1. shrinkage: in (0, 1].
    """
    within = embeddings - centres(embeddings, labels, num_classes, 1)[labels, 0]  # (S, e)
    _, singular, directions = np.linalg.svd(within, full_matrices=False)  # (r,), (r, e)
    variances = np.square(singular) / max(len(labels) - num_classes, 1)
    mean = max(variances.sum() / embeddings.shape[1], 1e-12)
    scales = np.sqrt(shrinkage * mean / ((1 - shrinkage) * variances + shrinkage * mean))  # 1 where the variance is 0
    return Whitening(directions, scales)


def moved(points: Floats, embeddings: Floats, labels: Labels, sigma: float, weight: float) -> Floats:
    """Representatives that tell the supports apart, held near where they were, (N, K, e):

        `argmin_R  -sum ln P(y | x; R, sigma) + weight |R - R_0|^2 / (2 sigma^2)`,  P as `soft_posterior` (RepMet, eq. 5)

    The largest posterior under a normal prior about R_0; with one representative a class it is a logistic regression that
    starts from the class means and is drawn to them. By L-BFGS, in the span of the supports, which R does not leave.

    Args:
        points: R_0, (N, K, e), combinations of the supports. embeddings: (S, e). labels: (S,). sigma, weight: > 0.
    """
    from scipy.optimize import minimize  # slow to import, and only a tuned head needs it

    basis = np.linalg.qr(embeddings.T).Q  # (e, r)
    seen, start = (embeddings @ basis).astype(np.float64), (points @ basis).astype(np.float64)  # (S, r), (N, K, r)
    classes, modes, rank = start.shape
    origin = start.reshape(-1, rank)  # (N * K, r)
    others = np.repeat(np.arange(classes), modes)[None] != labels[:, None]  # (S, N * K)
    squares = np.square(seen).sum(1, keepdims=True)

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = flat.reshape(-1, rank)
        d2 = squares + np.square(free).sum(1) - 2 * seen @ free.T  # (S, N * K)
        shares, total = _softmax(d2 / (-2 * sigma**2))
        of_class, right = _softmax(np.where(others, -np.inf, d2 / (-2 * sigma**2)))
        pull, away = shares - of_class, free - origin
        gradient = pull.T @ seen - pull.sum(0)[:, None] * free + weight * away  # times sigma^2
        value = (total - right).sum() + weight * np.square(away).sum() / (2 * sigma**2)
        return float(value), gradient.ravel() / sigma**2

    free = minimize(cost, origin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    steps = (free.reshape(start.shape) - start).astype(points.dtype)
    return points + steps @ basis.T


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, with the logarithm of its sum."""
    largest = logits.max(1, keepdims=True)
    terms = np.exp(logits - largest)
    sums = terms.sum(1, keepdims=True)
    return terms / sums, (np.log(sums) + largest)[:, 0]
