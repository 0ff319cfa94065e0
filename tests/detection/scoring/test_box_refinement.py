"""Boxes moved to the marks: the offsets both ways, and the layer against scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from repmet.detection.scoring.box_refinement import fit_boxes, moved, offsets
from repmet.detection.scoring.training_rows import MarkedRegions


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(20, 40, (count, 2))], 1)


def image(rng: np.random.Generator, count: int = 6) -> MarkedRegions:
    """Proposals far apart, each beside a mark."""
    reported = boxes(rng, count) + 200 * np.arange(count)[:, None]
    marks = reported + rng.uniform(-4, 4, (count, 4))
    looks = rng.normal(size=(count, 5))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    return MarkedRegions(boxes(rng, count), looks, np.ones(count), marks, np.zeros(count, int), looks, predicted=reported)


def test_offsets_lead_from_a_box_to_its_target() -> None:
    rng = np.random.default_rng(0)
    start, target = boxes(rng, 8), boxes(rng, 8)
    t = offsets(start, target)
    assert t[0, 2] == pytest.approx(np.log((target[0, 2] - target[0, 0]) / (start[0, 2] - start[0, 0])))
    each = [moved(start[k : k + 1], np.zeros((1, 5)), np.concatenate([np.zeros((5, 4)), t[k : k + 1]])) for k in range(8)]
    assert np.concatenate(each) == pytest.approx(target, abs=1e-4)


def test_the_layer_is_ridge_regression_of_what_is_reported() -> None:
    rng = np.random.default_rng(1)
    images = [image(rng) for _ in range(3)]
    layer = fit_boxes(images, 0.7)
    x = np.concatenate([i.features for i in images])
    t = np.concatenate([offsets(i.predicted, i.boxes) for i in images])
    corner = [np.maximum(i.predicted[:, :2], i.boxes[:, :2]) for i in images]
    inner = [np.minimum(i.predicted[:, 2:], i.boxes[:, 2:]) - c for i, c in zip(images, corner, strict=True)]
    area = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for i in images for b in (i.predicted, i.boxes)]
    shared = [side[:, 0] * side[:, 1] for side in inner]
    iou = np.concatenate([s / (a + b - s) for s, a, b in zip(shared, area[::2], area[1::2], strict=True)])
    mean = np.average(t, axis=0, weights=iou)
    oracle = Ridge(alpha=0.7, fit_intercept=False).fit(x, t - mean, sample_weight=iou)
    assert layer[-1] == pytest.approx(mean, abs=1e-5)
    assert layer[:-1] == pytest.approx(oracle.coef_.T, abs=1e-5)


def test_nothing_near_a_mark_teaches_nothing() -> None:
    far = image(np.random.default_rng(2))
    assert fit_boxes([MarkedRegions(**{**vars(far), "boxes": far.boxes + 5000})], 1.0) is None
    assert fit_boxes([], 1.0) is None
