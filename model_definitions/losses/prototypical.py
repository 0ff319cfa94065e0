"""The loss of Prototypical Networks (Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017)."""

import torch.nn.functional as F
from torch import Tensor

from repmet.errors import UserError
from repmet.model_definitions.representatives import squared_distances

DISTANCES = ("squared_euclidean", "cosine")


def prototypical_log_probabilities(support: Tensor, query: Tensor, way: int, distance: str = "squared_euclidean") -> Tensor:
    """Eq. 2: `log p(y = k | q) = log softmax_k(-d(q, c_k))` with the prototypes `c_k = mean of class k's supports` (eq. 1).

    The gradient flows through the prototypes. There is no temperature and no margin.

    Args:
        support: (way * shot, e), class after class.
        query: (Q, e).
        way: classes of the episode, at least 2.
        distance: "squared_euclidean", `d = |q - c|^2`, or "cosine", `d = 1 - cos(q, c)`, the paper's (worse) alternative.

    Returns:
        (Q, way).

    Raises:
        ValueError: fewer than two classes, supports that do not divide among them, an unknown distance.
    """
    if way < 2:
        raise UserError(f"an episode needs at least 2 classes, not {way}")
    if support.dim() != 2 or len(support) == 0 or len(support) % way:
        raise ValueError(f"supports (way * shot, e) of {way} classes cannot have the shape {tuple(support.shape)}")
    prototypes = support.unflatten(0, (way, -1)).mean(1)  # (way, e)
    if distance == "squared_euclidean":
        d = squared_distances(query, prototypes[:, None])  # (Q, way, 1)
    elif distance == "cosine":
        # on the unit sphere |q - c|^2 = 2 - 2 cos
        d = squared_distances(F.normalize(query, dim=-1), F.normalize(prototypes, dim=-1)[:, None]) / 2
    else:
        raise UserError(f"distance must be one of {', '.join(DISTANCES)}, not {distance!r}")
    return F.log_softmax(-d.squeeze(-1), dim=-1)


def prototypical_loss(
    support: Tensor, query: Tensor, way: int, distance: str = "squared_euclidean"
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: the mean over all queries of `-log p(y = true class | q)`.

    Args:
        support: (way * shot, e), class after class.
        query: (way * Q, e), class after class, in the supports' order.
        way, distance: see `prototypical_log_probabilities`.

    Returns:
        The loss, a scalar, and the log-probabilities, (way * Q, way).

    Raises:
        ValueError: also for queries that do not divide among the classes.
    """
    log_probabilities = prototypical_log_probabilities(support, query, way, distance)
    if len(query) == 0 or len(query) % way:
        raise ValueError(f"queries (way * Q, e) of {way} classes cannot have the shape {tuple(query.shape)}")
    per_class = log_probabilities.unflatten(0, (way, -1))  # (way, Q, way)
    return -per_class.diagonal(dim1=0, dim2=2).mean(), log_probabilities
