"""What a classifier of regions finds in its own marked images when it has not seen them: folds of images, left out in turn.

Plain arrays. Shapes: N classes, P proposals of an image, n finds.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax

from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.box_refinement import fit_boxes, moved
from repmet.detection.scoring.calibration import HeldOutFinds
from repmet.detection.scoring.span_fit import Span, fit
from repmet.detection.scoring.training_rows import MarkedRegions, Rows

FOLDS = 5
FINDS = 20  # of a class in an image, the best: the rest are at scores that nobody looks at
HIT_IOU = 0.5
UNMARKED = 0.75  # quantile of the scores on marks from which on a find beside them is taken for an unmarked object

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
    max_images: int | None = None,
    box_decay: float | None = None,
) -> HeldOutFinds | None:
    """Finds in every marked image by a fit to the rows of the others, at most `FOLDS` fits.

    Args:
        rows, span: that the classifier of all images was fitted to; which rows are background is not asked anew.
        decay, objectness: of `logistic`, the power of the objectness in a score.
        marks: `partial`: objects may be unmarked. A find beside the marks that scores as high as the best quarter of those
            on marks (`UNMARKED`) is more likely one of these than a mistake, and is left out.
        max_images: images that teach, at most, evenly spread over the others; None: all of them.
        box_decay: of `scoring.box_refinement`, which is fitted to the others too; None: boxes as they are reported.

    Returns:
        None where there is one image, or no class with marks in two.
    """
    parts = [np.arange(k, len(images), FOLDS) for k in range(min(FOLDS, len(images)))]
    if len(parts) < 2:
        return None
    coordinates, collected, objects = span.coordinates, [], np.zeros((len(images), classes))
    for part in parts:
        others = np.setdiff1d(np.arange(len(images)), part)
        if max_images is not None and max_images < len(others):
            others = others[np.linspace(0, len(others) - 1, max_images).round().astype(int)]
        kept = np.isin(rows.images, others)
        known = np.bincount(rows.labels[kept], minlength=classes + 1)[:classes] > 0
        if not known.any():
            continue
        weight, bias = fit(coordinates[kept], rows.labels[kept], rows[kept].shares(classes), classes, decay)
        weight = span.weights(weight)
        layer = None if box_decay is None else fit_boxes([images[k] for k in others], box_decay)
        for k in part:
            image = images[k]
            boxes = image.reported if layer is None else moved(image.reported, image.features, layer)
            scores = softmax(image.features @ weight.T + bias, axis=1)[:, :-1] * image.objectness[:, None] ** objectness
            for c in np.flatnonzero(known):
                there = image.boxes[image.labels == c]
                objects[k, c] = len(there)
                best = suppress(boxes, scores[:, c])[:FINDS]
                right = hits(boxes[best], there)
                collected.append((scores[best, c], np.full(len(best), c), right, np.full(len(best), k)))
    if not collected:
        return None
    finds = HeldOutFinds(*map(np.concatenate, zip(*collected, strict=True)), objects)
    finds = finds[finds.marks[finds.labels] > 0]  # of a class without marks elsewhere only mistakes are seen
    return without_unmarked(finds) if marks == "partial" else finds


def without_unmarked(finds: HeldOutFinds, quantile: float = UNMARKED) -> HeldOutFinds:
    """Without those beside the marks that score at or above this quantile of the finds on the marks of their class."""
    kept = np.ones(len(finds.scores), bool)
    for c in np.unique(finds.labels[finds.right]):
        of_class = finds.labels == c
        high = finds.scores >= np.quantile(finds.scores[finds.right & of_class], quantile)
        kept &= ~(high & of_class & ~finds.right)
    return finds[kept]


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
