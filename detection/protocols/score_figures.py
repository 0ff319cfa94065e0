"""Figures of scores that say how sure a find is: calibration error, F1 at a threshold and at the best one, Platt's numbers.

Plain arrays. Shapes: n finds.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from repmet.detection.scoring.calibration import LOWEST

BINS = 15
SHOWN = 0.05  # finds below are nobody's business: there are hundreds in each image


def expected_calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """`sum_b (n_b / n) |mean of p - share of right|` over equal bins (Naeini et al., AAAI 2015), from `SHOWN` on."""
    shown = probabilities >= SHOWN
    p, right = probabilities[shown], right[shown]
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, p, bins) - np.bincount(place, right, bins)
    return float(np.abs(gaps).sum() / max(counts.sum(), 1))


def f1_at(scores: np.ndarray, right: np.ndarray, objects: int, threshold: float) -> float:
    """F1 of the finds from a threshold on."""
    taken = scores >= threshold
    return float(2 * right[taken].sum() / max(taken.sum() + objects, 1))


def best_f1(scores: np.ndarray, right: np.ndarray, objects: int) -> float:
    """The highest F1 of any threshold, chosen with the labels."""
    order = np.argsort(-scores, kind="stable")
    counts = np.arange(1, len(scores) + 1)
    return float((2 * np.cumsum(right[order]) / (counts + objects)).max(initial=0.0))


def platt(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset of `sigmoid(a log s + b)` that fit finds best: a row of `score_prior`."""
    logs = np.log(np.maximum(scores.astype(np.float64), LOWEST))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        z = values[0] * logs + values[1]
        error = expit(z) - right
        return (np.logaddexp(0, z) - right * z).sum(), np.array([(error * logs).sum(), error.sum()])

    slope, offset = minimize(loss, [1.0, 2.0], jac=True, method="L-BFGS-B").x
    return float(slope), float(offset)


def prior_rows(rows: Sequence[Mapping]) -> list[list[float]]:
    """`score_prior` from what several sets gave: marks, mean slope, mean offset, mean best F1."""
    table = []
    for k in sorted({row["marks"] for row in rows}):
        chosen = [row for row in rows if row["marks"] == k]
        means = [float(np.mean([row[name]["mean"] for row in chosen])) for name in ("slope", "offset", "f1_best")]
        table.append([k, *(round(value, 2) for value in means)])
    return table
