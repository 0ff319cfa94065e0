"""Intersection over union of boxes x1, y1, x2, y2, of width x2 - x1: plain arrays."""

import numpy as np


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 4) and (m, 4) -> (n, m), in [0, 1]; 0 where both boxes are empty."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])  # (n, m, 2)
    inner = corner.clip(0).prod(-1)
    sizes = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return inner / np.maximum(sizes - inner, 1e-12)
