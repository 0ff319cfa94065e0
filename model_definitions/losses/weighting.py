"""The mean over the labels that count: what the losses on scores and labels share."""

import torch
from torch import Tensor

from repmet.model_definitions.dense import rows_and_labels

IGNORED = -100  # torch's own default


def counted_rows(scores: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Scores (n, K) and labels (n,) without those of `ignore_index`; pixels are rows.

    Raises:
        ValueError: shapes that do not fit, labels outside 0..K-1.
    """
    rows, labels = rows_and_labels(scores, labels)
    counted = labels != ignore_index
    rows, labels = rows[counted], labels[counted]
    if labels.numel() and not (labels.min() >= 0 and labels.max() < rows.shape[1]):
        raise ValueError(f"labels must lie in 0..{rows.shape[1] - 1}, not {labels.min().item()}..{labels.max().item()}")
    return rows, labels


def weighted_mean(losses: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """`sum_n w_{y_n} l_n / sum_n w_{y_n}` of losses (n,), as torch's cross-entropy has it; 0 of none."""
    if class_weights is None:
        return losses.sum() / max(losses.numel(), 1)
    weights = class_weights[labels]
    return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)
