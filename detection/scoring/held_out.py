"""What a classifier of regions finds in its own marked images when it has not seen them: folds of images, left out in turn.

Plain arrays. Shapes: N classes, P proposals of an image, n finds.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax

from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.calibration import HeldOutFinds
from repmet.detection.scoring.span_fit import Span, fit
from repmet.detection.scoring.training_rows import MarkedRegions, Rows

FOLDS = 5
FINDS = 20  # of a class in an image, the best: the rest are at scores that nobody looks at
HIT_IOU = 0.5

Suppress = Callable[[np.ndarray, np.ndarray], np.ndarray]  # boxes (P, 4), scores (P,) -> numbers of those kept, best first


def held_out_finds(
    images: Sequence[MarkedRegions],
    rows: Rows,
    span: Span,
    classes: int,
    *,
    decay: float,
    objectness: float,
    suppress: Suppress,
    marks: str = "partial",
) -> HeldOutFinds | None:
    """Finds in every marked image by a fit to the rows of the others, at most `FOLDS` fits.

    Args:
        rows, span: that the classifier of all images was fitted to; which rows are background is not asked anew.
        decay, objectness: of `logistic`, the power of the objectness in a score.
        marks: `partial`: objects may be unmarked. A find beside the marks that scores as high as the better half of those
            on marks is more likely one of these than a mistake, and is left out.

    Returns:
        None where there is one image, or no class with marks in two.
    """
    parts = [np.arange(k, len(images), FOLDS) for k in range(min(FOLDS, len(images)))]
    if len(parts) < 2:
        return None
    coordinates, found, there = span.coordinates, [], np.zeros(classes)
    for part in parts:
        kept = ~np.isin(rows.images, part)
        known = np.bincount(rows.labels[kept], minlength=classes + 1)[:classes] > 0
        if not known.any():
            continue
        weight, bias = fit(coordinates[kept], rows.labels[kept], rows[kept].shares(classes), classes, decay)
        weight = span.weights(weight)
        for image in (images[k] for k in part):
            scores = softmax(image.features @ weight.T + bias, axis=1)[:, :-1] * image.objectness[:, None] ** objectness
            for c in np.flatnonzero(known):
                objects = image.boxes[image.labels == c]
                there[c] += len(objects)
                best = suppress(image.proposals, scores[:, c])[:FINDS]
                found.append((scores[best, c], np.full(len(best), c), hits(image.proposals[best], objects)))
    if not found:
        return None
    scores, labels, right = map(np.concatenate, zip(*found, strict=True))
    kept = there[labels] > 0  # of a class without marks elsewhere only mistakes are seen
    if marks == "partial":
        for c in np.unique(labels[right]):
            high = scores >= np.median(scores[right & (labels == c)])
            kept &= ~(high & (labels == c) & ~right)
    return HeldOutFinds(scores[kept], labels[kept], right[kept], there)


def hits(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Which boxes (n, 4), best first, hit an object that no better one has: (n,)."""
    right = np.zeros(len(boxes), bool)
    if len(boxes) and len(objects):
        iou = pairwise_iou(boxes, objects)
        for row, nearest in enumerate(iou.argmax(1)):
            if iou[row, nearest] >= HIT_IOU:
                right[row] = True
                iou[:, nearest] = -1
    return right
