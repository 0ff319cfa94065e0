"""What to expect on new images, from the marked images alone: precision and recall when each is left out in turn.

Plain arrays. Shapes: N classes, I images, n finds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from repmet.detection.scoring.calibration import Calibration, HeldOutFinds

LEVEL = 0.9  # of the intervals


@dataclass(frozen=True)
class Share:
    """A share with its interval, fractions in [0, 1]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.0f} % ({100 * self.low:.0f} to {100 * self.high:.0f})"


def share(hits: np.ndarray, trials: np.ndarray) -> Share:
    """A share over images whose finds stand or fall together, with the interval of a Beta distribution.

    Counts are divided by the design effect of clusters, `d = var(h_i - p t_i) / (p (1 - p) mean(t_i))`, at least 1 (Kish,
    "Survey sampling", 1965), and then have Jeffreys' interval, Beta(h / d + 1/2, (t - h) / d + 1/2).

    Args:
        hits, trials: by image, (I,): h_i of t_i.
    """
    h, t = float(hits.sum()), float(trials.sum())
    value = h / t if t else 0.5
    smooth = (h + 0.5) / (t + 1)
    used = trials > 0
    effect = 1.0
    if used.sum() > 1:
        spread = np.square(hits[used] - smooth * trials[used]).sum() / (used.sum() - 1)
        effect = max(1.0, spread / (smooth * (1 - smooth) * trials[used].mean()))
    a, b = h / effect + 0.5, (t - h) / effect + 0.5
    low, high = beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], a, b)
    return Share(value, float(min(low, value)), float(max(high, value)))


@dataclass(frozen=True)
class Estimate:
    """Of one class, or of all: precision and recall at the automatic thresholds, and F1."""

    precision: Share
    recall: Share

    @property
    def f1(self) -> float:
        p, r = self.precision.value, self.recall.value
        return 2 * p * r / (p + r) if p + r else 0.0


def estimates(finds: HeldOutFinds, calibration: Calibration) -> list[Estimate]:
    """Of every class in turn, and of all together last."""
    classes, images = finds.objects.shape[1], len(finds.objects)
    p = calibration(finds.scores, finds.labels)
    taken = p >= np.array(calibration.thresholds)[finds.labels]
    rows = []
    for c in [*range(classes), None]:
        chosen = taken if c is None else taken & (finds.labels == c)
        right = np.bincount(finds.images[chosen & finds.right], minlength=images)
        predicted = np.bincount(finds.images[chosen], minlength=images)
        objects = finds.objects.sum(1) if c is None else finds.objects[:, c]
        rows.append(Estimate(share(right, predicted), share(right, objects)))
    return rows
