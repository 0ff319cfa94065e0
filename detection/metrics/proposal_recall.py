"""Recall of class-agnostic boxes: how many objects a detector reaches at all, whatever it then calls them.

AR@n of COCO's proposals (Hosang et al., "What makes for effective detection proposals?", 2016): the recall among the n
best-scored boxes of an image, averaged over IoU 0.50:0.05:0.95; by the object's area in pixels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .iou import pairwise_iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)
# COCO's areas: below 32 x 32, up to 96 x 96, above.
AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}


def proposal_recall(
    boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray], objects: Sequence[np.ndarray], n: int = 100
) -> dict[str, float | None]:
    """Recall of the best `n` boxes of each image; an object is reached by any box, and one box may reach several.

    Args:
        boxes, scores: by image, (P, 4) as x1, y1, x2, y2, and (P,).
        objects: by image, the boxes to be reached, (G, 4).

    Returns:
        `AR50@n`: at IoU 0.5; `AR@n`: the mean over the thresholds; `AR@n small`, `medium`, `large`: the same for objects of
        that area, None where there is none. Fractions in [0, 1].

    Raises:
        ValueError: there is no object.
    """
    best, area = [], []
    for proposals, score, truth in zip(boxes, scores, objects, strict=True):
        chosen = proposals[np.argsort(-score, kind="stable")[:n]]
        best.append(pairwise_iou(truth, chosen).max(1, initial=0.0))
        area.append(np.prod(truth[:, 2:] - truth[:, :2], axis=1))
    iou, size = np.concatenate(best), np.concatenate(area)  # (M,) each
    if not len(iou):
        raise ValueError("no object is to be reached: the images hold none that is not difficult")
    reached = iou[:, None] >= THRESHOLDS - 1e-9  # (M, 10)
    figures: dict[str, float | None] = {f"AR50@{n}": float(reached[:, 0].mean()), f"AR@{n}": float(reached.mean())}
    for name, (low, high) in AREAS.items():
        chosen = (size >= low) & (size < high)
        figures[f"AR@{n} {name}"] = float(reached[chosen].mean()) if chosen.any() else None
    return figures
