"""The mean over the labels that count: what the losses on scores and labels share."""

import torch
from torch import Tensor

from repmet.model_definitions.dense import rows_and_labels
from repmet.model_definitions.labels import check_range

IGNORED = -100  # torch's own default


def counted_rows(scores: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Scores (n, K) and labels (n,) without those of `ignore_index`; pixels are rows.

    Raises:
        ValueError: shapes that do not fit, labels outside 0..K-1.
    """
    rows, labels = rows_and_labels(scores, labels)
    counted = labels != ignore_index
    rows, labels = rows[counted], labels[counted]
    check_range(labels, rows.shape[1])
    return rows, labels


def weighted_mean(losses: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """`sum_n w_{y_n} l_n / sum_n w_{y_n}` of losses (n,), as torch's cross-entropy has it; 0 of none."""
    if class_weights is None:
        return losses.sum() / max(losses.numel(), 1)
    weights = class_weights[labels]
    return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def focal_factor(log_p: Tensor, gamma: float) -> Tensor:
    """`(1 - p)^gamma`, of any shape; finite, with its slope, where rounding has brought p to 1 or above."""
    return (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).tiny) ** gamma
