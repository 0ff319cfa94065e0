"""Scores as probabilities, and each class's threshold: Platt scaling that starts from what is known of other classes.

A raw score s in (0, 1) becomes `P = sigmoid(a log s + b)` (J. Platt, "Probabilistic outputs for support vector machines",
1999, on log s). The slope a is common to all classes, the offset b_c a class's own. Few marks say little: both start from a
prior, a normal distribution about what other sets gave at as many marks, and move as far as the finds of leave-one-image-out
say (maximum a posteriori). Without such finds, as with one mark a class, the prior is all there is.

The threshold of a class is half of the best F1 to be had: of all thresholds on a probability it has the highest expected F1
(Z. Lipton, C. Elkan, B. Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", ECML 2014).

Plain arrays. Shapes: N classes, n finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOWEST = 1e-12  # raw scores below are taken for this
SHARED_SPREAD, CLASS_SPREAD = (
    0.5,
    1.0,
)  # standard deviations of the prior of b, of all classes together and of each about them
SLOPE_SPREAD = 0.2  # of a
LEAST, MOST = 0.3, 0.6  # thresholds stay between (`benchmarks.least_threshold`)
PLAIN_THRESHOLD = 0.05  # where scores are no probabilities: what is surely nothing is left out
PLAIN_SHOWN = 0.3  # and what is drawn of them
UNKNOWN, UNKNOWN_THRESHOLD = "unknown", 0.3  # objects of no class that was shown, and the objectness of one
UNKNOWN_IOU = 0.5  # what a find of a class overlaps by so much is no unknown object


@dataclass(frozen=True)
class Prior:
    """What other sets gave at a number of marks a class: slope, offset, and the best F1."""

    slope: float
    offset: float
    best_f1: float

    @staticmethod
    def at(marks: float, table: Sequence[Sequence[float]]) -> "Prior":
        """Between the rows (marks, slope, offset, best F1) of a table, linear in the logarithm of the number of marks."""
        columns = np.array(sorted(table), np.float64).T
        return Prior(*(float(np.interp(np.log(max(marks, 1)), np.log(columns[0]), row)) for row in columns[1:]))


@dataclass(frozen=True)
class Calibration:
    """Platt's two numbers of each class, and its threshold.

    Attributes:
        slope: a, above 0: no order changes within a class.
        offsets: b, (N,).
        thresholds: (N,), of the probabilities.
    """

    slope: float
    offsets: tuple[float, ...]
    thresholds: tuple[float, ...]

    def __call__(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Raw scores (n,) of classes (n,) -> probabilities (n,)."""
        logs = np.log(np.maximum(np.asarray(scores, np.float64), LOWEST))
        return _sigmoid(self.slope * logs + np.asarray(self.offsets)[labels]).astype(np.float32)

    def raw(self, probabilities: np.ndarray) -> np.ndarray:
        """The raw scores (N,) that become these probabilities (N,) of each class."""
        p = np.clip(np.asarray(probabilities, np.float64), LOWEST, 1 - LOWEST)
        return np.exp((np.log(p / (1 - p)) - np.asarray(self.offsets)) / self.slope)

    def without(self, number: int) -> "Calibration":
        """Without a class."""
        kept = [c for c in range(len(self.offsets)) if c != number]
        offsets, thresholds = (tuple(values[c] for c in kept) for values in (self.offsets, self.thresholds))
        return Calibration(self.slope, offsets, thresholds)

    def with_more(self, classes: int) -> "Calibration":
        """With more classes, of which nothing is known but the others."""
        offsets, thresholds = (values + (float(np.mean(values)),) * classes for values in (self.offsets, self.thresholds))
        return Calibration(self.slope, offsets, thresholds)


@dataclass(frozen=True)
class HeldOutFinds:
    """Finds in marked images by a detector that has not seen them.

    Attributes:
        scores, labels: raw scores (n,) and class numbers (n,).
        right: (n,) bool, whether it is a mark of its class that no better find is.
        images: (n,), the number of the image of each.
        objects: (I, N), how many marks each image held of the classes that were looked for there.
    """

    scores: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    images: np.ndarray
    objects: np.ndarray

    @property
    def marks(self) -> np.ndarray:
        """(N,), how many marks there were to be found."""
        return self.objects.sum(0)

    def __getitem__(self, rows: np.ndarray) -> "HeldOutFinds":
        return HeldOutFinds(self.scores[rows], self.labels[rows], self.right[rows], self.images[rows], self.objects)


def calibrate(prior: Prior, classes: int, finds: HeldOutFinds | None = None, least: float = LEAST) -> Calibration:
    """Fits slope and offsets to the finds, starting from the prior, and sets the thresholds, `least` at least."""
    from scipy.optimize import minimize  # here: half a second, which what is only looked at with a file need not wait for

    if finds is None or not len(finds.scores):
        threshold = float(np.clip(prior.best_f1 / 2, least, MOST))
        return Calibration(prior.slope, (prior.offset,) * classes, (threshold,) * classes)
    logs = np.log(np.maximum(finds.scores.astype(np.float64), LOWEST))
    labels, right = finds.labels, finds.right

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        slope, shared, offsets = np.exp(values[0]), values[1], values[2:]
        z = slope * logs + shared + offsets[labels] + prior.offset
        error = _sigmoid(z) - right
        value = (np.logaddexp(0, z) - right * z).sum()
        value += ((values[0] - np.log(prior.slope)) / SLOPE_SPREAD) ** 2 / 2
        value += (shared / SHARED_SPREAD) ** 2 / 2 + ((offsets / CLASS_SPREAD) ** 2).sum() / 2
        gradient = np.concatenate(
            [
                [(error * logs).sum() * slope + (values[0] - np.log(prior.slope)) / SLOPE_SPREAD**2],
                [error.sum() + shared / SHARED_SPREAD**2],
                np.bincount(labels, error, classes) + offsets / CLASS_SPREAD**2,
            ]
        )
        return value, gradient

    start = np.concatenate([[np.log(prior.slope)], np.zeros(classes + 1)])
    values = minimize(loss, start, jac=True, method="L-BFGS-B").x
    slope, offsets = float(np.exp(values[0])), prior.offset + values[1] + values[2:]
    probabilities = _sigmoid(slope * logs + offsets[labels])
    thresholds = [_threshold(probabilities[labels == c], finds.marks[c], prior.best_f1, least) for c in range(classes)]
    return Calibration(slope, tuple(offsets.tolist()), tuple(thresholds))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -z))


def _threshold(probabilities: np.ndarray, marks: float, best_f1: float, least: float, weight: float = 5.0) -> float:
    """Half of the best expected F1 among a class's finds; the prior counts as `weight` marks."""
    falling = -np.sort(-probabilities)
    expected = np.cumsum(falling)
    total = max(marks, expected[-1] if len(expected) else 0.0)
    f1 = 2 * expected / (np.arange(1, len(falling) + 1) + total) if len(falling) else np.zeros(1)
    best = (marks * f1.max() + weight * best_f1) / (marks + weight)
    return float(np.clip(best / 2, least, MOST))
