"""Precision, recall and average precision from the scores of right and of wrong detections.

Detections of one score enter the curve together, so that no figure depends on the order of rows. The curve is kept at
the scores of right detections only: between them recall stands still and precision only falls, so nothing is lost and
tens of millions of false detections cost one sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """Points of falling `score`: `recall` rises, `precision` is as measured (not yet interpolated); each (p,)."""

    score: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


def precision_recall(true: np.ndarray, false: Sequence[np.ndarray], n_ground_truth: int) -> Curve:
    """Precision TP / (TP + FP) and recall TP / n at every score of a right detection.

    Args:
        true: (t,) scores of right detections, any order.
        false: arrays of the scores of wrong detections, each in **rising** order.
        n_ground_truth: n, the boxes that were to be found, above 0.
    """
    score, repeats = np.unique(true, return_counts=True)
    score, tp = score[::-1], np.cumsum(repeats[::-1])
    fp = np.zeros(len(score), dtype=np.int64)
    for scores in false:
        fp += len(scores) - np.searchsorted(scores, score, side="left")
    return Curve(score, tp / n_ground_truth, tp / (tp + fp))


def average_precision(curve: Curve) -> float:
    """Area under the interpolated curve, VOC 2010 and later: sum over points of (r_i - r_{i-1}) max_{j >= i} p_j."""
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * _envelope(curve.precision)))


def false_at_recall(curve: Curve, n_ground_truth: int, n_false: int, recall: float) -> int:
    """How many wrong detections come with a recall, `FP = TP (1 / precision - 1)`; all `n_false` where it is not reached."""
    at = int(np.searchsorted(curve.recall, recall - 1e-12, side="left"))
    if at == len(curve.recall):
        return n_false
    right = curve.recall[at] * n_ground_truth
    return round(right * (1 / curve.precision[at] - 1))


def average_precision_11(curve: Curve) -> float:
    """VOC 2007: the mean over r in {0, 0.1, ..., 1} of the highest precision at a recall of at least r."""
    levels = np.arange(11) / 10
    reached = np.searchsorted(curve.recall, levels - 1e-12, side="left")  # a recall of 3/10 counts as 0.3
    envelope = np.append(_envelope(curve.precision), 0.0)
    return float(envelope[reached].mean())


def _envelope(precision: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(precision[::-1])[::-1]
