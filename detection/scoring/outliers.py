"""Marks that look unlike their class: as a rule another class's name stands at them.

Shapes: M marks, f features.
"""

from dataclasses import replace

import numpy as np

from repmet.detection.embedding.embedded_image import FEATURES
from repmet.detection.scoring.representatives import SupportSet

FEW = 3  # marks a class below which an outlier cannot be told


def mark_features(supports: SupportSet) -> tuple[np.ndarray, np.ndarray]:
    """RoI features (M, f), of unit length, and class numbers (M,) of all marks, class by class."""
    rows = [supports.embedded[i].annotated[FEATURES][b].numpy() for boxes in supports.boxes for i, b in boxes]
    return np.stack(rows), np.repeat(np.arange(len(supports)), [len(boxes) for boxes in supports.boxes])


def outliers(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(M,): by mark the class that it resembles more than its own; -1 for none.

    How much it resembles a class is the mean of its two largest cosines to other marks of it: one neighbour alone may itself
    bear the wrong name.
    """
    cosines = features @ features.T
    np.fill_diagonal(cosines, -np.inf)
    resemblance = np.stack([_nearest_two(cosines[:, labels == c]) for c in range(labels.max() + 1)], axis=1)  # (M, N)
    of_its_class = np.arange(len(labels)), labels
    inside = resemblance[of_its_class]
    resemblance[of_its_class] = -np.inf
    told = (np.bincount(labels)[labels] >= FEW) & (resemblance.max(1) > inside)
    return np.where(told, resemblance.argmax(1), -1)


def _nearest_two(cosines: np.ndarray) -> np.ndarray:
    """Of cosines (M, m) to the marks of a class, -inf to itself: the mean of the two largest, (M,); of one mark its own."""
    largest = -np.sort(-cosines, axis=1)[:, :2]
    count = np.maximum(np.isfinite(largest).sum(1), 1)
    return np.where(np.isfinite(largest), largest, 0).sum(1) / count if largest.size else np.full(len(cosines), -np.inf)


def without_outliers(supports: SupportSet) -> SupportSet:
    """The supports without the marks that resemble another class more than their own; a class keeps one at least."""
    odd = outliers(*mark_features(supports)) >= 0
    boxes, first = [], 0
    for of_class in supports.boxes:
        rest = [mark for mark, out in zip(of_class, odd[first : first + len(of_class)], strict=True) if not out]
        boxes.append(rest or of_class)
        first += len(of_class)
    return replace(supports, boxes=boxes)
