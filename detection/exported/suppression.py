"""Non-maximum suppression where there is no csrc: as there, class by class, but for all classes in one pass over the ranks.

Shapes: P boxes of an image, N classes.
"""

import numpy as np

from repmet.detection.metrics.iou import pairwise_iou


def class_nms(boxes: np.ndarray, scores: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Greedy suppression within each class: a box goes that overlaps a kept one of a higher score by more than `iou`.

    Args:
        boxes, scores: (P, 4) and (P, N). Of equal scores the first box comes first.

    Returns:
        The kept boxes' numbers and classes, (n,) each, class by class with the best first.
    """
    count, classes = scores.shape
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = pairwise_iou(boxes, boxes) > iou  # (P, P)
    order = np.argsort(-scores, 0, kind="stable")  # (P, N)
    gone, kept = np.zeros((classes, count), bool), np.zeros((count, classes), bool)
    every = np.arange(classes)
    for rank, box in enumerate(order):  # (N,), the box of this rank in each class
        kept[rank] = ~gone[every, box]
        gone |= near[box] & kept[rank][:, None]
    labels, ranks = np.nonzero(kept.T)
    return order[ranks, labels], labels
