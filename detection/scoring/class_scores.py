"""Probabilities of an episode's classes from distances to representatives: RepMet's posterior and softmax.

Shapes: N classes, K representatives a class, B embeddings of e dimensions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.losses.negative_representatives import NEUTRAL, negative_distances
from repmet.model_definitions.losses.repmet_detection import detection_logits
from repmet.model_definitions.representatives import posterior, squared_distances


def padded(classes: Sequence[Tensor]) -> Tensor:
    """Representatives (K_i, e) of each class as (N, K, e) with the largest K.

    A class with fewer modes repeats its first, which changes no distance to the nearest mode.
    """
    modes = max(map(len, classes))
    return torch.stack([torch.cat([points, points[:1].expand(modes - len(points), -1)]) for points in classes])


def stacked(first: Tensor, second: Tensor) -> Tensor:
    """Representatives (N, K, e) and (N', K', e) as those of N + N' classes, with the larger K (`padded`)."""
    return padded([*first, *second])


def class_scores(embeddings: Tensor, representatives: Tensor, rule: FewShotRule, base: Tensor | None = None) -> Tensor:
    """(B, e) against (N, K, e) -> probabilities of the episode's classes (B, N).

    The shares of the background and of the classes whose representatives are `base` (N_b, K', e) are left out.
    """
    points = representatives if base is None else stacked(representatives, base)
    return scores_at(squared_distances(embeddings, points), rule)[:, : len(representatives)]


def lengthened(d2: Tensor, negative_d2: Tensor, classes: Tensor, weight: float) -> Tensor:
    """Squared distances (B, N, K), those of some classes lengthened by nearness to their negatives (NP-RepMet).

    Args:
        negative_d2: (B, N', K'), to the negative representatives of the classes that have some.
        classes: (N',), the numbers of those.
        weight: how much nearness to a negative counts.
    """
    away = d2.new_full((*d2.shape[:2], negative_d2.shape[2]), NEUTRAL)
    away[:, classes] = negative_d2
    return negative_distances(d2, away, weight)


def scores_at(d2: Tensor, rule: FewShotRule) -> Tensor:
    """`class_scores` from the squared distances (B, N, K)."""
    logits = detection_logits(d2, rule.sigma, rule.scale)  # (B, N + 1)
    if rule.dummy_columns:
        dummy = rule.scale * posterior(logits.new_full((1, 1), 2.0), rule.sigma)  # at right angles to every embedding
        logits = torch.cat([logits, dummy.expand(len(logits), rule.dummy_columns)], -1)
    return logits.softmax(-1)[:, : d2.shape[1]]
