"""How far a mean can be trusted: over episodes, images, lists of shots or training seeds, by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from repmet.errors import UserError

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A mean, the half-width of its 95 % interval in the same unit, and how many values it was taken over.

    One value says nothing about the spread: its `ci95` is infinite.
    """

    mean: float
    ci95: float
    n: int

    def as_json(self) -> dict[str, float | int | None]:
        """{mean, ci95, n} of JSON's own types: `ci95` is None where it is not known."""
        ci95 = float(self.ci95) if math.isfinite(self.ci95) else None
        return {"mean": float(self.mean), "ci95": ci95, "n": int(self.n)}


def mean_interval(values: Any) -> Estimate:
    """Mean and `t s / sqrt(n)`: t the 97.5 % point of Student's distribution with n - 1 degrees of freedom, s the sample's
    standard deviation, `s^2 = sum (x - mean)^2 / (n - 1)`.

    With three training seeds t is 4.30. From some hundred values on it is the 1.96 of few-shot papers (1.962 of 1000; Snell
    et al., "Prototypical Networks for Few-shot Learning", NeurIPS 2017, among others).

    Args:
        values: (n,) independent figures in any unit, as a sequence, an array or a tensor: accuracies of episodes, 0 and 1
            for every image of a test set, one figure a seed.

    Raises:
        ValueError: no value, more than one dimension, or one that is not finite.
    """
    from scipy.special import stdtrit

    x = _checked(values)
    n = len(x)
    if n == 1:
        return Estimate(float(x[0]), math.inf, 1)
    t = stdtrit(n - 1, (1 + CONFIDENCE) / 2)
    mean = math.fsum(x) / n  # rounded once
    return Estimate(mean, float(t * x.std(ddof=1) / math.sqrt(n)), n)


def paired_difference(first: Any, second: Any) -> Estimate:
    """Mean of `first - second` over the same episodes, with its interval.

    Episodes differ in difficulty, which both meet alike: the interval of the differences is narrower than what the two
    single ones suggest. The first is better at this level where `mean > ci95`.

    Args:
        first, second: (n,) figures of two checkpoints, episode by episode; that the episodes are the same is the caller's
            part.

    Raises:
        ValueError: different numbers of values, or what `mean_interval` refuses.
    """
    a, b = _checked(first), _checked(second)
    if len(a) != len(b):
        raise UserError(f"a paired difference takes the same episodes twice, not {len(a)} and {len(b)} values")
    return mean_interval(a - b)


def _checked(values: Sequence[float] | np.ndarray | Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, wherever it lies
        values = values.detach().double().cpu().numpy()
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise UserError(f"an interval is taken over values (n,), n at least 1, not {x.shape}")
    if not np.isfinite(x).all():
        raise UserError(f"{int((~np.isfinite(x)).sum())} of {len(x)} values are not finite")
    return x
