"""Probabilities of an episode's classes from distances to representatives: RepMet's posterior and softmax.

Shapes: N classes, K representatives a class, B embeddings of e dimensions.
"""

import torch
from torch import Tensor

from repmet.detection.scoring.rule import FewShotRule
from repmet.model_definitions.losses.repmet_detection import detection_logits
from repmet.model_definitions.representatives import posterior, squared_distances


def stacked(first: Tensor, second: Tensor) -> Tensor:
    """Representatives (N, K, e) and (N', K', e) as those of N + N' classes, with the larger K.

    The class with fewer modes repeats its first, which changes no distance to the nearest mode.
    """
    modes = max(first.shape[1], second.shape[1])
    return torch.cat([torch.cat([r, r[:, :1].expand(-1, modes - r.shape[1], -1)], 1) for r in (first, second)])


def class_scores(embeddings: Tensor, representatives: Tensor, rule: FewShotRule, base: Tensor | None = None) -> Tensor:
    """(B, e) against (N, K, e) -> probabilities of the episode's classes (B, N).

    The shares of the background and of the classes whose representatives are `base` (N_b, K', e) are left out.
    """
    points = representatives if base is None else stacked(representatives, base)
    return scores_at(squared_distances(embeddings, points), rule)[:, : len(representatives)]


def scores_at(d2: Tensor, rule: FewShotRule) -> Tensor:
    """`class_scores` from the squared distances (B, N, K)."""
    logits = detection_logits(d2, rule.sigma, rule.scale)  # (B, N + 1)
    if rule.dummy_columns:
        dummy = rule.scale * posterior(logits.new_full((1, 1), 2.0), rule.sigma)  # at right angles to every embedding
        logits = torch.cat([logits, dummy.expand(len(logits), rule.dummy_columns)], -1)
    return logits.softmax(-1)[:, : d2.shape[1]]
