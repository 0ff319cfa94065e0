"""How far an average precision that is pooled over episodes can be trusted.

It is no mean over episodes, which could be resampled: groups of them are left out in turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .curve import Curve, average_precision
from .scores import Pooled, joined

GROUPS = 50


def in_groups(parts: Sequence[Pooled]) -> list[Pooled]:
    """Neighbouring parts joined to at most `GROUPS`, as equal in number as can be."""
    chunks = np.array_split(np.arange(len(parts)), min(GROUPS, len(parts)))
    return [joined([parts[i] for i in chunk]) for chunk in chunks]


def leave_one_out(groups: Sequence[Pooled]) -> np.ndarray:
    """The average precision of all groups but one, for each in turn, (G,); NaN where the others have no box.

    Every curve is followed at the scores of all found boxes. Where such a score is of the group that is left out, recall
    stands still and precision is not above the point before, so that the area is that of the others' own curve.
    """
    score = np.unique(np.concatenate([group.hits for group in groups]))[::-1]  # (p,)
    tp = sum(_at_least(group.hits, score) for group in groups)
    fp = sum(_at_least(group.false, score) for group in groups)
    n = sum(group.n for group in groups)
    without = np.full(len(groups), np.nan)
    for g, group in enumerate(groups):
        if n > group.n:
            own_tp, own_fp = tp - _at_least(group.hits, score), fp - _at_least(group.false, score)
            precision = own_tp / np.maximum(own_tp + own_fp, 1)
            without[g] = average_precision(Curve(score, own_tp / (n - group.n), precision))
    return without


def jackknife_interval(whole: float, without: np.ndarray) -> list[float]:
    """95 % interval of a figure by the grouped jackknife (Tukey, 1958): `whole` +- t_{0.975, G-1} s, where

    s^2 = (G - 1) / G sum_g (without_g - mean(without))^2.

    For a paired comparison of two methods over the same groups, give the differences.

    Args:
        whole: the figure over all groups, in any unit. without: (G,), the figure without each of them.

    Returns:
        [low, high]; infinitely wide for a single group, or where a group holds all there is.
    """
    from scipy.stats import t

    without = np.asarray(without, dtype=np.float64)
    count = len(without)
    if count < 2 or np.isnan(without).any():
        return [float("-inf"), float("inf")]
    half = t.ppf(0.975, count - 1) * np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
    return [float(whole - half), float(whole + half)]


def _at_least(rising: np.ndarray, score: np.ndarray) -> np.ndarray:
    """How many of the rising values are at least as high as each score."""
    return len(rising) - np.searchsorted(rising, score, side="left")
