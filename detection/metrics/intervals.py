"""How far a mean over episodes can be trusted, by the bootstrap."""

from __future__ import annotations

import numpy as np

RESAMPLES = 2000


def bootstrap_interval(values: np.ndarray, *, seed: int = 0) -> list[float]:
    """95 % percentile interval of the mean, from resampling the values with replacement (Efron, 1979).

    For a paired comparison of two methods on the same episodes, give the differences.

    Args:
        values: (n,) one figure an episode, in any unit.

    Returns:
        [low, high]; infinitely wide for a single value, which says nothing about the spread.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"an interval needs one finite figure an episode, got shape {values.shape}: {values}")
    if len(values) == 1:
        return [float("-inf"), float("inf")]
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return [float(low), float(high)]
