"""Boxes moved to where the marks lie: what a person calls the edge of a thing is learnt from the same marks.

Ridge regression from unit RoI features to the offsets of R-CNN (Girshick et al., CVPR 2014, appendix C), of all classes
together: `t = (dx / w, dy / h, log(W / w), log(H / h)) = m + x V`, where V minimises
`sum_r a_r |t_r - m - x_r V|^2 + decay |V|^2` and m is the mean of the t. Solved in the span of the rows, in milliseconds.

Plain arrays. Shapes: P boxes, R training rows, f features.
"""

from collections.abc import Sequence

import numpy as np

from repmet.detection.metrics.iou import pairwise_iou
from repmet.detection.scoring.training_rows import MarkedRegions

NEAR_IOU = 0.4  # boxes that overlap a mark by so much teach where it lies
FARTHEST = 1.0  # of a log ratio of sides: no box grows or shrinks by more than e


def offsets(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """t (R, 4) that move boxes (R, 4) to targets (R, 4)."""
    side, wanted = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centre = (targets[:, 2:] + targets[:, :2] - boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([centre / side, np.log(wanted / side)], 1)


def moved(boxes: np.ndarray, features: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Boxes (P, 4) by their features (P, f) and a layer (f + 1, 4), the last row m."""
    t = np.asarray(features, np.float64) @ layer[:-1] + layer[-1]
    side = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2 + t[:, :2] * side
    half = side * np.exp(np.clip(t[:, 2:], -FARTHEST, FARTHEST)) / 2
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def fit_boxes(images: Sequence[MarkedRegions], decay: float) -> np.ndarray | None:
    """The layer (f + 1, 4) that moves reported boxes near the marks onto these; None where no box is near one."""
    rows, targets, shares = [], [], []
    for image in images:
        if len(image.boxes) and len(image.reported):
            iou = pairwise_iou(image.boxes, image.reported)  # (M, P)
            near = iou.max(0) >= NEAR_IOU
            rows.append(image.features[near])
            targets.append(offsets(image.reported[near], image.boxes[iou.argmax(0)[near]]))
            shares.append(iou.max(0)[near])
    if not rows or not sum(map(len, rows)):
        return None
    x, t, a = (np.concatenate(part).astype(np.float64) for part in (rows, targets, shares))
    mean = np.average(t, axis=0, weights=a)
    weighted = x * np.sqrt(a)[:, None]
    inner = np.linalg.solve(weighted @ weighted.T + decay * np.eye(len(x)), (t - mean) * np.sqrt(a)[:, None])
    return np.concatenate([weighted.T @ inner, mean[None]]).astype(np.float32)
